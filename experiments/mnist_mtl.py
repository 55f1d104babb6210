"""MNIST-MTL: a routing network with one agent per task learns ten one-vs-rest tasks.

Purpose: the main job. Each of the ten tasks tells one digit from the rest; its own tabular agent,
trained by WPL, picks a block for each of three routed layers.

Paper: Rosenbaum, Klinger, Riemer, "Routing Networks", ICLR 2018, MNIST-MTL.

Command: python launch.py --config=experiments/mnist_mtl.py
    With the digits embedded in scikit-learn, which need no download:
    python launch.py --config=experiments/mnist_mtl.py:digits
    A baseline (task_specific_all_fc, task_specific_1_fc, cross_stitch, soft_mixture,
    random_routes):
    python launch.py --config=experiments/mnist_mtl.py:baseline=cross_stitch

Expected: mean test accuracy 99.8 %, balanced 99.4 %; with the digits 99.8 % and 99.2 %
    (results/mnist_mtl.json and results/mnist_mtl_digits.json, five seeds each).

Minutes: 1.5 on two CPU cores (cross-stitch 3.4 for a seed), 0.4 with the digits.
"""

import ml_collections

from routing_jax.baselines import BASELINES
from routing_jax.config import base_config
from routing_jax.experiment import choose

_CHOICES = {"digits": {"": {"data.name": "digits"}}, "baseline": BASELINES}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "digits,baseline=cross_stitch".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "mnist_mtl"
    config.data.name = "mnist"
    config.data.tasks = "one_vs_rest"
    config.data.share_images = True
    config.model.block_noise = 0.1
    config.reward.rho = 0.3
    config.router.learning_rate = 0.1
    config.optimizer.learning_rate = 0.2
    config.training.steps = 2000
    config.training.examples_per_task = 64
    choose(config, arg, _CHOICES)
    return config
