"""The similarity of tasks by the blocks that are on for them, as an ordered heat map."""

from pathlib import Path
from typing import Any

import numpy as np

from routing_jax.reporting.allocation import blocks_on
from routing_jax.reporting.figure_style import new_figure, save
from routing_jax.reporting.routing_file import Routing
from routing_jax.reporting.similarity import alike_side_by_side, task_similarity

CELL = 0.3
"""Side of a cell, in inches; less for many tasks."""
WIDEST = 9.0
MOST_NUMBERS = 12
"""Up to so many tasks each cell holds its number."""


def draw_task_similarity(results: dict[str, Any], routing: Routing, figures_dir: Path) -> Path:
    """Draws the mean over seeds of the cosine of each two tasks' patterns; returns the PNG's path.

    Tasks that are alike stand side by side.
    """
    on = blocks_on(results, routing)  # [S, T, D, K]
    similarity = np.mean([task_similarity(patterns) for patterns in on], axis=0)
    order = alike_side_by_side(similarity)
    tasks, names = len(order), [routing.tasks[task] for task in order]
    side = max(min(tasks * CELL, WIDEST), 2.4)
    figure = new_figure(results, about=_about(results), width=side + 4.2, height=side + 2.4)
    axes = figure.subplots()
    shown = similarity[np.ix_(order, order)]
    image = axes.imshow(shown, cmap="cividis", vmin=0, vmax=1)
    axes.set_yticks(range(tasks), names, fontsize=8)
    axes.set_xticks(range(tasks), names, fontsize=8, rotation=90)
    if tasks <= MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(shown):
            colour = "black" if value > 0.5 else "white"
            text = {"color": colour, "fontsize": 7, "ha": "center", "va": "center"}
            axes.text(column, row, f"{value:.2f}", **text)
    figure.colorbar(image, ax=axes, label="cosine of on/off patterns", fraction=0.05, pad=0.03)
    return save(figure, figures_dir / "task_similarity.png")


def _about(results: dict[str, Any]) -> str:
    seeds = len(results["seeds"])
    about = "Similarity of tasks by the blocks that are on for them"
    return about if seeds == 1 else f"{about}, mean of {seeds} seeds"
