"""What each task takes of each block at each depth, the order it reads as, and how pure it is."""

import math
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from routing_jax.reporting.figure_style import new_figure, save

PANELS_A_ROW = 5
CELL = (0.42, 0.2)
"""Width and height of a cell, in inches."""
SMALLEST_WIDTH = 7.0
_TITLE = 22
"""Characters of a line above a panel; longer names would run into each other."""
PATH = {"color": "#D55E00", "linewidth": 1.4, "marker": "o", "markersize": 3.5}


def draw_mixing_weights(results: dict[str, Any], figures_dir: Path) -> Path:
    """Draws a heat map of depth by block for each task; returns the PNG's path.

    The line goes through the block of the largest weight: the order of computation as far as one
    can be read off. With several seeds it shows the first: blocks have no common order.
    """
    weights = np.asarray(results["mixing_weights"][0])  # [T, D, K]
    tasks, depth, blocks = weights.shape
    columns = min(tasks, PANELS_A_ROW)
    rows = math.ceil(tasks / columns)
    figure = new_figure(
        results,
        about=_about(results, "Mixing weights"),
        width=max(columns * (blocks * CELL[0] + 0.9) + 1.2, SMALLEST_WIDTH),
        height=rows * (depth * CELL[1] + 0.6) + 1.3,
    )
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[tasks:]:
        axes.remove()
    for axes, task, name in zip(panels.flat, weights, results["tasks"], strict=False):
        image = axes.imshow(task, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        axes.plot(task.argmax(-1), range(depth), **PATH)
        axes.set_title(textwrap.fill(name.replace("_", " "), _TITLE), fontsize=8)
        axes.set_xticks(range(blocks))
    for axes in panels[:, 0]:
        _label_depths(axes, depth)
    for axes in panels.flat[max(tasks - columns, 0) : tasks]:
        axes.set_xlabel("block", fontsize=8)
        axes.tick_params(labelbottom=True)
    shown = list(panels.flat[:tasks])
    figure.colorbar(image, ax=shown, label="weight", fraction=0.03, pad=0.02)
    line = Line2D([], [], label="largest weight", **PATH)
    figure.legend(handles=[line], loc="outside lower right", fontsize=8, frameon=False)
    return save(figure, figures_dir / "mixing_weights.png")


def draw_mixing_entropy(results: dict[str, Any], figures_dir: Path) -> Path:
    """Draws the entropy of each task's weights at each depth; returns the PNG's path.

    It is a share of the highest possible one, log K: 0 is one block alone, 1 all alike. With
    several seeds it is their mean.
    """
    entropy = entropy_share(np.asarray(results["mixing_weights"])).mean(0)  # [T, D]
    tasks, depth = entropy.shape
    figure = new_figure(
        results,
        about=_about(results, "Entropy of mixing weights", over_seeds=True),
        width=max(depth * CELL[0] + 4.0, SMALLEST_WIDTH),
        height=max(tasks * CELL[1], 0.8) + 1.6,
    )
    axes = figure.subplots()
    image = axes.imshow(entropy, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(tasks), results["tasks"], fontsize=8)
    axes.set_xticks(range(depth), range(1, depth + 1), fontsize=8)
    axes.set_xlabel("depth")
    figure.colorbar(image, ax=axes, label="share of log K", fraction=0.05, pad=0.02)
    return save(figure, figures_dir / "mixing_entropy.png")


def entropy_share(weights: np.ndarray) -> np.ndarray:
    """Entropy of weights [..., K] over log K: [...] in [0, 1]; 0 where K is 1."""
    blocks = weights.shape[-1]
    if blocks == 1:
        return np.zeros(weights.shape[:-1])
    logs = np.log(np.where(weights > 0, weights, 1))
    return -(weights * logs).sum(-1) / math.log(blocks)


def _about(results: dict[str, Any], what: str, *, over_seeds: bool = False) -> str:
    seeds = results["seeds"]
    if len(seeds) == 1:
        return what
    first = f"seed {seeds[0]} (first of {len(seeds)})"
    return f"{what}, mean of {len(seeds)} seeds" if over_seeds else f"{what}, {first}"


def _label_depths(axes: Axes, depth: int) -> None:
    shown = range(0, depth, 2 if depth > 8 else 1)
    axes.set_yticks(list(shown), [str(i + 1) for i in shown], fontsize=7)
    axes.set_ylabel("depth", fontsize=8)
