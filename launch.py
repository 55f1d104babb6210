"""Trains or evaluates one experiment: python launch.py --config=experiments/mnist_mtl.py

`--help` lists the flags and every field of the configuration.
"""

import time

_STARTED = time.monotonic()  # before the imports, which count as start-up

import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from routing_jax import cli  # noqa: E402
from routing_jax.errors import UserError  # noqa: E402


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status: 0 done, 2 something to mend in the input."""
    if cli.wants_help(argv):
        print(cli.help_text(argv[0]))
        return 0
    try:
        command = cli.parse(argv)
        command.settle_workdir()
        # Only now: it imports JAX, which takes longer than any answer above.
        from routing_jax.training.run import run

        return run(command, started=_STARTED)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
