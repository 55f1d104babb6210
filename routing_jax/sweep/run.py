"""A whole sweep: from a checked command to the table and the figures at its end."""

from collections.abc import Sequence
from functools import partial

from rich.console import Console

from routing_jax import files
from routing_jax.cli import Command
from routing_jax.reporting.sweep_figures import draw_sweep
from routing_jax.reporting.sweep_summary import read_sweep, summarise, sweep_table
from routing_jax.sweep.parts import Part, plan_lines, plan_parts
from routing_jax.sweep.train_part import train_part
from routing_jax.sweep.workers import train_in_workers
from routing_jax.training.quiet import quiet_libraries
from routing_jax.training.run import say
from routing_jax.training.stopping import Stops
from routing_jax.workdir import Workdir


def run(command: Command, stops: Stops, *, started: float) -> int:
    """Trains every cell of a sweep that is not trained yet, or submits the programs.

    Args:
      command: the checked command; its work directory is claimed.
      stops: the answers to signals.
      started: when the command began, as `time.monotonic()` tells it.

    Returns:
      The exit code.

    Raises:
      UserError: something outside the program has to be mended first.
      RunError: the sweep had begun and cannot go on.
    """
    console, root = Console(), command.workdir
    told = partial(say, console)
    if root.sweep_path.exists():
        told(f"The sweep in {root.path} is finished; --overwrite starts it anew.")
        _show(root, console)
        return 0
    with quiet_libraries():
        parts = plan_parts(command, say=told)
        for line in plan_lines(parts):
            told(line)
        if command.sweep.slurm is not None:
            from routing_jax.sweep.slurm import submit

            told(submit(parts, root, command.sweep.slurm))
            return 0
        if not _train(parts, command, console, stops, started):
            told(
                f"Stopped by {stops.received.name}; everything is saved. The same command goes on."
            )
            return stops.exit_status
        collect(parts, root)
        _show(root, console)
    return 0


def collect(parts: Sequence[Part], root: Workdir) -> None:
    """Writes sweep.json and the figures, if every program is finished."""
    found = [part.outcomes for part in parts]
    if any(outcomes is None for outcomes in found):
        return
    cells = sorted(
        (outcome for outcomes in found for outcome in outcomes),
        key=lambda outcome: outcome["index"],
    )
    draw_sweep(cells, root.figures_dir)
    # Last: where it stands, all is done.
    files.write_json(root.sweep_path, {"axes": list(cells[0]["settings"]), "cells": cells})


def _train(
    parts: Sequence[Part], command: Command, console: Console, stops: Stops, started: float
) -> bool:
    """Whether all programs are finished; else a stop was asked for."""
    if command.sweep.workers is not None:
        return train_in_workers(
            parts, command.workdir, workers=command.sweep.workers, console=console, stops=stops
        )
    return all(train_part(part, console=console, stops=stops, started=started) for part in parts)


def _show(root: Workdir, console: Console) -> None:
    cells = read_sweep(root.sweep_path)
    console.print(sweep_table(summarise(cells), cells))
    for path in (root.sweep_path, *sorted(root.figures_dir.glob("*.png"))):
        say(console, str(path))
