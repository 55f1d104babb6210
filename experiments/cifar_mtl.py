"""CIFAR-MTL: a routing network learns the twenty superclasses of CIFAR-100 as twenty tasks.

Purpose: tasks over unlike images, where sharing everything and sharing nothing both cost accuracy.
Each task tells the five classes of one superclass apart; its own tabular agent, trained by WPL,
picks a block for each of three routed layers.

Paper: Rosenbaum, Klinger, Riemer, "Routing Networks", ICLR 2018, CIFAR-MTL.

Command: python launch.py --config=experiments/cifar_mtl.py
    Routed convolutions in place of routed fully connected layers:
    python launch.py --config=experiments/cifar_mtl.py:route=conv
    A baseline (task_specific_all_fc, task_specific_1_fc, cross_stitch, soft_mixture,
    random_routes; clustered_routes: superclasses of alike meaning share blocks; wide_trunk: one
    trunk of as many parameters; joint_classifier: one classifier of all 100 classes):
    python launch.py --config=experiments/cifar_mtl.py:baseline=cross_stitch
    As in the paper as far as it is known, by plain SGD at one rate, from blocks that start
    independent: python launch.py --config=experiments/cifar_mtl.py:setting=paper
    With crops and flips: python launch.py --config=experiments/cifar_mtl.py:augment

Expected: 69.35 ± 0.09 % test accuracy after 20 epochs (results/cifar_mtl_routed.json, five seeds);
    baselines stand in BUILD_NOTES.md. Fixed random routes get 68.97 ± 0.27 %, layers of each task's
    own 69.00 ± 0.36 %, one classifier of all classes 69.34 ± 0.14 % and a shared trunk 66.95 ±
    0.19 % (three seeds each). setting=paper, one seed: 61.8 %, cross-stitch 60.8 %, layers of each
    task's own 62.3 %.

Minutes: 11 to 14 (the results files) on one or two CPU cores; an epoch takes 0.4 on two idle ones
    (results/cifar_mtl_one_epoch.json).
"""

import ml_collections

from routing_jax.baselines import BASELINES, JOINT_CLASSIFIER, wide_trunk
from routing_jax.config import base_config
from routing_jax.data.cifar_groups import clustered_routes
from routing_jax.experiment import choose
from routing_jax.presets import ROUTING_NETWORK

_RATES = {
    "none": 0.2,
    "task_specific_all_fc": 0.1,
    "task_specific_1_fc": 0.1,
    "cross_stitch": 0.2,
    "soft_mixture": 0.2,
    "random_routes": 0.2,
    "clustered_routes": 0.1,
    "wide_trunk": 0.1,
    "joint_classifier": 0.05,
}
"""By method, chosen on held-out images: results/cifar_mtl_tuning.json."""
_ROUTES = {
    "fc": {},
    "conv": {
        "model.encoder": "stem",
        "model.block": "conv",
        "model.depth": 4,
        "model.width": 32,
        # The other rates were tuned for routed fully connected layers.
        "optimizer.learning_rate": 0.02,
        "optimizer.l2": 0.0,
    },
}
# The paper's rate is 0.01 for steps of few examples (the authors' code takes ten), and stays for
# the first twenty epochs; here a step has 320.
_SETTINGS = {
    "tuned": {},
    "paper": {
        "optimizer.momentum": 0.0,
        "optimizer.learning_rate": 0.32,
        "optimizer.l2": 0.0,
        "optimizer.schedule": "constant",
        "model.block_noise": 1.0,
    },
}
_METHODS = BASELINES | {
    "clustered_routes": {"router.policy": "fixed", "router.routes": clustered_routes()},
    "wide_trunk": wide_trunk(714),
    "joint_classifier": JOINT_CLASSIFIER,
}
_BASELINES = {
    name: {"optimizer.learning_rate": _RATES[name], "optimizer.l2": 5e-4} | method
    for name, method in _METHODS.items()
}
_CHOICES = {
    "baseline": _BASELINES,
    "route": _ROUTES,
    "setting": _SETTINGS,
    "augment": {"": {"data.augment": "crop_flip"}},
}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "route=conv,baseline=cross_stitch".

    Raises:
        ValueError: There is no such choice, or two do not go together.
    """
    config = base_config()
    config.experiment = "cifar_mtl"
    config.data.name = "cifar100"
    config.data.tasks = "superclass"
    config.update_from_flattened_dict(ROUTING_NETWORK | _BASELINES["none"])
    choose(config, arg, _CHOICES)
    if {"baseline=wide_trunk", "route=conv"} <= set(arg.split(",")):
        raise ValueError(
            "baseline=wide_trunk has the parameters of routed fully connected layers: leave "
            "route=conv out."
        )
    return config
