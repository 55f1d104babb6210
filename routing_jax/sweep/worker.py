"""Trains one program of a planned sweep in a process of its own.

    python -m routing_jax.sweep.worker WORKDIR NUMBER [--settings={...}] [--cpus=0,1]
        [--while_parent_lives]

A part of `launch.py --sweep_workers` and `--slurm.partition`; not meant to be typed.
"""

import time

_STARTED = time.monotonic()  # before the imports, which count as start-up

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from pathlib import Path  # noqa: E402

from routing_jax.errors import UserError  # noqa: E402
from routing_jax.training.stopping import Stops, answer_signals  # noqa: E402
from routing_jax.workdir import Workdir  # noqa: E402


def main() -> int:
    """Runs the command line; returns the exit status, as of `launch.py`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workdir", type=Path, help="of the sweep")
    parser.add_argument("number", type=int, help="of the program, counted from 0")
    parser.add_argument("--cpus", help="cores to run on; all that are allowed if not named")
    parser.add_argument("--settings", type=json.loads, default={}, help="see `read_parts`")
    parser.add_argument("--while_parent_lives", action="store_true", help="stop with the parent")
    options = parser.parse_args()
    if options.cpus and hasattr(os, "sched_setaffinity"):
        # Before JAX starts: it makes as many threads as there are cores to run on.
        os.sched_setaffinity(0, [int(cpu) for cpu in options.cpus.split(",")])
    if options.while_parent_lives:
        threading.Thread(target=_stop_with_parent, name="parent", daemon=True).start()
    with answer_signals() as stops:
        stops.resumable = True
        try:
            return _train(Workdir(options.workdir), options, stops)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_status


def _train(root: Workdir, options: argparse.Namespace, stops: Stops) -> int:
    # Only now: this imports JAX.
    from rich.console import Console

    from routing_jax.sweep.parts import read_parts
    from routing_jax.sweep.run import collect
    from routing_jax.sweep.train_part import train_part
    from routing_jax.training.quiet import quiet_libraries

    quiet_libraries()
    parts = read_parts(root, options.settings)
    part = parts[options.number]
    console = Console()
    if not train_part(part, about=part.title, console=console, stops=stops, started=_STARTED):
        return stops.exit_status
    if not options.while_parent_lives:
        collect(parts, root)  # nobody waits for the jobs of a cluster: the last one does it
    return 0


def _stop_with_parent() -> None:
    """Ends this process orderly when the pipe from the parent closes, however that ended."""
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written to it
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    status = main()
    for received in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(received, signal.SIG_IGN)  # all is done; Python only tidies up
    sys.exit(status)
