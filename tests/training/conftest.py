"""Small runs for the tests of training."""

from collections.abc import Callable

import ml_collections
import numpy as np
import pytest

from routing_jax.config import base_config, validate
from routing_jax.data import loading
from routing_jax.types import MultiTaskData


def tiny_config(**overrides: object) -> ml_collections.ConfigDict:
    """A few small layers on the embedded digits; fields are named with __ for the dot."""
    config = base_config()
    config.data.name = "digits"
    config.data.share_images = True
    config.model.encoder = "flatten"
    config.model.width = 16
    config.model.depth = 2
    config.model.num_blocks = 4
    config.training.steps = 12
    config.training.eval_every = 4
    config.training.checkpoint_every = 5
    config.training.examples_per_task = 8
    for name, value in overrides.items():
        group, leaf = name.split("__")
        config[group][leaf] = value
    validate(config)
    return config


@pytest.fixture(name="tiny_config", scope="session")
def _tiny_config() -> Callable[..., ml_collections.ConfigDict]:
    return tiny_config


@pytest.fixture(scope="session")
def digits() -> loading.TaskSet:
    """Ten one-vs-rest tasks over the embedded digits."""
    return loading.load(tiny_config().data, say=lambda _: None)


@pytest.fixture
def unequal_data() -> MultiTaskData:
    """Three tasks of 7, 3 and 5 examples over 9 shared random images."""
    rng = np.random.default_rng(0)
    sizes = np.array([7, 3, 5], np.int32)
    index = np.zeros((3, 7), np.int32)
    labels = np.zeros((3, 7), np.int32)
    for task, size in enumerate(sizes):
        index[task, :size] = rng.permutation(9)[:size]
        labels[task, :size] = rng.integers(0, 2, size)
    images = rng.integers(0, 256, (9, 4, 4, 1)).astype(np.uint8)
    return MultiTaskData(images, index, labels, sizes)
