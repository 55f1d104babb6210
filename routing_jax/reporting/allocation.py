"""Which blocks are on for which task, out of what a run wrote."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from routing_jax.reporting.routing_file import Routing


def blocks_on(results: dict[str, Any], routing: Routing) -> np.ndarray:
    """Which blocks are on, of the step that the run is judged by: bool [S, T, D, K].

    Args:
        results: the contents of results.json, of a network whose blocks are switched.
        routing: the contents of routing.npz, which tells how many blocks there are.
    """
    return patterns(results["allocation"], routing.probabilities.shape[-1])


def patterns(allocation: Sequence[Any], num_blocks: int) -> np.ndarray:
    """Which blocks are on: bool [S, T, D, K].

    Args:
        allocation: [seed][task][depth], the numbers of the blocks that are on.
        num_blocks: K.
    """
    on = np.zeros((len(allocation), len(allocation[0]), len(allocation[0][0]), num_blocks), bool)
    for seed, tasks in enumerate(allocation):
        for task, depths in enumerate(tasks):
            for depth, blocks in enumerate(depths):
                on[seed, task, depth, blocks] = True
    return on
