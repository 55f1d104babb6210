"""Joins the results of one experiment's seeds into one results file with error bars.

python -m routing_jax.reporting.merge results/mnist_mtl.json runs/seed*/results.json
python -m routing_jax.reporting.merge results/mnist_mtl.json runs/over_seeds/sweep.json
python -m routing_jax.reporting.merge results/cifar_sarsa.json runs/rules/sweep.json \\
    --where router.rule=sarsa
python -m routing_jax.reporting.merge results/mnist_mtl.json results/mnist_mtl.json \\
    runs/seed5/results.json  # adds a seed
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from routing_jax.config import flatten
from routing_jax.errors import UserError, told
from routing_jax.reporting.results import (
    PER_TASK,
    multiply_adds,
    over_seeds,
    read_results,
    write_results,
)
from routing_jax.reporting.split_seeds import split_seeds
from routing_jax.reporting.sweep_summary import SEED, read_sweep

_ALIKE = ("experiment", "dataset", "tasks", "parameters", "versions", "device", "git_commit")
"""What the results of one experiment's seeds must have in common, besides the configuration."""

_COSTS = ("examples_per_second", "peak_memory_bytes")


def merge(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One results dictionary of several seeds, from results of one seed or more each.

    Metrics get a mean and a standard error over seeds. Times, speed and peak memory are medians,
    with the values of all seeds below `per_seed`. `commands` lists how each seed was run.

    Args:
      parts: contents of results.json files; those that were merged before are taken apart.

    Raises:
      UserError: the parts differ in more than their seed, a seed comes twice, or an earlier
        version merged a part and did not keep what each seed reached.
    """
    parts = [seed for part in parts for seed in split_seeds(part)]
    first = parts[0]
    for part in parts[1:]:
        different = differences(first, part)
        if different:
            raise UserError(
                f"the results of seeds {first['seeds']} and {part['seeds']} differ in "
                f"{', '.join(different)}: only runs that differ in their seed can be merged."
            )
    seeds = [seed for part in parts for seed in part["seeds"]]
    if len(set(seeds)) < len(seeds):
        raise UserError(f"a seed comes twice among {seeds}: name each run once.")
    return first | {
        "seeds": seeds,
        "test": _joined_metrics(parts),
        "new_tasks": _joined_new_tasks(parts),
        "curve": [curve for part in parts for curve in part["curve"]],
        **{name: _joined_of_tasks(parts, name) for name in PER_TASK},
        "multiply_adds": _joined_costs(parts),
        "selection": _joined_selection(parts),
        "seconds": {
            # Earlier versions do not tell what they never did, such as waiting for images.
            name: median(part["seconds"].get(name, 0.0) for part in parts)
            for name in first["seconds"]
        },
        **{name: median(part[name] for part in parts) for name in _COSTS},
        "per_seed": {name: [part[name] for part in parts] for name in ("seconds", *_COSTS)},
        "commands": [part["command"] for part in parts],
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What keeps two results from being those of one experiment's seeds; nothing if they are."""
    different = [name for name in _ALIKE if one[name] != other[name]]
    return different if _without_seed(one) == _without_seed(other) else [*different, "config"]


def read_parts(path: Path, where: Sequence[str]) -> list[dict[str, Any]]:
    """The results that a file holds.

    Args:
      path: a results.json, or a sweep.json, of which cells that failed have none.
      where: swept values, such as "router.rule=sarsa", that cells of a sweep must have.

    Raises:
      UserError: there is no such file, or no such cell in it that finished.
    """
    if path.name != "sweep.json":
        return [read_results(path)]
    found = [
        cell["results"]
        for cell in read_sweep(path)
        if cell["results"] is not None
        and {f"{field}={value}" for field, value in cell["settings"].items()}.issuperset(where)
    ]
    if not found:
        wanted = f" with {', '.join(where)}" if where else ""
        raise UserError(f"{path} has no cell{wanted} that finished")
    return found


def _joined_of_tasks(parts: Sequence[dict[str, Any]], name: str) -> list[Any] | None:
    """What is told of the tasks of all seeds; None where some seed does not tell it."""
    if any(part.get(name) is None for part in parts):
        return None
    return [routes for part in parts for routes in part[name]]


def _joined_costs(parts: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What the routed layers of all seeds cost; None where it is not known."""
    found = [part.get("multiply_adds") for part in parts]
    if not all(found):
        return None
    return multiply_adds(
        found[0]["of_block"], [tasks for one in found for tasks in one["per_task"]]
    )


def _joined_selection(parts: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The best steps of all seeds; None where the last ones count."""
    found = [part.get("selection") for part in parts]
    if not all(found):
        return None
    joined = {name: [x for one in found for x in one[name]] for name in ("step", "value")}
    return found[0] | joined


def _joined_metrics(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: over_seeds(np.array([part["test"][name]["per_task"] for part in parts]))
        for name in parts[0]["test"]
    }


def _joined_new_tasks(parts: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What was measured on tasks that were added; None where none were."""
    found = [part.get("new_tasks") for part in parts]
    return found[0] | {"test": _joined_metrics(found)} if all(found) else None


def _without_seed(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flatten(part["config"]).items() if name != SEED}


@told
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="results file to write")
    parser.add_argument(
        "parts",
        type=Path,
        nargs="+",
        help="results.json, or sweep.json over seeds",
    )
    parser.add_argument(
        "--where", action="append", default=[], help="swept value that cells have, as field=value"
    )
    options = parser.parse_args(arguments)
    merged = merge([part for path in options.parts for part in read_parts(path, options.where)])
    write_results(options.output, merged)
    print(f"{options.output}: seeds {', '.join(map(str, merged['seeds']))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
