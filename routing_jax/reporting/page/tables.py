"""Tables of a page as plain values: what a cell says, and the number it is sorted by."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from routing_jax.reporting.formats import measured, with_error

MISSING = "–"
MOST_COLUMNS = 8
"""Of one part of a table, besides the first."""


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: what it says.
        number: what it is sorted by; None where that is the text.
    """

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: says what it holds, and in which unit.
        columns: the heads.
        rows: as many cells each as there are columns; the first names the row.
        foot: a row that stays below, such as means.
        sortable: whether a reader may sort by each column.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Cell] = ()
    sortable: bool = True


def number(value: float, text: str) -> Cell:
    """A number as it is to be read; one that is not finite is sorted behind all others."""
    return Cell(text, float(value) if isfinite(value) else None)


def metric_cell(name: str, metric: dict[str, Any] | None) -> Cell:
    """The mean of a metric with its standard error over seeds, if there are several."""
    if metric is None:
        return Cell(MISSING)
    mean, error = metric["mean"], metric["stderr"]
    return number(mean, measured(name, mean) if error is None else with_error(name, mean, error))


def in_parts(table: Table) -> list[Table]:
    """The table, cut into several where its columns do not fit on a printed page.

    Each part begins with the column that names the rows.
    """
    count = -(-(len(table.columns) - 1) // MOST_COLUMNS)
    if count <= 1:
        return [table]
    starts = [1 + (len(table.columns) - 1) * part // count for part in range(count + 1)]
    return [
        Table(
            f"{table.title} ({part + 1} of {count})",
            _cut(table.columns, start, stop),
            [_cut(row, start, stop) for row in table.rows],
            _cut(table.foot, start, stop),
            table.sortable,
        )
        for part, (start, stop) in enumerate(zip(starts, starts[1:], strict=False))
    ]


def _cut(cells: Sequence[Any], start: int, stop: int) -> Sequence[Any]:
    return [*cells[:1], *cells[start:stop]]
