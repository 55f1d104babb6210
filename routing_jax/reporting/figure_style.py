"""What all figures share: canvas, colours, titles, saving. No pyplot, so no global state."""

import textwrap
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from routing_jax.files import atomic_path
from routing_jax.reporting.formats import heading
from routing_jax.reporting.looks import LINE_COLOURS

DOTS_PER_INCH = 150
TITLE_CHARACTERS_PER_INCH = 11
LINE_STYLES = ("-", "--", "-.")


def new_figure(results: dict[str, Any], *, about: str, width: float, height: float) -> Figure:
    """An empty figure titled with what it shows, of which experiment, on which data.

    Args:
        results: the contents of results.json.
        about: what the figure shows.
        width: in inches.
        height: in inches.
    """
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    columns = int(width * TITLE_CHARACTERS_PER_INCH)
    lines = [about, *textwrap.wrap(heading(results), columns)]
    figure.suptitle("\n".join(lines), fontsize=11)
    return figure


def line_look(index: int) -> dict[str, Any]:
    """Colour and style of line number `index`; styles change where the colours are used up."""
    style = LINE_STYLES[index // len(LINE_COLOURS) % len(LINE_STYLES)]
    return {"color": LINE_COLOURS[index % len(LINE_COLOURS)], "linestyle": style}


def tidy(axes: Axes) -> None:
    """A light grid and no frame on the right and at the top."""
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> Path:
    """Writes the figure as PNG, at once or not at all; returns the path."""
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png")
    return path
