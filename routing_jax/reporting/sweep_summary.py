"""What a sweep found: cells that differ only in their seed, summarised and sorted."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from routing_jax.errors import UserError
from routing_jax.reporting.formats import averaged, heading, higher_is_better, measured, with_error
from routing_jax.reporting.results import learned_test

SEED = "training.seed"
_WIDEST = 1000
"""Columns of a table in a file, which nothing has to fit."""

Cell = dict[str, Any]
"""As in sweep.json: index, name, settings, command, status, failed_step, results."""


@dataclass(frozen=True)
class Row:
    """Cells that differ only in their seed.

    Attributes:
        settings: the swept values besides the seed, by field.
        cells: those that finished.
        failed: the number of those that diverged.
        means: metric -> mean over the finished cells; empty if there are none.
        errors: metric -> standard error of that mean; None for a single cell.
    """

    settings: dict[str, Any]
    cells: tuple[Cell, ...]
    failed: int
    means: dict[str, float]
    errors: dict[str, float | None]


def read_sweep(path: Path) -> list[Cell]:
    """The cells of a sweep.json.

    Raises:
        UserError: there is none, or it is not a whole sweep.json.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))["cells"]
    except FileNotFoundError:
        raise UserError(f"there is no {path}: has the sweep finished?") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is cut off or not the results of a sweep ({error})") from None


def summarise(cells: Sequence[Cell]) -> list[Row]:
    """One row for each setting, best mean of the first metric first, failures last.

    Means and errors are over seeds: there is no best seed here.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(_without_seed(cell).items()), []).append(cell)
    rows = [_row(group) for group in groups.values()]
    return sorted(rows, key=_rank)


def _rank(row: Row) -> tuple[int, float]:
    """Means first, then those that are not finite, then settings of which no cell finished."""
    if not row.means:
        return 2, 0.0
    metric, mean = next(iter(row.means.items()))
    if not isfinite(mean):
        return 1, 0.0
    return 0, -mean if higher_is_better(metric) else mean


def sweep_table(rows: Sequence[Row], cells: Sequence[Cell]) -> Table:
    """The rows as a table: settings, seeds, and each metric with its standard error."""
    about = merged_results(cells)
    of = "mean over tasks" if about is None else averaged(about)
    table = Table(
        title=title_of(cells),
        title_justify="left",
        caption=f"mean ± standard error over seeds, of the {of}",
        caption_justify="left",
    )
    for field in rows[0].settings:
        table.add_column(field)
    table.add_column("cells", justify="right")
    metrics = next((list(row.means) for row in rows if row.means), [])
    for metric in metrics:
        table.add_column(metric.replace("_", " "), justify="right")
    for row in rows:
        failed = f" + {row.failed} failed" if row.failed else ""
        values = [_value(row, metric) for metric in metrics]
        table.add_row(*map(str, row.settings.values()), f"{len(row.cells)}{failed}", *values)
    return table


def table_text(rows: Sequence[Row], cells: Sequence[Cell]) -> str:
    """The table as plain text, as wide as it has to be."""
    written = io.StringIO()
    Console(file=written, width=_WIDEST, color_system=None).print(sweep_table(rows, cells))
    return "".join(f"{line.rstrip()}\n" for line in written.getvalue().splitlines())


def title_of(cells: Sequence[Cell]) -> str:
    """Such as "mnist_mtl on digits, 10 tasks, 8 seeds"."""
    about = merged_results(cells)
    return f"{len(cells)} cells, all failed" if about is None else heading(about)


def merged_results(cells: Sequence[Cell]) -> dict[str, Any] | None:
    """The results of the first finished cell with the seeds of all; None where none finished."""
    finished = [cell["results"] for cell in cells if cell["results"] is not None]
    if not finished:
        return None
    return finished[0] | {"seeds": sorted({seed for one in finished for seed in one["seeds"]})}


def standard_error(numbers: Sequence[float]) -> float | None:
    """Of the mean of independent numbers; None for a single one, NaN where one is not finite."""
    if not all(map(isfinite, numbers)):
        return nan if len(numbers) > 1 else None
    return stdev(numbers) / sqrt(len(numbers)) if len(numbers) > 1 else None


def _without_seed(cell: Cell) -> dict[str, Any]:
    return {field: value for field, value in cell["settings"].items() if field != SEED}


def _row(cells: Sequence[Cell]) -> Row:
    finished = [cell for cell in cells if cell["results"] is not None]
    tests = [learned_test(cell["results"]) for cell in finished]
    values = {
        metric: [_number(test[metric]["mean"]) for test in tests]
        for metric in (tests[0] if tests else ())
    }
    return Row(
        settings=_without_seed(cells[0]),
        cells=tuple(finished),
        failed=len(cells) - len(finished),
        means={metric: fmean(numbers) for metric, numbers in values.items()},
        errors={metric: standard_error(numbers) for metric, numbers in values.items()},
    )


def _number(stored: float | None) -> float:
    """JSON has no word for a number that is not finite: it is stored as null."""
    return nan if stored is None else stored


def _value(row: Row, metric: str) -> str:
    if metric not in row.means:
        return "-"
    mean, error = row.means[metric], row.errors[metric]
    return measured(metric, mean) if error is None else with_error(metric, mean, error)
