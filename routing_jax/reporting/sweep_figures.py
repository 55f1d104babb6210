"""The figures of a sweep: accuracy against swept numbers, and learning curves, with error bands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from routing_jax.reporting.figure_style import line_look, new_figure, save, tidy
from routing_jax.reporting.formats import averaged, curve_set, scale
from routing_jax.reporting.sweep_lines import (
    apart,
    settings_label,
    spans_far,
    swept_numbers,
)
from routing_jax.reporting.sweep_summary import (
    Cell,
    Row,
    merged_results,
    standard_error,
    summarise,
)

_MOST_COLUMNS = 3
_BAND = {"alpha": 0.2, "linewidth": 0}
_EXPLAINED = "line: mean over seeds; band: standard error of the mean"


def draw_sweep(cells: Sequence[Cell], figures_dir: Path) -> list[Path]:
    """Draws the first metric against each swept number besides the seed, and learning curves.

    Args:
        cells: of sweep.json.
        figures_dir: where to write; made if it is not there.

    Returns:
        The files written; none where nothing finished.
    """
    rows = [row for row in summarise(cells) if row.means]
    about = merged_results(cells)
    if about is None:
        return []
    failed = sum(cell["results"] is None for cell in cells)
    explained = f"{_EXPLAINED}; {failed} of {len(cells)} cells failed" if failed else _EXPLAINED
    numbers = swept_numbers(rows)
    metric = next(iter(rows[0].means))
    figures = {
        f"{metric}_against_{field}.png": _draw_against(rows, field, metric, about)
        for field in numbers
    }
    field = numbers[0] if numbers else None
    figures[f"{metric}_curves.png"] = _draw_curves(rows, field, metric, about)
    figures_dir.mkdir(parents=True, exist_ok=True)
    for figure in figures.values():
        figure.supxlabel(explained, fontsize=8)
    return [save(figure, figures_dir / name) for name, figure in figures.items()]


def _draw_against(rows: Sequence[Row], field: str, metric: str, about: dict[str, Any]) -> Figure:
    """One line for each setting of the other fields."""
    title = f"{_words(metric).capitalize()} against {field}"
    figure = new_figure(about, about=title, width=7.5, height=4.5)
    axes = figure.add_subplot()
    factor, unit = scale(metric)
    for index, (others, line) in enumerate(apart(rows, field).items()):
        line = sorted(line, key=lambda row: row.settings[field])
        x = [row.settings[field] for row in line]
        mean = factor * np.array([row.means[metric] for row in line])
        error = factor * np.array([row.errors[metric] or 0.0 for row in line])
        look = line_look(index)
        axes.plot(x, mean, marker="o", markersize=4, label=settings_label(others), **look)
        axes.fill_between(x, mean - error, mean + error, color=look["color"], **_BAND)
    axes.set_xlabel(field)
    evaluated_on = about["dataset"]["evaluated_on"]
    axes.set_ylabel(f"{evaluated_on} {_words(metric)} ({unit}{averaged(about)})")
    swept = sorted({row.settings[field] for row in rows})
    if spans_far(swept):
        axes.set_xscale("log")
        axes.set_xticks(swept, [f"{value:g}" for value in swept])
        axes.minorticks_off()
    axes.legend(fontsize=8)
    tidy(axes)
    return figure


def _draw_curves(
    rows: Sequence[Row], field: str | None, metric: str, about: dict[str, Any]
) -> Figure:
    """A panel for each setting of the other fields, in it a line for each value of the field."""
    panels = apart(rows, field)
    columns = min(len(panels), _MOST_COLUMNS)
    lines = -(-len(panels) // columns)
    size = {"width": 1.5 + 4.2 * columns, "height": 0.8 + 3.4 * lines}
    figure = new_figure(about, about=f"{_words(metric).capitalize()} over training", **size)
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes, (others, panel) in zip(grid.flat, panels.items(), strict=False):
        _draw_panel(axes, panel, field, metric, title=settings_label(others) if others else "")
    for axes in grid[:, 0]:
        unit = scale(metric)[1]
        axes.set_ylabel(f"{curve_set(about)} {_words(metric)} ({unit}{averaged(about)})")
    grid[0, 0].legend(fontsize=8)
    return figure


def _draw_panel(
    axes: Axes, rows: Sequence[Row], field: str | None, metric: str, *, title: str
) -> None:
    if field is not None:
        rows = sorted(rows, key=lambda row: row.settings[field])
    for index, row in enumerate(rows):
        label = "mean over seeds" if field is None else f"{field} = {row.settings[field]}"
        _draw_curve(axes, row, metric, index, label)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("training step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    tidy(axes)


def _draw_curve(axes: Axes, row: Row, metric: str, index: int, label: str) -> None:
    curves = [cell["results"]["curve"][0] for cell in row.cells]
    steps = [entry["step"] for entry in curves[0]]
    found = [[entry[f"test_{metric}"] for entry in curve] for curve in curves]
    values = scale(metric)[0] * np.array(found, np.float64)  # None, not finite, becomes NaN
    mean = values.mean(axis=0)
    error = np.array([standard_error(column) or 0.0 for column in values.T.tolist()])
    look = line_look(index)
    axes.plot(steps, mean, label=label, **look)
    axes.fill_between(steps, mean - error, mean + error, color=look["color"], **_BAND)


def _words(metric: str) -> str:
    return metric.replace("_", " ")
