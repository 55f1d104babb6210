"""From axes to cells, and to the programs that train them. Imports no JAX.

A *cell* is one configuration of the grid. Cells that differ only in traced fields are trained by
one compiled program.
"""

import copy
import dataclasses
import functools
import hashlib
import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import ml_collections

from routing_jax import config as config_lib
from routing_jax.config_fields import TRACED
from routing_jax.errors import ConfigError, UserError
from routing_jax.sweep.axes import MOST_CELLS, Axis, short_name

_LONGEST_NAME = 200
"""Of a cell in the name of a folder; file systems allow 255 bytes in all."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One configuration of a sweep.

    Attributes:
        index: Its number in the grid; the last axis counts fastest.
        settings: The swept fields' values.
        values: Every field's value, by dotted name.
    """

    index: int
    settings: dict[str, Any]
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """Such as "rho=0.1,seed=3"."""
        return ",".join(f"{short_name(field)}={value}" for field, value in self.settings.items())

    @property
    def folder(self) -> str:
        """The name of a work directory for the cell's own run, in ASCII."""
        name = re.sub("[^A-Za-z0-9_.,=-]", "_", self.name)
        if len(name) > _LONGEST_NAME:
            digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
            name = f"{name[:_LONGEST_NAME]}-{digest}"
        return f"{self.index:03d}-{name}"

    @functools.cached_property
    def config(self) -> ml_collections.ConfigDict:
        """The configuration of the cell's own run, validated and locked."""
        return config_lib.from_values(self.values)


@dataclasses.dataclass(frozen=True)
class Group:
    """Cells that one compiled program can train: all but their traced fields are equal."""

    cells: tuple[Cell, ...]

    @property
    def static_settings(self) -> dict[str, Any]:
        """The swept values that all cells of the group share because they are not traced."""
        settings = self.cells[0].settings
        return {field: value for field, value in settings.items() if not _is_traced(field)}


def make_cells(config: ml_collections.ConfigDict, axes: Sequence[Axis]) -> list[Cell]:
    """Expands the grid and checks every cell.

    Args:
        config: The configuration that the cells start from.
        axes: The swept fields; the last one varies fastest.

    Raises:
        UserError: The grid is too large, or a cell is not allowed.
    """
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_CELLS:
        raise UserError(
            f"--sweep: {count:,} cells are more than {MOST_CELLS:,}; sweep fewer values."
        )
    fields = [axis.field for axis in axes]
    start = copy.deepcopy(config)  # a plain copy would share the fields that may be None
    config_lib.resolve_length(start, fields)
    values = config_lib.flatten(start) | {"sweep": ""}
    grid = itertools.product(*(axis.values for axis in axes))
    settings = (dict(zip(fields, point, strict=True)) for point in grid)
    return [_checked(Cell(index, own, values | own)) for index, own in enumerate(settings)]


def group_cells(cells: Sequence[Cell]) -> list[Group]:
    """The programs that cells need: one for each combination of the fields that are not traced."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        static = tuple(value for field, value in cell.settings.items() if not _is_traced(field))
        groups.setdefault(static, []).append(cell)
    return [Group(tuple(group)) for group in groups.values()]


def _is_traced(field: str) -> bool:
    return field in TRACED.values()


def _checked(cell: Cell) -> Cell:
    try:
        config_lib.validate_values(cell.values)
    except ConfigError as error:
        raise UserError(f"--sweep: the cell {cell.name} is not allowed. {error}") from error
    return cell
