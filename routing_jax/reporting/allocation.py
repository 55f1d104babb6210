"""Which blocks are on for which task, out of what a run wrote."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


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


def taken_of_blocks(results: Mapping[str, Any]) -> np.ndarray | None:
    """What tasks take of blocks, [S, T, D, K]: mixing weights, or which are on.

    Of the latter as far as the last block that is on for any task; None where there is neither.

    Args:
        results: the contents of results.json.
    """
    if results.get("mixing_weights") is not None:
        return np.asarray(results["mixing_weights"])
    allocation = results.get("allocation")
    if allocation is None:
        return None
    used = [k for tasks in allocation for depths in tasks for on in depths for k in on]
    return patterns(allocation, max(used, default=0) + 1)
