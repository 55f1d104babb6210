"""Curves over training, each line with its error over seeds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from routing_jax.reporting.formats import curve_set, scale
from routing_jax.reporting.looks import FEW_POINTS, LOSSES, spans_a_decade
from routing_jax.reporting.page.compare import metrics_of
from routing_jax.reporting.page.figures import MOST_LINES, Figure, line_figure, line_traces
from routing_jax.reporting.page.lines import Line, mean_and_error

Quantity = Callable[[Mapping[str, Any]], float]


Numbered = Mapping[int, Line]
"""Lines by their number, which gives each its colour in all figures."""


def curve_figures(lines: Sequence[Line]) -> list[Figure]:
    """Training loss, every metric, policy entropy and blocks used, over training steps."""
    numbered = dict(enumerate(lines))
    entropy, used = "policy_entropy_per_depth", "blocks_used_per_depth"
    return [
        *_losses(numbered),
        *(_metric(name, numbered) for name in metrics_of(lines)),
        *_of_depths(entropy, "Policy entropy", "entropy (nats, mean over depths)", numbered),
        *_of_depths(used, "Blocks used", "blocks (mean over depths)", numbered),
    ]


def _losses(lines: Numbered) -> list[Figure]:
    """One figure for each kind of loss: they cannot be compared."""
    kinds = dict.fromkeys(map(_first_metric, lines.values()))
    return [
        _figure(
            "Training loss",
            LOSSES.get(kind, f"{_words(kind)} (mean over tasks)"),
            _those(lines, lambda line, kind=kind: _first_metric(line) == kind),
            lambda entry: entry["train_loss"],
            logarithmic=True,
        )
        for kind in kinds
    ]


def _metric(name: str, lines: Numbered) -> Figure:
    factor, unit = scale(name)
    having = _those(lines, lambda line: name in line.results["test"])
    evaluated_on = curve_set(next(iter(having.values())).results)
    return _figure(
        f"{_words(name).capitalize()} on the {evaluated_on} set",
        f"{_words(name)} ({unit}mean over tasks)",
        having,
        lambda entry: factor * entry[f"test_{name}"],
    )


def _of_depths(name: str, title: str, y: str, lines: Numbered) -> list[Figure]:
    """The mean over depths of what an entry has for each depth; nothing where no line has it."""
    having = _those(
        lines, lambda line: all(name in entry for c in line.results["curve"] for entry in c)
    )
    return [_figure(title, y, having, lambda entry: float(np.mean(entry[name])))] if having else []


def _those(lines: Numbered, wanted: Callable[[Line], bool]) -> Numbered:
    return {index: line for index, line in lines.items() if wanted(line)}


def _figure(
    title: str, y: str, lines: Numbered, quantity: Quantity, *, logarithmic: bool = False
) -> Figure:
    curves = {index: mean_and_error(line, quantity) for index, line in lines.items()}
    traces = [
        trace
        for index, (steps, mean, error) in curves.items()
        for trace in line_traces(
            lines[index].label, steps, mean, error, index=index, marks=len(steps) <= FEW_POINTS
        )
    ]
    means = np.concatenate([mean for _, mean, _ in curves.values()])
    axes = {"yaxis": {"type": "log"}} if logarithmic and spans_a_decade(means) else {}
    note = _note(lines, has_band=any(error is not None for _, _, error in curves.values()))
    return line_figure(title, x="training step", y=y, traces=traces, note=note, **axes)


def _note(lines: Numbered, *, has_band: bool) -> str:
    parts = ["Band: standard error of the mean over seeds."] if has_band else []
    if len(lines) > MOST_LINES:
        parts.append("Lines that are not drawn yet: click on them in the legend.")
    return " ".join(parts)


def _first_metric(line: Line) -> str:
    return next(iter(line.results["test"]))


def _words(metric: str) -> str:
    return metric.replace("_", " ")
