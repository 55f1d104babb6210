"""Gumbel-Matrix routing on pairs of related regression tasks: does it share as far as it pays?

Purpose: in four pairs of tasks the two targets have a share of their variance in common
(`data.relatedness`); different pairs share nothing. At 0 sharing can only disturb, at 1 the tasks
of a pair are the same. Learned allocation should never be worse than the better of no sharing and
full sharing.

Paper: Maziarz et al., "Gumbel-Matrix Routing for Flexible Multi-task Learning", 2019, its study on
synthetic data. Sizes and the form of the targets are our own: see routing_jax/data/synthetic.py;
eight blocks of 64 units in each of two layers, a linear head for each task.

Command: python launch.py --config=experiments/gumbel_synthetic.py
    With another share in common, or a baseline (shared_bottom, no_sharing):
    python launch.py --config=experiments/gumbel_synthetic.py:relatedness=0,baseline=no_sharing
    With a budget of one of the eight blocks in each layer, as many as a task without sharing has:
    python launch.py --config=experiments/gumbel_synthetic.py:budget=0.125

Expected, with the budget: a mean squared error of 0.0116 ± 0.0002 at relatedness 0, 0.0348 ± 0.0020
    at 0.5 and 0.0096 ± 0.0002 at 1 (results/gumbel_synthetic_budget_0.json and others, five seeds),
    where no sharing has 0.0105, 0.0254 and 0.0095 and full sharing 0.0419, 0.0570 and 0.0270.
    Without a budget 0.0326, 0.0510 and 0.0212.

Minutes: 0.3 for a seed on one CPU core.
"""

import ml_collections

from routing_jax.config import base_config
from routing_jax.experiment import choose
from routing_jax.presets import ALL_ON, FIXED_SWITCHES, SWITCHES

_CHOICES = {
    "relatedness": {
        share: {"data.relatedness": float(share)} for share in ("0", "0.25", "0.5", "0.75", "1")
    },
    "baseline": {
        "none": {},
        "shared_bottom": ALL_ON,
        "no_sharing": FIXED_SWITCHES | {"router.routes": "own", "model.num_blocks": None},
    },
    "budget": {
        "1": {},
        "0.125": {
            "router.budget": 0.125,
            "router.budget_weight": 1.0,
            "router.learning_rate": 0.1,
        },
    },
}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "relatedness=0,baseline=no_sharing".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "gumbel_synthetic"
    config.data.name = "synthetic"
    config.data.tasks = "related_pairs"
    config.data.num_pairs = 4
    config.data.relatedness = 0.5
    config.data.share_images = True
    config.update_from_flattened_dict(SWITCHES)
    config.model.encoder = "flatten"
    config.model.num_blocks = 8
    config.model.depth = 2
    config.model.width = 64
    config.router.learning_rate = 0.01
    config.reward.final = "negative_loss"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "step"
    config.training.steps = 4000
    config.training.examples_per_task = 64
    config.training.eval_every = 500
    config.training.checkpoint_every = 1000
    choose(config, arg, _CHOICES)
    return config
