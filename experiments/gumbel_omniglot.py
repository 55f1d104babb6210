"""Gumbel-Matrix routing on Omniglot: twenty alphabets, eight layers of seven unlike components.

Purpose: which components serve which alphabet? Each task tells the characters of one alphabet apart
(20 to 48 of them, ten drawings each to learn from). All of the 56 components start out on for all
tasks, nearly; each task learns which to keep.

Paper: Maziarz et al., "Gumbel-Matrix Routing for Flexible Multi-task Learning", 2019, section 5.2
of its second version; architecture and settings of the authors' code. 6.48 % mean test error
against 7.81 % of Ramachandran and Le (2019), who route each example (both quoted by leaderboards).
Of the twenty drawings of a character 10 are for training, 4 for validation and 6 for testing; the
test is at the step with the best validation accuracy. A step learns from all tasks; for one task
after the other as in the paper, with 8,000 updates of each:
    --config.training.round_robin --config.training.steps=160000 --config.training.eval_every=5000
    --config.training.checkpoint_every=5000

Command: python launch.py --config=experiments/gumbel_omniglot.py
    A size for two CPU cores (the first ten alphabets at 28x28, 16 channels, 500 steps):
    python launch.py --config=experiments/gumbel_omniglot.py:size=small
    A baseline (shared_bottom, shared_bottom_sum, no_sharing, routing_per_task,
    routing_per_example):
    python launch.py --config=experiments/gumbel_omniglot.py:size=small,baseline=shared_bottom

Expected: size=small, three seeds, 500 steps (results/gumbel_omniglot_small_*.json): 58.9 ± 1.0 %
    test accuracy; shared bottom 60.4 ± 1.3 % (mean), 59.6 ± 0.5 % (sum), no sharing 26.5 ± 1.1 %,
    a routing network per task 25.9 ± 1.7 % (with --config.reward.final=correctness 3.5 %, hardly
    above chance), one that sees each example 21.5 ± 6.3 %. The size of the paper is not measured
    yet.

Minutes: size=small 13 to 16 for each seed on a CPU, 3 without sharing or with a route per task (11
    where right answers reward it), 11 with one per example.
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

_SEVEN = "conv3_twice conv5_twice conv7_twice conv1x7_7x1 max_pool mean_pool identity"
_SMALL = {
    "data.image_size": 28,
    "data.num_tasks": 10,
    "model.width": 16,
    # The last map is 4x4 as at full size: 28, 14, 7, 7, 4.
    "model.strides": "2-2-1-2-1-1-1-1",
    # A sixteenth of a task's updates, and a 320th of those of what tasks share: larger steps.
    "optimizer.learning_rate": 1e-3,
    "router.learning_rate": 2e-2,
    "training.steps": 500,
    "training.eval_every": 50,
    "training.checkpoint_every": 100,
}
_BASELINES = {
    "none": {},
    "shared_bottom": ALL_ON,
    "shared_bottom_sum": ALL_ON | {"router.merge": "sum"},
    # A trunk for each task, of the component of two 3x3 convolutions in every layer.
    "no_sharing": WPL_INSTEAD | FIXED_SWITCHES | {"model.components": "20xconv3_twice"},
    "routing_per_task": PER_TASK_INSTEAD,
    "routing_per_example": EACH_EXAMPLE_INSTEAD,
}
_CHOICES = {"size": {"paper": {}, "small": _SMALL}, "baseline": _BASELINES}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "size=small,baseline=no_sharing".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "gumbel_omniglot"
    config.data.name = "omniglot"
    config.data.tasks = "alphabet"
    config.data.num_tasks = 20
    config.data.validation_fraction = 2 / 7
    config.data.validation_use = "best_step"
    config.update_from_flattened_dict(GUMBEL_MATRIX)
    config.model.encoder = "pointwise"
    config.model.block = "components"
    config.model.components = _SEVEN
    config.model.strides = "2-2-1-2-2-1-2-1"
    config.model.depth = 8
    config.model.width = 48
    config.router.learning_rate = 2e-3
    config.router.start_probability = 0.97
    config.optimizer.learning_rate = 1e-4
    config.optimizer.l2 = 3e-4
    config.training.steps = 8000
    config.training.eval_every = 250
    config.training.checkpoint_every = 250
    choose(config, arg, _CHOICES)
    return config
