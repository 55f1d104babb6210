"""How SIGTERM and SIGINT end a command: at once where nothing is lost, else after saving.

SIGUSR2, which a cluster sends some time before a job's time is up, is answered like SIGTERM.

A handler in Python runs only between two of its instructions, and a compilation or a segment is one
instruction that may take long. Hence a thread that the system itself wakes for every signal.
Imports no JAX, so that the signals of the slow imports are answered too.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STATUS = {signal.SIGTERM: 143, signal.SIGUSR2: 140, signal.SIGINT: 130}
"""Exit status of a command that a signal ended half-way, by signal."""
_STATUS_OF_RUN = {signal.SIGTERM: 0, signal.SIGUSR2: 0, signal.SIGINT: 130}
"""Exit status of a run that can be resumed: being asked to stop is not a failure."""
_SHOW_CURSOR = "\x1b[?25h\n"


class Stops:
    """The answers to signals, and the request to stop that is waiting, if there is one.

    Attributes:
        resumable: whether the command is a run, which the same command resumes.
    """

    def __init__(self) -> None:
        self.resumable = False
        self._received: signal.Signals | None = None
        self._deferring = False
        self._lock = threading.Lock()

    @property
    def received(self) -> signal.Signals | None:
        """The signal that waits for the run to save and stop; None while there is none."""
        return self._received

    @property
    def exit_status(self) -> int:
        """The exit status of a run that stopped for the signal received."""
        return _STATUS_OF_RUN[self._received]

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """During the block signals are recorded, for the caller to stop in its own time.

        A second SIGINT ends the process at once all the same.
        """
        self._set_deferring(True)
        try:
            yield
        finally:
            self._set_deferring(False)

    def record(self, number: int) -> None:
        """Takes in a signal that another process of the same run got; 0 for none."""
        if number and self._received is None:
            self._received = signal.Signals(number)

    def _set_deferring(self, deferring: bool) -> None:
        with self._lock:
            self._deferring = deferring

    def _handle(self, number: int, frame: object) -> None:
        """Runs in the main thread, where the lock may be held: it only records."""
        del frame
        if self._deferring and self._received is None:
            self._received = signal.Signals(number)

    def _watch(self, signals: socket.socket) -> None:
        """Runs in a thread of its own until the socket is closed; gets the number of each."""
        waiting = False
        while numbers := signals.recv(1):
            if numbers[0] not in _STATUS:  # some library's own signal
                continue
            number = signal.Signals(numbers[0])
            with self._lock:
                if not self._deferring or (waiting and number == signal.SIGINT):
                    self._exit(number)
                waiting, self._received = True, self._received or number
            _say(f"{number.name}: saving after the step under way; Ctrl-C stops at once.")

    def _exit(self, number: signal.Signals) -> None:
        if self.resumable:
            _say(f"Stopped by {number.name}: nothing more is saved. The same command goes on.")
            os._exit(_STATUS_OF_RUN[number])
        _say(f"Stopped by {number.name}.")
        os._exit(_STATUS[number])


@contextmanager
def answer_signals() -> Iterator[Stops]:
    """Answers SIGTERM, SIGUSR2 and SIGINT during the block; only for the main thread."""
    stops = Stops()
    ours, systems = socket.socketpair()
    systems.setblocking(False)
    thread = threading.Thread(target=stops._watch, args=(ours,), name="signals", daemon=True)
    thread.start()
    wakeup = signal.set_wakeup_fd(systems.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, stops._handle) for number in _STATUS}
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        systems.close()
        thread.join()
        ours.close()


def _say(text: str) -> None:
    """Past Python's buffers and the live display: the main thread may be in the middle of both."""
    start = _SHOW_CURSOR if os.isatty(1) else ""
    with suppress(OSError):  # nobody listens any more
        os.write(1, f"{start}{text}\n".encode())
