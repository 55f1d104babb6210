"""Synthetic regression: a routing network learns pairs of related tasks from negative losses.

Purpose: the task set of the project that is learned from the loss itself. Each of four pairs has
two targets, sums of sines of random directions of a normal vector, which have a share of their
variance in common (`data.relatedness`); different pairs share no function.

Paper: after the synthetic data of Ma et al., "Modeling Task Relationships in Multi-task Learning
with Multi-gate Mixture-of-Experts", KDD 2018, and of Maziarz et al., "Gumbel-Matrix Routing for
Flexible Multi-task Learning", 2019. Sizes and the form of the targets are our own; see
routing_jax/data/synthetic.py.

Command: python launch.py --config=experiments/synthetic_regression.py
    With another share in common:
    python launch.py --config=experiments/synthetic_regression.py --config.data.relatedness=1

Expected: a mean squared error on the test set below 0.1; predicting the mean of each task
    gives about 1.

Minutes: less than 1 on two CPU cores.
"""

import ml_collections

from routing_jax.config import base_config


def get_config() -> ml_collections.ConfigDict:
    """The configuration."""
    config = base_config()
    config.experiment = "synthetic_regression"
    config.data.name = "synthetic"
    config.data.tasks = "related_pairs"
    config.data.num_pairs = 4
    config.data.relatedness = 0.9
    config.data.share_images = True
    config.model.encoder = "flatten"
    config.model.block_noise = 0.1
    config.model.width = 128
    config.router.learning_rate = 0.1
    config.reward.final = "negative_loss"
    config.optimizer.learning_rate = 0.2
    config.training.steps = 2000
    config.training.examples_per_task = 64
    return config
