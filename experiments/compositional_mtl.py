"""Compositional models: tasks that share a bank of residual blocks, each in an order of its own.

Purpose: can a network of depth 8 made of 2 blocks, which each task mixes in its own way at each
depth, do what 8 independent blocks do? Twenty tasks are the superclasses of CIFAR-100 (CIFAR-MTL);
four are digit sets: MNIST, MNIST turned by 90 degrees, USPS, scikit-learn's embedded digits.

Paper: Zhmoginov, Bashkirova, Sandler, "Compositional Models: Multi-Task Learning and Knowledge
Transfer with Modular Networks", 2021. Block, end and sizes of size=paper are those of a co-author's
code; none of the paper's numbers is known to us, so baselines of our own stand beside it.

Command: python launch.py --config=experiments/compositional_mtl.py
    Digits:
    python launch.py --config=experiments/compositional_mtl.py:data=digits
    A baseline (independent_blocks: a block for each depth, which all tasks share, four times the
    parameters; shared_trunk: one mixture for all tasks; own_blocks: blocks of its own for each task
    and depth, with running averages of their own):
    python launch.py --config=experiments/compositional_mtl.py:baseline=independent_blocks
    Another way to apply the bank (mix_outputs, select), or towards a pure order while it trains:
    python launch.py --config=experiments/compositional_mtl.py:apply=select
    python launch.py --config=experiments/compositional_mtl.py:order=pure
    The size of the paper, for an accelerator:
    python launch.py --config=experiments/compositional_mtl.py:size=paper

Expected, one seed: 58.7 % after 10 epochs (results/compositional_mtl_mixed.json), where
    independent_blocks has 62.6 % (results/compositional_mtl_independent_blocks.json), and 64.5 %
    with --config.optimizer.learning_rate=0.006, the best of two rates for it
    (results/compositional_mtl_independent_blocks_tuned.json). Aimed at was within 1 point of it, or
    above. With --config.router.mixing_start=alike 59.5 %
    (results/compositional_mtl_alike.json). Digits, one seed: 97.3 %, independent_blocks 98.1,
    shared_trunk 97.5, own_blocks 98.3, apply=select 96.8, order=pure 96.3
    (results/compositional_digits_*.json).

Minutes: 20 for a seed on one of two CPU cores.
"""

import ml_collections

from routing_jax.config import base_config
from routing_jax.experiment import choose
from routing_jax.presets import COMPOSITIONAL, GIVEN_BLOCKS

_DATA = {
    "cifar": {},
    "digits": {
        "data.name": "digit_domains",
        "data.image_size": 16,
        "data.augment": "none",
        "training.epochs": None,
        "training.steps": 2000,
    },
}
_BASELINES = {
    "none": {},
    "independent_blocks": GIVEN_BLOCKS | {"router.routes": "shared"},
    "shared_trunk": {"router.agent": "single"},
    "own_blocks": GIVEN_BLOCKS | {"router.routes": "own", "model.statistics": "per_depth_and_task"},
}
_APPLICATIONS = {
    name: {"dispatch.apply": name} for name in ("mix_parameters", "mix_outputs", "select")
}
_ORDERS = {
    "mixed": {},
    "pure": {
        "router.temperature": 1.0,
        "router.temperature_end": 0.05,
        "router.exploration_schedule": "geometric",
    },
}
_SIZES = {
    "cpu": {},
    "paper": {
        "model.resolution": 16,
        "model.width": 40,
        "model.depth": 16,
        "model.num_blocks": 4,
        "training.examples_per_task": 32,
    },
}
_CHOICES = {
    "data": _DATA,
    "size": _SIZES,
    "baseline": _BASELINES,
    "apply": _APPLICATIONS,
    "order": _ORDERS,
}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "data=digits,baseline=shared_trunk".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "compositional_mtl"
    config.data.name = "cifar100"
    config.data.tasks = "superclass"
    config.update_from_flattened_dict(COMPOSITIONAL)
    config.training.examples_per_task = 16
    config.training.eval_every = 250
    config.training.checkpoint_every = 500
    choose(config, arg, _CHOICES)
    return config
