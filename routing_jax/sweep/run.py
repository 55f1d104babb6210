"""A whole sweep: from a checked command to the table and the figures at its end."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jax.sharding import Mesh
from rich.console import Console

from routing_jax import files
from routing_jax.cli import Command
from routing_jax.errors import UserError
from routing_jax.reporting.sweep_figures import draw_sweep
from routing_jax.reporting.sweep_summary import (
    read_sweep,
    summarise,
    sweep_table,
    table_text,
)
from routing_jax.sweep.parts import (
    Part,
    plan_lines,
    plan_parts,
    settings_of_start,
    side_by_side,
)
from routing_jax.sweep.train_part import train_part
from routing_jax.sweep.workers import train_in_workers
from routing_jax.training import processes, sharding
from routing_jax.training.quiet import quiet_libraries
from routing_jax.training.run import own_console, say
from routing_jax.training.stopping import Stops
from routing_jax.workdir import Workdir


def run(command: Command, stops: Stops, *, started: float) -> int:
    """Trains every cell of a sweep that is not trained yet, or submits the programs.

    To evaluate a sweep is to show the table of a finished one.

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
    console, root = own_console(), command.workdir
    told = partial(say, console)
    if command.mode == "evaluate":
        return _evaluate(root, console)
    if root.sweep_path.exists():
        told(f"The sweep in {root.path} is finished; --overwrite starts it anew.")
        _show(root, console)
        return 0
    quiet_libraries()
    mesh = sharding.mesh_for(command.devices)
    parts = plan_parts(command, mesh, say=told)
    for line in plan_lines(parts):
        told(line)
    if command.sweep.slurm is not None:
        from routing_jax.sweep.slurm import submit

        settings = settings_of_start(command.config)
        told(submit(parts, root, command.sweep.slurm, settings))
        return 0
    if not _train(parts, mesh, command, console, stops, started):
        told(f"Stopped by {stops.received.name}; everything is saved. The same command goes on.")
        return stops.exit_status
    if processes.is_first():
        collect(parts, root)
        _show(root, console)
    return 0


def collect(parts: Sequence[Part], root: Workdir) -> None:
    """Writes sweep.json, the table and the figures, if every program is finished."""
    found = [part.outcomes for part in parts]
    if any(outcomes is None for outcomes in found):
        return
    cells = sorted(
        (outcome for outcomes in found for outcome in outcomes),
        key=lambda outcome: outcome["index"],
    )
    draw_sweep(cells, root.figures_dir)
    files.write_text(root.sweep_table_path, table_text(summarise(cells), cells))
    # Last: where it stands, all is done.
    files.write_json(root.sweep_path, {"axes": list(cells[0]["settings"]), "cells": cells})


def _train(
    parts: Sequence[Part],
    mesh: Mesh,
    command: Command,
    console: Console,
    stops: Stops,
    started: float,
) -> bool:
    """Whether all programs are finished; else a stop was asked for."""
    if command.sweep.workers is not None:
        return _train_in_workers(parts, command, console, stops)
    done = {"ok": 0, "failed": 0}
    for part in parts:
        about = ", ".join(filter(None, [part.title, _done(**done)]))
        if not train_part(part, mesh, about=about, console=console, stops=stops, started=started):
            return False
        started = time.monotonic()  # the next one counts its own time alone
        for outcome in part.outcomes:
            done[outcome["status"]] += 1
    return True


def _train_in_workers(
    parts: Sequence[Part], command: Command, console: Console, stops: Stops
) -> bool:
    asked = command.sweep.workers
    workers = side_by_side(parts, asked)
    if workers < asked:
        say(
            console,
            f"--sweep_workers={asked}: not so many programs fit into memory side by side; "
            f"{workers} at a time are trained.",
        )
    settings = settings_of_start(command.config)
    return train_in_workers(
        parts, command.workdir, settings, workers=workers, console=console, stops=stops
    )


def _done(*, ok: int, failed: int) -> str:
    """What became of the cells of earlier programs, such as "8 cells done, 1 failed"."""
    counts = {"cells done": ok, "failed": failed}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def _evaluate(root: Workdir, console: Console) -> int:
    if not root.sweep_path.exists():
        raise UserError(
            f"--workdir={root.path}: this directory holds a sweep; a cell is evaluated by its own "
            "run (--sweep_print)."
        )
    _show(root, console)
    return 0


def _show(root: Workdir, console: Console) -> None:
    cells = read_sweep(root.sweep_path)
    console.print(sweep_table(summarise(cells), cells))
    written = (root.sweep_path, root.sweep_table_path, *sorted(root.figures_dir.glob("*.png")))
    for path in filter(Path.exists, written):
        say(console, str(path))
