"""The routing map, or allocation matrix: how probable each block is for each task and depth."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from routing_jax.config_components import components_of
from routing_jax.reporting.figure_style import new_figure, save
from routing_jax.reporting.formats import PASS_ROUTE
from routing_jax.reporting.routing_file import Routing

PANELS_A_ROW = 4
WIDTH_OF_PANELS = 13.0
SMALLEST_WIDTH = 7.0
CELL = (0.18, 0.34)
"""Smallest and largest side of a cell, in inches."""
TAKEN_MARK = {"marker": "o", "markerfacecolor": "white", "markeredgecolor": "black"}


def draw_routing_map(results: dict[str, Any], routing: Routing, figures_dir: Path) -> Path:
    """Draws a heat map for each depth, at the last snapshot; returns the PNG's path.

    Marks are on the blocks that were tested: the greedy choice, or all that are switched on. With
    several seeds it shows the first: blocks have no common order between seeds.
    """
    last = routing.probabilities[0, -1]  # [T, D, A]
    tasks, depth, actions = last.shape
    columns = min(depth, PANELS_A_ROW)
    rows = math.ceil(depth / columns)
    cell = float(np.clip(WIDTH_OF_PANELS / (columns * actions), *CELL))
    figure = new_figure(
        results,
        about=_about(results, routing),
        width=max(columns * (actions * cell + 0.3) + 2.2, SMALLEST_WIDTH),
        height=rows * (tasks * max(cell, 0.2) + 0.9) + 1.2,
    )
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[depth:]:
        axes.remove()
    for i, axes in enumerate(panels.flat[:depth]):
        image = axes.imshow(last[:, i], cmap="cividis", vmin=0, vmax=1, aspect="auto")
        _mark_taken(axes, results, i, actions=actions)
        _label(axes, results, i, actions=actions)
    for axes in panels[:, 0]:
        axes.set_yticks(range(tasks), routing.tasks, fontsize=8)
        axes.set_ylabel("task")
    figure.colorbar(
        image, ax=list(panels.flat[:depth]), label="probability", fraction=0.03, pad=0.02
    )
    if _taken(results, actions) is not None:
        label = "greedy choice" if _has_routes(results) else "on at the test"
        mark = Line2D([], [], linestyle="", label=label, **TAKEN_MARK)
        figure.legend(handles=[mark], loc="outside lower right", fontsize=8, frameon=False)
    return save(figure, figures_dir / "routing_map.png")


def _about(results: dict[str, Any], routing: Routing) -> str:
    switches = results.get("allocation") is not None
    what = "Allocation matrix" if switches else "Routing map"
    about = f"{what} after {int(routing.steps[-1]):,} steps"
    seeds = results["seeds"]
    return about if len(seeds) == 1 else f"{about}, seed {seeds[0]} (first of {len(seeds)})"


def _has_routes(results: dict[str, Any]) -> bool:
    return results["routing_map"] is not None


def _taken(results: dict[str, Any], actions: int) -> list[list[list[int]]] | None:
    """The columns [T, D, ...] of the blocks that tasks take; None where they take mixtures."""
    if _has_routes(results):
        greedy = results["routing_map"][0]
        return [[[actions - 1 if at == PASS_ROUTE else at] for at in row] for row in greedy]
    allocation = results.get("allocation")
    return None if allocation is None else allocation[0]


def _mark_taken(axes: Axes, results: dict[str, Any], depth: int, *, actions: int) -> None:
    taken = _taken(results, actions)
    if taken is None:
        return
    places = [(block, task) for task, row in enumerate(taken) for block in row[depth]]
    blocks, tasks = zip(*places, strict=True) if places else ((), ())
    axes.plot(blocks, tasks, linestyle="", markersize=4.5, **TAKEN_MARK)


def _block_names(results: dict[str, Any], actions: int) -> list[str]:
    """A number for each block, or what it is where blocks are unlike."""
    model = results["config"].get("model", {})
    names = [str(block) for block in range(actions)]
    kinds = components_of(model.get("components", ""))
    if len(set(kinds)) > 1:
        names[: len(kinds)] = kinds
    if results["config"]["router"]["pass_action"]:
        names[-1] = "PASS"
    return names


def _label(axes: Axes, results: dict[str, Any], depth: int, *, actions: int) -> None:
    names = _block_names(results, actions)
    axes.set_xticks(range(actions), names, fontsize=7)
    for label, name in zip(axes.get_xticklabels(), names, strict=True):
        label.set_rotation(0 if name.isdigit() else 90)
    axes.set_title(f"depth {depth + 1}", fontsize=10)
    axes.set_xlabel("block")
