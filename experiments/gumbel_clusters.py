"""Gumbel-Matrix routing on three clusters of tasks: objects, digits, garments.

Purpose: does learned allocation tell clusters of tasks apart without being told of them? Twenty
tasks over the superclasses of CIFAR-100 (five classes each), ten over MNIST and ten over
Fashion-MNIST that leave out one class each (nine classes). Three layers of sixteen small
convolutions; at most half of them are free of charge. The figure of similarities should show blocks
of tasks that share. Where Fashion-MNIST is not prepared, the run says so and trains on 30 tasks.

Paper: Maziarz et al., "Gumbel-Matrix Routing for Flexible Multi-task Learning", 2019, section 5.3
of its second version; architecture and settings of the authors' code. Tasks take turns: a step
learns from one of them, so that what they share moves with each update of each. The paper takes
20,000 updates of each task; here it is 1,000 of each of thirty.

Command: python launch.py --config=experiments/gumbel_clusters.py
    With as many updates as the paper: ...:length=paper
    A baseline (shared_bottom, shared_bottom_sum, no_sharing, routing_per_task,
    routing_per_example):
    python launch.py --config=experiments/gumbel_clusters.py:baseline=shared_bottom

Expected without Fashion-MNIST, one seed (results/gumbel_clusters_*.json): 65.5 % mean test accuracy
    with 23.5 of 48 blocks on; tasks of one cluster resemble each other (cosine 0.62) more than
    tasks of two (0.47). A shared bottom gets 66.4 % (mean) or 66.5 % (sum), no
    sharing 62.2 %, a routing network with a route per task 53.7 %, one that sees each example
    62.1 %.

Minutes: 26 on one CPU core; the shared bottom 33 (its sum 47), no sharing and a route per
    task 15, a router that sees each example 21.
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

_FREE = {"router.budget": 1.0, "router.budget_weight": 0.0}
_ALL = _FREE | ALL_ON
_CHOICES = {
    "length": {
        "cpu": {},
        # Of all forty tasks 20,000 updates each.
        "paper": {"training.steps": 800_000, "training.eval_every": 20_000},
    },
    "baseline": {
        "none": {},
        "shared_bottom": _ALL,
        "shared_bottom_sum": _ALL | {"router.merge": "sum"},
        # A trunk for each task, of one 3x3 convolution in every layer.
        "no_sharing": _FREE | WPL_INSTEAD | FIXED_SWITCHES | {"model.components": "40xconv3"},
        "routing_per_task": _FREE | PER_TASK_INSTEAD,
        "routing_per_example": _FREE | EACH_EXAMPLE_INSTEAD,
    },
}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "baseline=shared_bottom".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "gumbel_clusters"
    config.data.name = "clusters"
    config.data.tasks = "clusters"
    config.data.augment = "crop"
    config.update_from_flattened_dict(GUMBEL_MATRIX)
    config.model.encoder = "pointwise"
    config.model.block = "components"
    config.model.components = "8xconv3 8xconv5"
    config.model.strides = "2-2-2"
    config.model.depth = 3
    config.model.width = 8
    config.router.learning_rate = 6e-3
    config.router.budget = 0.5
    config.router.budget_weight = 1.0
    config.optimizer.learning_rate = 3e-4
    config.training.round_robin = True
    config.training.steps = 30_000
    config.training.examples_per_task = 32
    config.training.eval_every = 5000
    config.training.checkpoint_every = 5000
    choose(config, arg, _CHOICES)
    return config
