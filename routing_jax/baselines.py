"""The baselines of "Routing Networks" as changes of a configuration, for experiment files."""

from collections.abc import Mapping
from typing import Any


def _fixed(routes: str) -> dict[str, Any]:
    return {"router.policy": "fixed", "router.routes": routes}


BASELINES: dict[str, Mapping[str, Any]] = {
    "none": {},
    "task_specific_all_fc": _fixed("own"),
    "task_specific_1_fc": _fixed("own_last"),
    "cross_stitch": {"model.name": "cross_stitch"},
    "soft_mixture": {
        "model.name": "soft_mixture",
        # Equal weights of blocks that are alike would have no gradient.
        "model.block_noise": 1.0,
        "router.optimizer": "adam",
        "router.learning_rate": 0.1,
    },
    "random_routes": _fixed("random"),
}
"""Of the paper, and random routes that nothing learns; "none" is the routing network itself.

task_specific_1_fc is also the shared trunk with a last layer for each task.
"""


def wide_trunk(width: int) -> dict[str, Any]:
    """The shared trunk with as many parameters as the routed layers, which `width` brings about."""
    return _fixed("own_last") | {"model.width": width}


JOINT_CLASSIFIER: Mapping[str, Any] = {"model.name": "joint_classifier"}
"""One classifier of the classes of all tasks, for tasks without common images."""
