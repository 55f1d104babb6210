"""Stopping a run between two segments when a signal asks for it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_CODES = {signal.SIGTERM: 0, signal.SIGINT: 130}
"""Exit code of a run that stopped for a signal, by signal."""


class StopRequest:
    """The signal that asked the run to stop, if one did."""

    received: signal.Signals | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Records SIGTERM and SIGINT instead of dying of them; a second SIGINT stops at once."""
    request = StopRequest()

    def record(number: int, frame: object) -> None:
        del frame
        if request.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.received = signal.Signals(number)

    before = {number: signal.signal(number, record) for number in EXIT_CODES}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
