"""Takes the results of several seeds apart again, so that seeds can be added to them."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from routing_jax.errors import UserError
from routing_jax.reporting.results import PER_TASK, multiply_adds, over_seeds

_ENTRY_OF_SEED = ("curve", *PER_TASK)
"""What holds an entry for each seed, or is None, or is not told by an earlier version."""


def split_seeds(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The results of each seed by itself, as its own run wrote them.

    Args:
      results: the contents of a results.json, of one seed, which is given back as it is, or of
        several that `routing_jax.reporting.merge` has joined.

    Raises:
      UserError: an earlier version joined them, which did not keep what each seed reached.
    """
    if len(results["seeds"]) == 1:
        return [dict(results)]
    if not _tells_of_seeds(results):
        raise UserError(
            f"{results['command']}: these results are of seeds {results['seeds']}, joined by an "
            "earlier version; name the results of each seed, or the sweep.json of all."
        )
    return [_one_seed(results, place) for place in range(len(results["seeds"]))]


def _tells_of_seeds(results: Mapping[str, Any]) -> bool:
    metrics = results["test"].values()
    return all(name in results for name in ("per_seed", "commands")) and all(
        "per_seed_and_task" in values for values in metrics
    )


def _one_seed(results: Mapping[str, Any], place: int) -> dict[str, Any]:
    seed = results["seeds"][place]
    config = copy.deepcopy(results["config"])
    config["training"]["seed"] = seed
    apart = {name: value for name, value in results.items() if name not in ("per_seed", "commands")}
    apart |= {"seeds": [seed], "config": config, "command": results["commands"][place]}
    apart |= {name: values[place] for name, values in results["per_seed"].items()}
    apart |= {
        name: [results[name][place]] for name in _ENTRY_OF_SEED if results.get(name) is not None
    }
    apart["test"] = _metrics(results["test"], place)
    if results.get("new_tasks"):
        apart["new_tasks"] = results["new_tasks"] | {
            "test": _metrics(results["new_tasks"]["test"], place)
        }
    if results.get("selection"):
        chosen = {name: [results["selection"][name][place]] for name in ("step", "value")}
        apart["selection"] = results["selection"] | chosen
    if results.get("multiply_adds"):
        costs = results["multiply_adds"]
        apart["multiply_adds"] = multiply_adds(costs["of_block"], [costs["per_task"][place]])
    return apart


def _metrics(metrics: Mapping[str, Any], place: int) -> dict[str, Any]:
    return {
        name: over_seeds(np.array(values["per_seed_and_task"][place : place + 1]))
        for name, values in metrics.items()
    }
