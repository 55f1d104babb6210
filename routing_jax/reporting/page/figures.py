"""Figures of a page, as Plotly takes them: plain data and layout."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from routing_jax.reporting.looks import LINE_COLOURS

_DASHES = ("solid", "dash", "dot")
_BAND = 0.18
_DIGITS = 5
_GRID = {"gridcolor": "#e5e5e5", "zeroline": False, "automargin": True, "linecolor": "#999999"}
MOST_LINES = 12
"""So many lines of a figure are shown at first, the others on a click in its legend."""


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        title: what it shows; also for those who cannot see it.
        data: Plotly's traces.
        layout: Plotly's layout.
        note: a sentence below it.
    """

    title: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    note: str = ""


def shown(name: str) -> str:
    """A name as Plotly shows it letter by letter; it would take tags in it for its own."""
    return html.escape(name, quote=False)


def line_figure(
    title: str, *, x: str, y: str, traces: Sequence[dict[str, Any]], note: str = "", **axes: Any
) -> Figure:
    """A figure of lines.

    Args:
        title: what it shows.
        x: name of the axis, with its unit.
        y: the same.
        traces: from `line_traces`.
        note: a sentence below it.
        axes: more of Plotly's `xaxis` and `yaxis`.
    """
    layout = {
        "title": {"text": shown(title)},
        "xaxis": {"title": _axis_title(x)} | _GRID | axes.get("xaxis", {}),
        "yaxis": {"title": _axis_title(y) | {"standoff": 8}} | _GRID | axes.get("yaxis", {}),
    }
    return Figure(title, list(traces), layout, note)


def _axis_title(name: str) -> dict[str, Any]:
    return {"text": shown(name), "font": {"size": 12}}


def line_traces(
    label: str,
    x: np.ndarray,
    mean: np.ndarray,
    error: np.ndarray | None,
    *,
    index: int,
    marks: bool,
    unit: str = "",
) -> list[dict[str, Any]]:
    """A line and, where it has an error, a band of one standard error to each side.

    Args:
        label: of the line in the legend.
        x: [i].
        mean: [i].
        error: [i], or None for no band.
        index: the number of the line, which gives it its colour and dashes.
        marks: whether each point gets a marker.
        unit: of the values, for a reader who points at one.
    """
    colour = LINE_COLOURS[index % len(LINE_COLOURS)]
    dash = _DASHES[index // len(LINE_COLOURS) % len(_DASHES)]
    common = {"type": "scatter", "x": numbers(x), "legendgroup": str(index)}
    common |= {"visible": True if index < MOST_LINES else "legendonly"}
    line = common | {
        "y": numbers(mean),
        "name": shown(label),
        "mode": "lines+markers" if marks else "lines",
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"size": 5},
        "hovertemplate": f"%{{y}}{unit}<extra>{shown(label)}</extra>",
    }
    if error is None:
        return [line]
    edge = common | {"mode": "lines", "line": {"width": 0}, "showlegend": False}
    edge |= {"hoverinfo": "skip", "name": f"{shown(label)}, error"}
    filled = {"fill": "tonexty", "fillcolor": _see_through(colour)}
    below, above = numbers(mean - error), numbers(mean + error)
    return [edge | {"y": below}, edge | {"y": above} | filled, line]


def numbers(values: np.ndarray) -> list[float | None]:
    """To five digits, which no screen shows more of; None where a number is not finite."""
    return [
        float(f"{value:.{_DIGITS}g}") if isfinite(value) else None
        for value in np.asarray(values, float).tolist()
    ]


def _see_through(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{_BAND})"
