"""How the probabilities of switches moved while training: a panel for each task."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from routing_jax.reporting.figure_style import line_look, new_figure, save, tidy
from routing_jax.reporting.routing_file import Routing

MOST_COLUMNS = 5
PANEL = (2.3, 1.6)
"""Width and height of a panel, in inches."""


def draw_trajectories(results: dict[str, Any], routing: Routing, figures_dir: Path) -> Path:
    """Draws a line for each switch, coloured by its depth; returns the PNG's path.

    With several seeds it shows the first: blocks have no common order between seeds.
    """
    probabilities = routing.probabilities[0]  # [snapshot, T, D, K]
    tasks, depth = probabilities.shape[1:3]
    columns = min(tasks, MOST_COLUMNS)
    rows = math.ceil(tasks / columns)
    width, height = max(columns * PANEL[0] + 0.8, 7.0), rows * PANEL[1] + 1.4
    figure = new_figure(results, about=_about(results), width=width, height=height)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[tasks:]:
        axes.remove()
    for task, axes in enumerate(panels.flat[:tasks]):
        _draw_task(axes, routing.steps, probabilities[:, task])
        axes.set_title(routing.tasks[task], fontsize=8)
    for axes in panels[:, 0]:
        axes.set_ylabel("probability", fontsize=8)
    looks = [Line2D([], [], label=f"depth {d + 1}", **line_look(d)) for d in range(depth)]
    figure.legend(handles=looks, loc="outside right upper", fontsize=8, frameon=False)
    figure.supxlabel("training step", fontsize=9)
    return save(figure, figures_dir / "switch_probabilities.png")


def _draw_task(axes: Axes, steps: np.ndarray, probabilities: np.ndarray) -> None:
    """The switches of a task, [snapshot, D, K]; above one half a block is on."""
    for depth in range(probabilities.shape[1]):
        axes.plot(steps, probabilities[:, depth], linewidth=0.8, **line_look(depth))
    axes.axhline(0.5, color="0.5", linewidth=0.7)
    axes.set_ylim(-0.03, 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.tick_params(labelsize=7)
    tidy(axes)


def _about(results: dict[str, Any]) -> str:
    about, seeds = "Probability that a block is on, over training", results["seeds"]
    return about if len(seeds) == 1 else f"{about}, seed {seeds[0]} (first of {len(seeds)})"
