"""Which blocks are on for which task, out of what a run wrote."""

from typing import Any

import numpy as np

from routing_jax.reporting.routing_file import Routing


def blocks_on(results: dict[str, Any], routing: Routing) -> np.ndarray:
    """Which blocks are on, of the step that the run is judged by: bool [S, T, D, K].

    Args:
        results: the contents of results.json, of a network whose blocks are switched.
        routing: the contents of routing.npz, which tells how many blocks there are.
    """
    seeds, _, *shape = routing.probabilities.shape
    on = np.zeros((seeds, *shape), bool)
    for seed, tasks in enumerate(results["allocation"]):
        for task, depths in enumerate(tasks):
            for depth, blocks in enumerate(depths):
                on[seed, task, depth, blocks] = True
    return on
