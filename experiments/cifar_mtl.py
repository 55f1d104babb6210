"""CIFAR-MTL: a routing network learns the twenty superclasses of CIFAR-100 as twenty tasks.

Purpose: tasks over unlike images, where sharing everything and sharing nothing both cost accuracy.
Each task tells the five classes of one superclass apart; its own tabular agent, trained by WPL,
picks a block for each of three routed layers.

Paper: Rosenbaum, Klinger, Riemer, "Routing Networks", ICLR 2018, CIFAR-MTL.

Command: python launch.py --config=experiments/cifar_mtl.py

Expected: not measured yet.

Minutes: not measured yet.
"""

import ml_collections

from routing_jax.config import base_config


def get_config() -> ml_collections.ConfigDict:
    """The configuration."""
    config = base_config()
    config.experiment = "cifar_mtl"
    config.data.name = "cifar100"
    config.data.tasks = "superclass"
    config.model.block_noise = 0.1
    config.router.learning_rate = 0.1
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.02
    config.optimizer.momentum = 0.9
    config.optimizer.schedule = "step"
    config.training.steps = None
    config.training.epochs = 20
    config.training.examples_per_task = 16
    return config
