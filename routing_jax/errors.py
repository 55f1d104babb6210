"""The errors that a user can mend: their message is all that a command line shows."""


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
