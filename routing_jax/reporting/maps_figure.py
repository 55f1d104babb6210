"""Routing maps of several seeds beside chance: do they agree, and do alike tasks share blocks?"""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from routing_jax.reporting.figure_style import new_figure, save, tidy
from routing_jax.reporting.looks import LINE_COLOURS

_FOUND, _CHANCE = LINE_COLOURS[1], "0.6"


def draw_judgement(results: dict[str, Any], found: dict[str, Any], path: Path) -> Path:
    """Draws what `maps.judge` found; returns the path of the PNG.

    Args:
        results: the results file that was judged.
        found: the answers.
        path: of the PNG.
    """
    figure = new_figure(results, about="Do routing maps mean anything?", width=8.5, height=4.0)
    sharing = found["sharing_within_minus_across_groups"]
    panels = figure.subplots(1, 2, squeeze=False, width_ratios=(2, 1))[0]
    depths = found["overlap_per_depth"]
    used = zip(*found["blocks_used_per_depth"], strict=True)
    names = [
        f"depth {depth}\n{min(blocks)} to {max(blocks)} blocks"
        for depth, blocks in enumerate(used, start=1)
    ]
    _draw(panels[0], depths, names)
    panels[0].set_ylabel("share of tasks with the same block,\nblocks renamed at best")
    panels[0].set_title("Do seeds agree?", fontsize=10)
    panels[0].set_ylim(0, 1.02)
    panels[0].legend(fontsize=8)
    if sharing is None:
        panels[1].remove()
    else:
        _draw(panels[1], [sharing], ["tasks of one group\nminus all others"])
        panels[1].axhline(0, color="0.8", linewidth=0.8)
        panels[1].set_ylabel("difference in share of common depths")
        panels[1].set_title("Do tasks of alike meaning share?", fontsize=10)
    return save(figure, path)


def _draw(axes: Axes, numbers: list[dict[str, float]], names: list[str]) -> None:
    """Each number as a point, beside a bar over 95 % of random maps."""
    places = range(len(numbers))
    tidy(axes)
    for place, number in zip(places, numbers, strict=True):
        axes.plot(
            [place] * 2,
            [number["chance_from"], number["chance_to"]],
            color=_CHANCE,
            linewidth=9,
            solid_capstyle="butt",
            label="random maps, 95 %" if place == 0 else None,
        )
    axes.plot(places, [n["value"] for n in numbers], "o", color=_FOUND, label="mean over seeds")
    axes.set_xticks(places, names, fontsize=8)
    axes.set_xlim(-0.6, len(numbers) - 0.4)
