"""The errors that a user can mend: their message is all that a command line shows."""

import functools
import sys
from collections.abc import Callable, Sequence

Main = Callable[[Sequence[str] | None], int]
"""Runs a command line, of the program's arguments if None; returns the exit code."""


class UserError(Exception):
    """Something the user gave cannot work; the message says what, why and what to do instead.

    `launch.py` prints the message without a traceback and exits with `exit_status`.
    """

    exit_status = 2


class ConfigError(UserError, ValueError):
    """A configuration that cannot work: unknown or missing fields, wrong values, clashes."""


class RunError(UserError):
    """A run that had begun cannot go on; its last whole checkpoint is kept."""

    exit_status = 1


def told(main: Main) -> Main:
    """The same command line, which ends with the message of a user's error and its exit status."""

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        try:
            return main(arguments)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_status

    return run
