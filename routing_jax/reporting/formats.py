"""How numbers and names are written for a reader, the same on the terminal and in figures."""

import math
from typing import Any

PASS_ROUTE = -1
"""The entry of a routing map that stands for PASS (no block at this depth)."""


def percent(fraction: float | None) -> str:
    """`0.9931` as "99.3 %"; None (a number that was not finite when it was stored) as "nan %"."""
    return f"{100 * _number(fraction):.1f} %"


def figure(value: float | None) -> str:
    """A plain number to three significant digits: "0.0213", "1.5", "nan"."""
    return f"{_number(value):.3g}"


def higher_is_better(metric: str) -> bool:
    """Of accuracies, which are fractions; what else is measured are errors."""
    return metric.endswith("accuracy")


def curve_set(results: dict[str, Any]) -> str:
    """The set that the curves of a run are on, "test" or "validation".

    Their entries call its metrics test_accuracy and the like whatever it is.
    """
    return "validation" if results.get("selection") else results["dataset"]["evaluated_on"]


def scale(metric: str) -> tuple[float, str]:
    """What to multiply a metric by for an axis, and the unit it then has: percent or nothing."""
    return (100.0, "%, ") if higher_is_better(metric) else (1.0, "")


def with_error(metric: str, mean: float, error: float) -> str:
    """A mean with its standard error: "99.80 ± 0.01 %", "0.0213 ± 0.0004"."""
    if higher_is_better(metric):
        return f"{100 * mean:.2f} ± {100 * error:.2f} %"
    return f"{figure(mean)} ± {figure(error)}"


def measured(metric: str, value: float | None) -> str:
    """A value of a metric: a percentage where it is an accuracy, else a plain number."""
    return percent(value) if higher_is_better(metric) else figure(value)


def rate(per_second: float | None) -> str:
    """A rate without its unit: "12,345" from ten on, "3.2" below, "nan"."""
    value = _number(per_second)
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def short_rate(per_second: float) -> str:
    """A rate in few characters: "812", "12.3k", "1.2M", "nan"."""
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if scale <= per_second < math.inf:
            return f"{per_second / scale:.1f}{letter}"
    return f"{per_second:.0f}"


def clock(seconds: float) -> str:
    """Seconds as "1:05" or "2:01:05"; "nan" where they are not finite."""
    if not math.isfinite(seconds):
        return "nan"
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def duration(seconds: float | None) -> str:
    """Seconds with the unit that suits them: "3.21 ms", "4.2 s", "2 min 5 s", "nan s"."""
    value = _number(seconds)
    if value < 0.9995:
        return f"{1000 * value:.3g} ms"
    if value < 119.5 or not math.isfinite(value):
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def mebibytes(size: int | None) -> str:
    """Bytes as "812 MiB" or "2.31 GiB"; "unknown" for None."""
    if size is None:
        return "unknown"
    mib = size / 2**20
    return f"{mib:.0f} MiB" if mib < 1000 else f"{mib / 1024:.2f} GiB"


def joined(counts: tuple[int, ...] | list[int]) -> str:
    """Counts per depth as "7-6-7"."""
    return "-".join(str(count) for count in counts)


def route(actions: list[int]) -> str:
    """A task's row of the routing map as "3 → 7 → PASS"."""
    return " → ".join("PASS" if action == PASS_ROUTE else str(action) for action in actions)


def allocation(blocks_of_depth: list[list[int]]) -> str:
    """A task's blocks as "0,1,3 → 2 → none"."""
    return " → ".join(",".join(map(str, blocks)) or "none" for blocks in blocks_of_depth)


def allocation_sizes(blocks_of_depth: list[list[int]]) -> str:
    """How many blocks a task has at each depth, as "3-1-0"."""
    return joined([len(blocks) for blocks in blocks_of_depth])


def dataset_label(results: dict[str, Any]) -> str:
    """The data set's name as shown to readers, owning up to the embedded fallback.

    Args:
        results: the contents of results.json.
    """
    dataset = results["dataset"]
    return "embedded digits (MNIST not found)" if dataset["embedded_fallback"] else dataset["name"]


def heading(results: dict[str, Any]) -> str:
    """What every table and figure says first: "mnist_mtl on mnist, 10 tasks, 3 seeds"."""
    seeds = len(results["seeds"])
    counted = f"seed {results['seeds'][0]}" if seeds == 1 else f"{seeds} seeds"
    tasks, new = len(results["tasks"]), results.get("new_tasks")
    plural = "task" if tasks == 1 else "tasks"
    counted = f"{len(new['tasks'])} of them new, {counted}" if new else counted
    return f"{results['experiment']} on {dataset_label(results)}, {tasks} {plural}, {counted}"


def averaged(results: dict[str, Any]) -> str:
    """What curves, and metrics in a sweep, are of: the new tasks alone where some were added."""
    return "mean over the new tasks" if results.get("new_tasks") else "mean over tasks"


def _number(value: float | None) -> float:
    return math.nan if value is None else value
