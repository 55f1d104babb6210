"""Multiply-adds of each task: what runs for it of what there is."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import EngFormatter

from routing_jax.reporting.figure_style import LINE_COLOURS, new_figure, save, tidy

ROW = 0.24
"""Height of a task, in inches."""


def draw_multiply_adds(results: dict[str, Any], figures_dir: Path) -> Path:
    """Draws a bar for each task, and a line where all blocks would be; returns the PNG's path.

    With several seeds a bar is their mean, and dots are the seeds.
    """
    costs = results["multiply_adds"]
    per_task = np.array(costs["per_task"], float)  # [S, T]
    tasks = per_task.shape[1]
    figure = new_figure(results, about=_about(results), width=8.5, height=1.9 + ROW * tasks)
    axes = figure.subplots()
    axes.barh(range(tasks), per_task.mean(0), color=LINE_COLOURS[0], height=0.7)
    if len(per_task) > 1:
        for seed in per_task:
            axes.plot(seed, range(tasks), "o", color="black", markersize=2.5)
    total = costs["all_blocks"]
    axes.axvline(total, color="0.3", linestyle=":", label="all blocks")
    axes.set_yticks(range(tasks), results["tasks"], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.03 * max(total, 1))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("multiply-adds of the routed layers for one example")
    tidy(axes)
    figure.legend(loc="outside lower right", fontsize=8, frameon=False)
    return save(figure, figures_dir / "multiply_adds.png")


def _about(results: dict[str, Any]) -> str:
    saved = results["multiply_adds"]["share_saved"]
    return f"Multiply-adds per task; {100 * saved:.1f} % of all blocks saved"
