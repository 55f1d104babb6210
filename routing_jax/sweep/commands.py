"""A sweep and its cells as plain commands. Imports no JAX."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from routing_jax.sweep.plan import Cell

_LENGTHS = ("training.epochs", "training.steps")


def cell_command(launch: Sequence[str], cell: Cell, *, given: Mapping[str, Any], root: Path) -> str:
    """The command that trains the cell alone.

    Args:
        launch: The program and its experiment, such as `("launch.py", "--config=a.py")`.
        cell: The cell.
        given: Every field's value as the experiment alone sets it, by dotted name.
        root: The work directory of the sweep; the cell's own one lies below it.
    """
    workdir = root / "cells" / cell.folder
    return _command(launch, cell.values, given=given, workdir=workdir)


def sweep_command(
    launch: Sequence[str], values: Mapping[str, Any], *, given: Mapping[str, Any], root: Path
) -> str:
    """The command that trains the whole sweep.

    Args:
        launch: The program and its experiment.
        values: Every field's value in the configuration that the cells start from.
        given: Every field's value as the experiment alone sets it.
        root: The work directory of the sweep.
    """
    return _command(launch, values, given=given, workdir=root)


def _command(
    launch: Sequence[str], values: Mapping[str, Any], *, given: Mapping[str, Any], workdir: Path
) -> str:
    """Every field that is not as the experiment sets it becomes a flag."""
    changed = {
        field: value
        for field, value in values.items()
        if value != given[field] and not (field in _LENGTHS and value is None)
    }
    flags = [f"--config.{field}={value}" for field, value in changed.items()]
    return shlex.join(["python", *launch, *flags, f"--workdir={workdir}"])
