"""Adding tasks to a trained network: what has to be as it was, and what new tasks start with.

The network is that of the old tasks and the new ones; a new task learns its head, and its row of
what decides between blocks. Nothing that an old task's answer depends on moves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from routing_jax.config import flatten
from routing_jax.data.task_set import TaskSet
from routing_jax.errors import UserError

_DECIDING = (
    *("model.", "dispatch.", "router.agent", "router.num_agents", "router.policy"),
    *("router.routes", "router.networks", "router.rule", "router.pass_action", "router.merge"),
)
"""How the names of the fields begin that the answers of a trained network depend on."""
_OF_TRAINING = ("model.dropout", "model.block_noise", "model.num_blocks")
"""Those among them that do not; how many blocks there are, the arrays tell."""


def require_same_tasks(named: str, dataset: str, old: Sequence[str], tasks: TaskSet) -> None:
    """Checks that the first tasks are those that a network was trained on.

    Args:
      named: how the user named the network.
      dataset: that it was trained on.
      old: names of its tasks.
      tasks: the old tasks and the new ones, as they are found now.

    Raises:
      UserError: they are others.
    """
    found = tasks.task_names[: tasks.num_old]
    if tuple(old) != found or not f"{tasks.name} + ".startswith(f"{dataset} + "):
        raise UserError(
            f"{named} has other tasks than those that data.old_tasks names: {_told(old)} of "
            f"{dataset} there, {_told(found)} of {tasks.name} found now. Name the directory of its "
            "data with data.dir, or the run whose tasks they are with training.init_from."
        )


def require_same_answers(named: str, there: ConfigDict, now: ConfigDict) -> None:
    """Checks that nothing is set anew that would change what the old tasks are answered.

    Args:
      named: how the user named the network.
      there: its configuration.
      now: that of the run that adds tasks.

    Raises:
      UserError: something is.
    """
    found = differing(there, now, _DECIDING)
    changing = [told for told in found if not told.startswith(_OF_TRAINING)]
    if changing:
        raise UserError(
            f"{named} keeps its answers for the old tasks, and these fields would change them: "
            f"{', '.join(changing)}. Set them as they are there."
        )


def differing(there: ConfigDict, now: ConfigDict, beginnings: tuple[str, ...]) -> list[str]:
    """The fields whose names begin like that and whose values differ, with both values."""
    before, after = flatten(there), flatten(now)
    return [
        f"{name} ({before[name]!r} there, {after[name]!r} here)"
        for name in after
        if name.startswith(beginnings) and before[name] != after[name]
    ]


def with_new_averages(
    arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Trained arrays, with running averages for new tasks where each task has its own.

    A new task takes the mean of the old ones', as nothing moves them.

    Args:
      arrays: parameters and running averages of the old tasks, by path.
      wanted: what has their shapes for all tasks.
    """
    return {
        name: _with_means(array, wanted[name].shape) if name.startswith("batch_stats.") else array
        for name, array in arrays.items()
    }


def _with_means(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array with means behind it along the axis that is shorter than in `shape`, if one is."""
    for axis, (size, wanted) in enumerate(zip(array.shape, shape, strict=True)):
        if size < wanted:
            mean = array.mean(axis, keepdims=True, dtype=np.float32)
            return np.concatenate([array, np.repeat(mean, wanted - size, axis)], axis)
    return array


def _told(names: Sequence[str]) -> str:
    listed = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{len(names)} ({listed})"
