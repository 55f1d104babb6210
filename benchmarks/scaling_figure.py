"""Draws the cost per example against the number of tasks, from the lines of `task_scaling`.

    python -m benchmarks.scaling_figure task_scaling.jsonl docs/task_scaling.png

Of lines with the same setting the last counts, so that several runs can be put into one file.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from routing_jax.reporting.figure_style import DOTS_PER_INCH, line_look, save, tidy

Line = dict[str, Any]


def draw(lines: Sequence[Line], path: Path) -> Path:
    """Draws a panel for each part, at a fixed number of examples per task; returns the path.

    Args:
      lines: of `benchmarks.task_scaling`.
      path: of the PNG.

    Raises:
      ValueError: no line was measured at a fixed number of examples per task.
    """
    shown = [line for line in lines if line["settings"]["fixed"] == "examples per task"]
    if not shown:
        raise ValueError("no line was measured at a fixed number of examples per task")
    parts = list(dict.fromkeys(line["settings"]["part"] for line in shown))
    figure = Figure(figsize=(4.7 * len(parts) + 0.8, 4.2), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    examples = shown[0]["settings"]["examples_per_task"]
    figure.suptitle(
        f"Cost of a training example, {examples} examples of each task, blocks = tasks\n"
        f"{shown[0]['device']}; points: median, bars: smallest to largest of all rounds",
        fontsize=10,
    )
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    for axes, part in zip(panels, parts, strict=True):
        _draw_part(axes, [line for line in shown if line["settings"]["part"] == part])
        axes.set_title(part, fontsize=10)
    panels[0].set_ylabel("microseconds per example")
    panels[0].legend(fontsize=8)
    return save(figure, path)


def _draw_part(axes: Axes, lines: Sequence[Line]) -> None:
    for i, name in enumerate(dict.fromkeys(line["name"] for line in lines)):
        points = {line["settings"]["num_tasks"]: line for line in lines if line["name"] == name}
        tasks = sorted(points)
        spreads = [points[count]["microseconds_per_example"] for count in tasks]
        middle = [spread["median"] for spread in spreads]
        around = [
            [spread["median"] - spread["min"] for spread in spreads],
            [spread["max"] - spread["median"] for spread in spreads],
        ]
        axes.errorbar(
            tasks, middle, around, label=name, marker="o", markersize=4, capsize=2, **line_look(i)
        )
    ticks = sorted({line["settings"]["num_tasks"] for line in lines})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("number of tasks")
    tidy(axes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lines", type=Path, help="what benchmarks.task_scaling printed")
    parser.add_argument("picture", type=Path, help="PNG to write")
    options = parser.parse_args(arguments)
    lines = [json.loads(line) for line in options.lines.read_text().splitlines() if line]
    print(draw(lines, options.picture))
    return 0


if __name__ == "__main__":
    sys.exit(main())
