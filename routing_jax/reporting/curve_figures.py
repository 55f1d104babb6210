"""Figures over training steps: learning curves and policy entropy, several seeds as a band."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from routing_jax.reporting.figure_style import line_look, new_figure, save, tidy
from routing_jax.reporting.formats import averaged, curve_set, measured, scale
from routing_jax.reporting.looks import FEW_POINTS, LOSSES, spans_a_decade
from routing_jax.reporting.routing_file import Routing


def draw_learning_curves(results: dict[str, Any], figures_dir: Path) -> Path:
    """Draws training loss on the left, test metrics on the right; returns the PNG's path."""
    figure = new_figure(results, about="Learning curves", width=9.5, height=4.2)
    loss_axes, metric_axes = figure.subplots(1, 2)
    loss = _of_seeds(results, "train_loss")
    _draw_line(loss_axes, results, loss, label="training loss", index=0)
    if spans_a_decade(loss):
        _scale_by_logarithm(loss_axes)
    first = next(iter(results["test"]))
    loss_axes.set_ylabel(LOSSES.get(first, f"{first} (mean over tasks)"))
    _draw_metrics(metric_axes, results)
    loss_axes.legend(fontsize=8)
    for axes in (loss_axes, metric_axes):
        _finish(axes, results)
    _explain_band(figure, results)
    return save(figure, figures_dir / "learning_curves.png")


def draw_policy_entropy(results: dict[str, Any], routing: Routing, figures_dir: Path) -> Path:
    """Draws a line of policy entropy for each depth; returns the PNG's path."""
    figure = new_figure(results, about="Policy entropy over training", width=8.5, height=4.4)
    axes = figure.subplots()
    entropy = _of_seeds(results, "policy_entropy_per_depth")
    for i in range(entropy.shape[-1]):
        _draw_line(axes, results, entropy[..., i], label=f"depth {i + 1}", index=i)
    actions = routing.probabilities.shape[-1]
    if results.get("allocation") is None:
        highest, formula = math.log(actions), f"log {actions}"
    else:  # each block is on or off for itself
        highest, formula = actions * math.log(2), f"{actions} log 2"
    label = f"highest possible:\n{formula} = {highest:.2f} nats"
    axes.axhline(highest, color="0.3", linestyle=":", label=label)
    axes.set_ylim(-0.03 * max(highest, 0.1), 1.05 * max(highest, 0.1))
    axes.set_ylabel("policy entropy (nats, mean over tasks)")
    _finish(axes, results)
    figure.legend(loc="outside right center", fontsize=8)
    _explain_band(figure, results)
    return save(figure, figures_dir / "policy_entropy.png")


def _draw_metrics(axes: Axes, results: dict[str, Any]) -> None:
    """The test metrics; all are accuracies or none is."""
    names = list(results["test"])
    factor, unit = scale(names[0])
    for i, name in enumerate(names):
        values = _of_seeds(results, f"test_{name}")
        label = (
            f"{name.replace('_', ' ')}, {measured(name, float(values[:, -1].mean()))} at the end"
        )
        _draw_line(axes, results, factor * values, label=label, index=i)
    for number, step in enumerate((results.get("selection") or {}).get("step", ())):
        label = "" if number else "judged at the best step"
        axes.axvline(step, color="0.6", linestyle=":", linewidth=1, label=label)
    axes.set_ylabel(f"{curve_set(results)} {names[0]} ({unit}{averaged(results)})")
    axes.legend(fontsize=8)


def _of_seeds(results: dict[str, Any], name: str) -> np.ndarray:
    """One entry of the curves, [S, i] or [S, i, D]; NaN (a gap) for all that is not finite."""
    values = np.array([[entry[name] for entry in curve] for curve in results["curve"]], dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def _steps(results: dict[str, Any]) -> np.ndarray:
    return np.array([entry["step"] for entry in results["curve"][0]])


def _draw_line(
    axes: Axes, results: dict[str, Any], values: np.ndarray, *, label: str, index: int
) -> None:
    """The mean over seeds, [S, i] to a line, and a band from the lowest to the highest."""
    steps, look = _steps(results), line_look(index)
    marker = "o" if len(steps) <= FEW_POINTS else ""
    axes.plot(steps, values.mean(axis=0), label=label, marker=marker, markersize=3.5, **look)
    if len(values) > 1:
        band = {"color": look["color"], "alpha": 0.2, "linewidth": 0}
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), **band)


def _scale_by_logarithm(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_minor_formatter("{x:g}")


def _finish(axes: Axes, results: dict[str, Any]) -> None:
    """Step below, epoch above, grid."""
    tidy(axes)
    last = results["curve"][0][-1]
    end = max(last["step"], 1)
    axes.set_xlim(-0.02 * end, 1.03 * end)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("training step")
    if last["step"] and last["epoch"]:
        each = last["epoch"] / last["step"]
        top = axes.secondary_xaxis("top", functions=(lambda x: x * each, lambda x: x / each))
        top.set_xlabel("epoch")


def _explain_band(figure: Figure, results: dict[str, Any]) -> None:
    seeds = len(results["seeds"])
    if seeds > 1:
        figure.supxlabel(f"line: mean of {seeds} seeds; band: lowest to highest", fontsize=8)
