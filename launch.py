"""Trains, evaluates or exports one experiment: python launch.py --config=experiments/mnist_mtl.py

`--mode=report` makes a page of what several have written. `--help` lists the flags and every field
of the configuration.
"""

import time

_STARTED = time.monotonic()  # before the imports, which count as start-up

from routing_jax.huge_pages import restart_with_huge_pages  # noqa: E402

if __name__ == "__main__":
    restart_with_huge_pages()

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from contextlib import AbstractContextManager  # noqa: E402

from routing_jax import cli  # noqa: E402
from routing_jax.errors import UserError  # noqa: E402
from routing_jax.reporting.page.request import Request, require_packages  # noqa: E402
from routing_jax.roll_call import call_roll  # noqa: E402
from routing_jax.training.stopping import answer_signals  # noqa: E402


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status.

    0 is done, or stopped by SIGTERM and saved; 1 a run that failed; 2 something to mend in the
    input; 130 stopped by Ctrl-C. An evaluation or export that SIGTERM stops ends with 143.
    """
    if cli.wants_help(argv):
        print(cli.help_text(argv[0]))
        return 0
    with answer_signals() as stops:
        try:
            command = cli.parse(argv)
            if isinstance(command, Request):
                require_packages()
                from routing_jax.reporting.page.write import write_report

                return write_report(command)
            if command.sweep is not None and command.sweep.print_only:
                print("\n".join(command.sweep.commands(command.launch, command.workdir.path)))
                return 0
            stops.resumable = command.mode == "train"
            if command.sweep is not None and command.sweep.workers is not None:
                # This process only plans: an accelerator's memory is for its workers.
                os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
            with _settled(command):
                # Only now: it imports JAX, which takes longer than any answer above.
                from routing_jax.training.cores import split_cpu

                split_cpu(command.devices)
                if command.mode == "export":
                    from routing_jax.export.run import run

                    return run(command)
                if command.sweep is None:
                    from routing_jax.training.run import run
                else:
                    from routing_jax.sweep.run import run

                return run(command, stops, started=_STARTED)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_status


def _settled(command: cli.Command) -> AbstractContextManager[None]:
    """The work directory of the command, and the other processes if there are any."""
    processes = command.devices.processes
    if processes is None:
        return command.settled_workdir()
    if processes.coordinator_address is not None:
        call_roll(processes)
    from routing_jax.training.joining import joined  # imports JAX

    return joined(command)


if __name__ == "__main__":
    status = main(sys.argv)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # all is done; Python only tidies up
    sys.exit(status)
