"""Keeps what libraries print about errors they also raise from the user's terminal."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from absl import logging as absl_logging


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences Orbax and asyncio.

    When one array of a checkpoint fails, Orbax raises, closes its event loop and leaves the other
    arrays to report to it from their own threads. What it leaves behind may be collected as late as
    at the end of the process, so the logs stay silent behind the block, too.
    """
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    hook = sys.unraisablehook

    def drop_closed_loops(unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = drop_closed_loops
    try:
        yield
    finally:
        sys.unraisablehook = hook
