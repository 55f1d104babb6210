"""Configurations of small models, and models built from them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.config import base_config
from routing_jax.models.encoders import ConvEncoder
from routing_jax.models.factory import DataShape, make_model
from routing_jax.models.routing_network import RoutingNetwork
from routing_jax.types import Exploration

SMALL = DataShape(num_tasks=3, num_classes=2, image=(2, 3, 1))


class Built(NamedTuple):
    """A model and its variables."""

    model: RoutingNetwork
    variables: dict


@pytest.fixture
def model_config() -> Callable[..., object]:
    """Makes a configuration: no encoder, two blocks, width 6, and the values given as `a__b`."""

    def make(**values: object) -> object:
        config = base_config()
        small = {"model__encoder": "flatten", "model__num_blocks": 2, "model__width": 6}
        for name, value in (small | values).items():
            group, leaf = name.split("__")
            config[group][leaf] = value
        return config

    return make


@pytest.fixture
def build(model_config) -> Callable[..., Built]:
    """Builds a model with values as `model_config` takes them, for T = 3, C = 2 and 2x3 images.

    The variables are random, biases and batch statistics too; the policy is uniform.
    """

    def make(shape: DataShape = SMALL, **values: object) -> Built:
        model = make_model(model_config(**values), shape, block_noise=1.0)
        if values.get("model__encoder") == "conv4":
            model = model.clone(encoder=ConvEncoder(features=3, layers=2))  # compiles sooner
        keys = {"params": jax.random.key(0), "router": jax.random.key(0)}
        images = jax.ShapeDtypeStruct((1, 1, *shape.image), jnp.uint8)
        shapes = jax.eval_shape(
            lambda images: model.init(keys, images, exploration=Exploration()), images
        )
        rng = np.random.default_rng(0)

        def fill(path, leaf):
            name = path[-1].key
            if name == "table":
                allowed = np.array(model.router.allowed, np.float32)
                uniform = allowed / allowed.sum(-1, keepdims=True)
                return np.broadcast_to(uniform, leaf.shape)
            if name == "temperature":
                return np.ones(leaf.shape, leaf.dtype)
            values = 0.5 * rng.normal(size=leaf.shape).astype(leaf.dtype)
            return np.abs(values) + 1 if name == "var" else values

        return Built(model, jax.tree_util.tree_map_with_path(fill, shapes))

    return make
