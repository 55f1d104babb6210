"""From a configuration and the data's shapes to a model."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from routing_jax.blocks import BlockBank, DenseBlock
from routing_jax.errors import UserError
from routing_jax.models.encoders import ENCODERS
from routing_jax.models.routing_network import RoutingNetwork
from routing_jax.routers.tabular import TabularRouter, assign_agents


class DataShape(NamedTuple):
    """What a model has to know of the data."""

    num_tasks: int
    """T."""
    num_classes: int
    """C."""
    image: tuple[int, ...]
    """(height, width, channels), or (F,) where inputs are vectors."""
    objective: str = "classification"
    """A name of `objectives.OBJECTIVES`; models do not look at it."""


class _Layer(NamedTuple):
    """A routed layer; layers that are equal can share a bank."""

    inputs: int
    outputs: int
    activation: bool


def make_model(
    config: ConfigDict, shape: DataShape, *, block_noise: float | jax.Array
) -> RoutingNetwork:
    """Builds the routing network of a validated configuration.

    Args:
      config: the whole configuration.
      shape: of the data.
      block_noise: see `BlockBank`; an argument of its own because a sweep traces it.

    Raises:
      UserError: PASS or a shared bank was asked for and no layer's widths allow it.
    """
    dtype = jnp.dtype(config.model.dtype)
    encoder = ENCODERS[config.model.encoder](dtype=dtype)
    layers = _layers(config.model, _encoded_width(encoder, shape.image), shape.num_classes)
    distinct, bank_of_depth = _assign_banks(layers, shared=config.model.bank == "shared")
    num_blocks = config.model.num_blocks or shape.num_tasks
    return RoutingNetwork(
        encoder=encoder,
        banks=tuple(  # not a list, so that a model without traced values can be hashed
            BlockBank(DenseBlock(layer.outputs, layer.activation, dtype), num_blocks, block_noise)
            for layer in distinct
        ),
        bank_of_depth=bank_of_depth,
        router=TabularRouter(
            agent_of_task=tuple(assign_agents(config.router.agent, shape.num_tasks).tolist()),
            allowed=_allowed_actions(layers, num_blocks, pass_action=config.router.pass_action),
            per_task=config.router.decision_per == "task",
        ),
        strategy=config.dispatch.strategy,
    )


def _encoded_width(encoder: nn.Module, image: tuple[int, ...]) -> int:
    """F of the encoder for such images."""
    images = jax.ShapeDtypeStruct((1, *image), jnp.uint8)

    def encode(x: jax.Array) -> jax.Array:
        return encoder.init_with_output(jax.random.key(0), x, train=False)[0]

    return jax.eval_shape(encode, images).shape[-1]


def _layers(model_config: ConfigDict, features: int, classes: int) -> list[_Layer]:
    """The D routed layers: `width` units each, the last one the logits."""
    widths = [features, *[model_config.width] * (model_config.depth - 1), classes]
    last = model_config.depth - 1
    return [
        _Layer(inputs, outputs, depth != last)
        for depth, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False))
    ]


def _assign_banks(layers: list[_Layer], *, shared: bool) -> tuple[list[_Layer], tuple[int, ...]]:
    """The banks to build, and the bank of each depth."""
    if not shared:
        return layers, tuple(range(len(layers)))
    distinct = list(dict.fromkeys(layers))
    if len(distinct) == len(layers):
        raise UserError(
            "model.bank: 'shared' needs at least two routed layers of equal input and output width;"
            f" here they are {_widths(layers)}. Change model.width or model.depth, or use "
            "model.bank=per_depth."
        )
    return distinct, tuple(distinct.index(layer) for layer in layers)


def _allowed_actions(
    layers: list[_Layer], num_blocks: int, *, pass_action: bool
) -> tuple[tuple[bool, ...], ...]:
    """[D, A]: all blocks, and PASS where a layer keeps the width."""
    if not pass_action:
        return ((True,) * num_blocks,) * len(layers)
    keeps = [layer.inputs == layer.outputs and layer.activation for layer in layers]
    if not any(keeps):
        raise UserError(
            "router.pass_action: PASS needs a hidden routed layer with equal input and output "
            f"width; here the layers are {_widths(layers)}. Change model.width or model.depth, or "
            "use router.pass_action=False."
        )
    return tuple((*(True,) * num_blocks, keep) for keep in keeps)


def _widths(layers: list[_Layer]) -> str:
    return ", ".join(f"{layer.inputs} to {layer.outputs}" for layer in layers)
