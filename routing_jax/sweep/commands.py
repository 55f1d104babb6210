"""A sweep's cells as plain commands, each of which trains one of them alone. Imports no JAX."""

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
    changed = {
        field: value
        for field, value in cell.values.items()
        if value != given[field] and not (field in _LENGTHS and value is None)
    }
    flags = [f"--config.{field}={value}" for field, value in changed.items()]
    return shlex.join(["python", *launch, *flags, f"--workdir={root / 'cells' / cell.folder}"])
