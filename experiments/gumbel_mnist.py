"""Gumbel-Matrix routing on MNIST and MNIST turned by 90 degrees, each twice.

Purpose: does learned allocation find which tasks are the same? Four tasks: MNIST, a copy of it,
MNIST turned by 90 degrees, a copy of that. Three routed layers of four small convolutions; each
task learns which of them are on for it.

Paper: Maziarz et al., "Gumbel-Matrix Routing for Flexible Multi-task Learning", 2019, section 5.1;
architecture and settings of the authors' code. A step learns from all four tasks, where theirs
takes the tasks one after the other.

Command: python launch.py --config=experiments/gumbel_mnist.py
    With a budget of three quarters of the blocks:
    python launch.py --config=experiments/gumbel_mnist.py:budget=0.75
    With a budget of a quarter:
    python launch.py --config=experiments/gumbel_mnist.py:budget=0.25
    A baseline (shared_bottom, shared_bottom_sum, no_sharing; routing_network: a route drawn for
    each example from its task's table; routing_per_task: one route a step for a task;
    routing_per_example: a network that sees the example):
    python launch.py --config=experiments/gumbel_mnist.py:baseline=no_sharing

Expected: 95.59 ± 0.19 % mean test accuracy without a budget (results/gumbel_mnist_learned.json,
    five seeds), with nearly all blocks on for all tasks: what the mean of a shared bottom reaches,
    0.4 points less than its sum, and 1.8 points more than a routing network. With a budget of
    three quarters 95.58 ± 0.06 % with 9.2 of 12 blocks on, of a quarter 94.93 ± 0.12 % with 4.9.
    All rows stand in BUILD_NOTES.md.

Minutes: 1 to 4 a seed on one CPU core.
"""

import ml_collections

from routing_jax.config import base_config
from routing_jax.experiment import choose
from routing_jax.presets import (
    ALL_ON,
    EACH_EXAMPLE_INSTEAD,
    FIXED_SWITCHES,
    GUMBEL_MATRIX,
    PER_TASK_INSTEAD,
    WPL_INSTEAD,
)

_BASELINES = {
    "none": {},
    "shared_bottom": ALL_ON,
    "shared_bottom_sum": ALL_ON | {"router.merge": "sum"},
    "no_sharing": FIXED_SWITCHES | {"router.routes": "own", "model.num_blocks": None},
    "routing_network": WPL_INSTEAD,
    "routing_per_task": PER_TASK_INSTEAD,
    "routing_per_example": EACH_EXAMPLE_INSTEAD,
}
# Where blocks cost, a task can save all of a depth, and then learns nothing any more.
_COSTLY = {"router.budget_weight": 1.0, "router.empty_weight": 1.0}
_BUDGETS = {
    "1": {},
    "0.75": {"router.budget": 0.75} | _COSTLY,
    "0.25": {"router.budget": 0.25} | _COSTLY,
}
_CHOICES = {"baseline": _BASELINES, "budget": _BUDGETS}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "baseline=no_sharing".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "gumbel_mnist"
    config.data.name = "mnist"
    config.data.tasks = "rotated_copies"
    config.data.fallback = "none"
    config.update_from_flattened_dict(GUMBEL_MATRIX)
    config.model.encoder = "pixels"
    config.model.block = "valid_conv"
    config.model.num_blocks = 4
    config.model.depth = 3
    config.model.width = 4
    config.router.learning_rate = 5e-3
    config.optimizer.learning_rate = 5e-3
    config.training.steps = None
    config.training.epochs = 2
    config.training.eval_every = 750
    config.training.checkpoint_every = 1500
    choose(config, arg, _CHOICES)
    return config
