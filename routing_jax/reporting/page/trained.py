"""What a page shows of one trained network: its results, checked, and where its routing lies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from routing_jax.errors import UserError
from routing_jax.reporting.results import SecondsRecord

_KINDS = {
    "experiment": str,
    "dataset": dict,
    "tasks": list,
    "seeds": list,
    "test": dict,
    "curve": list,
    "seconds": dict,
    "parameters": int,
    "config": dict,
    "command": str,
    "versions": dict,
    "device": str,
}
"""What every results file has; other entries may be missing."""
_OPTIONAL = {
    "git_commit": None,
    "routing_map": None,
    "allocation": None,
    "mixing_weights": None,
    "multiply_adds": None,
    "selection": None,
    "new_tasks": None,
    "peak_memory_bytes": None,
    "examples_per_second": None,
}
_NUMBERS = ("test", "curve", "seconds", "peak_memory_bytes", "examples_per_second")
_OF_DATASET = ("name", "embedded_fallback", "evaluated_on")
_OF_SECONDS = tuple(field.name for field in fields(SecondsRecord))
_OF_ENTRY = ("step", "epoch", "train_loss")


@dataclass(frozen=True)
class Source:
    """Where the routing probabilities of one seed lie: a routing.npz, and the row in it."""

    path: Path
    row: int


@dataclass(frozen=True)
class Trained:
    """A run, or a cell of a sweep.

    Attributes:
        name: for a reader.
        results: contents of its results.json, checked; numbers that were not finite are NaN.
        sources: one for each of its seeds.
    """

    name: str
    results: dict[str, Any]
    sources: tuple[Source, ...]


def checked(results: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Results of which everything that a page needs is there, in the shape it needs.

    Args:
        results: contents of a results.json, or of a cell of a sweep.json.
        path: of the file, for messages.

    Raises:
        UserError: something is missing or has another shape.
    """
    entries = _OPTIONAL | dict(results)
    entries |= {name: _not_finite(entries[name]) for name in _NUMBERS if name in entries}
    if entries["new_tasks"]:
        entries["new_tasks"] = _not_finite(entries["new_tasks"])
    try:
        wrong = _first_wrong(entries)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        wrong = f"an entry that cannot be read ({error!r})"
    if wrong:
        raise UserError(
            f"{path} is not the results of a run of this program version: it has {wrong}"
        )
    return entries


def _first_wrong(results: Mapping[str, Any]) -> str | None:
    for name, kind in _KINDS.items():
        if name not in results:
            return f"no {name!r}"
        if not isinstance(results[name], kind):
            return f"{type(results[name]).__name__} as {name!r}"
    missing = [name for name in _OF_DATASET if name not in results["dataset"]]
    missing += [name for name in _OF_SECONDS if name not in results["seconds"]]
    if missing:
        return f"no {missing[0]!r}"
    return _wrong_metric(results) or _wrong_curve(results)


def _wrong_metric(results: Mapping[str, Any]) -> str | None:
    tasks, seeds = len(results["tasks"]), len(results["seeds"])
    if not (tasks and seeds and results["test"]):
        return "no tasks, seeds or metrics"
    for name, metric in results["test"].items():
        if len(metric["per_task"]) != tasks or not isinstance(metric["mean"], float):
            return f"not a number for each of its {tasks} tasks in {name!r}"
    return None


def _wrong_curve(results: Mapping[str, Any]) -> str | None:
    if len(results["curve"]) != len(results["seeds"]) or not all(results["curve"]):
        return "no curve for each of its seeds"
    needed = (*_OF_ENTRY, *(f"test_{name}" for name in results["test"]))
    entries = [entry for curve in results["curve"] for entry in curve]
    missing = [name for name in needed if any(name not in entry for entry in entries)]
    return f"no {missing[0]!r} in its curve" if missing else None


def _not_finite(value: Any) -> Any:
    """The same with NaN for null, but for an error over seeds, which one seed does not have."""
    if isinstance(value, dict):
        return {
            name: item if name == "stderr" else _not_finite(item) for name, item in value.items()
        }
    if isinstance(value, list):
        return [_not_finite(item) for item in value]
    return math.nan if value is None else value
