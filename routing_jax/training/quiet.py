"""Keeps what libraries print about errors they also raise from the user's terminal."""

import logging
import sys
from collections.abc import Callable

from absl import logging as absl_logging


def quiet_libraries() -> None:
    """Silences Orbax and asyncio, from now to the end of the process.

    When one array of a checkpoint fails, Orbax raises, closes its event loop and leaves the other
    arrays to report to it from their own threads: whenever they are done, which may be while the
    process ends.
    """
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    if not isinstance(sys.unraisablehook, _DropClosedLoops):
        sys.unraisablehook = _DropClosedLoops(sys.unraisablehook)


class _DropClosedLoops:
    """The hook that was there, for everything but reports to a closed event loop."""

    def __init__(self, hook: "Callable[[sys.UnraisableHookArgs], object]") -> None:
        self._hook = hook

    def __call__(self, unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self._hook(unraisable)
