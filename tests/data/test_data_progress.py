"""How a preparation tells how far it is."""

import io

import pytest
from rich.console import Console

from routing_jax.data import progress


@pytest.fixture
def clock(monkeypatch):
    """The time that the reports see; add seconds to `clock[0]`."""
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def test_lines_come_every_two_seconds_and_at_the_end(clock):
    said = []
    report = progress.lines(said.append)
    for done in range(0, 60_001, 5_000):
        report("writing", done, 60_000)
        clock[0] += 0.5
    assert said == [
        "writing: 20,000 of 60,000 images",
        "writing: 40,000 of 60,000 images",
        "writing: 60,000 of 60,000 images",
    ]


def test_what_takes_no_time_is_one_line_each(clock):
    said = []
    report = progress.lines(said.append)
    for name in ("a", "b"):
        report(name, 10, 28_881, unit="bytes")
        report(name, 28_881, 28_881, unit="bytes")
    assert said == ["a: 28.9 kB of 28.9 kB", "b: 28.9 kB of 28.9 kB"]


def test_bars_on_a_terminal_and_lines_elsewhere():
    for terminal in (True, False):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=100, legacy_windows=False)
        with progress.bars(console) as report:
            report("writing", 1, 2)
            report("writing", 2, 2)
        assert "2 of 2 images" in out.getvalue()
        assert ("━" in out.getvalue()) == terminal
    assert out.getvalue() == "writing: 2 of 2 images\n"
