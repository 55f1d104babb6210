"""What libraries print of errors that they raise too."""

import sys
from types import SimpleNamespace

from routing_jax.training.quiet import quiet_libraries


def test_only_reports_to_a_closed_event_loop_are_dropped_however_late(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    quiet_libraries()
    quiet_libraries()
    other = SimpleNamespace(exc_value=RuntimeError("something else"))
    for unraisable in (SimpleNamespace(exc_value=RuntimeError("Event loop is closed")), other):
        sys.unraisablehook(unraisable)
    assert reported == [other]
