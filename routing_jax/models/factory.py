"""From a configuration and the data's shapes to a model."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from routing_jax.blocks import BlockBank, ConvBlock, DenseBlock
from routing_jax.errors import UserError
from routing_jax.models.encoders import ENCODERS
from routing_jax.models.routing_network import RoutingNetwork
from routing_jax.routers.factory import make_router


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

    inputs: tuple[int, ...]
    """Shape of one example's representation before it."""
    outputs: tuple[int, ...]
    block: nn.Module
    hidden: bool = True
    """Not the last layer, which gives the logits."""


def make_model(
    config: ConfigDict, shape: DataShape, *, block_noise: float | jax.Array
) -> RoutingNetwork:
    """Builds the routing network of a validated configuration.

    Args:
      config: the whole configuration.
      shape: of the data.
      block_noise: see `BlockBank`; an argument of its own because a sweep traces it.

    Raises:
      UserError: PASS, a shared bank or a shared policy network was asked for and no layer's widths
        allow it.
    """
    dtype = jnp.dtype(config.model.dtype)
    encoder = ENCODERS[config.model.encoder](dtype=dtype)
    if config.model.block == "conv":
        encoder = encoder.clone(flatten=False)
    layers = _layers(config.model, _encoded_shape(encoder, shape.image), shape.num_classes)
    distinct, bank_of_depth = _assign_banks(layers, shared=config.model.bank == "shared")
    num_blocks = config.model.num_blocks or shape.num_tasks
    return RoutingNetwork(
        encoder=encoder,
        banks=tuple(  # not a list, so that a model without traced values can be hashed
            BlockBank(layer.block, num_blocks, block_noise) for layer in distinct
        ),
        bank_of_depth=bank_of_depth,
        router=make_router(
            config.router,
            num_tasks=shape.num_tasks,
            allowed=_allowed_actions(layers, num_blocks, pass_action=config.router.pass_action),
            shapes=tuple(layer.inputs for layer in layers),
        ),
        strategy=config.dispatch.strategy,
    )


def _encoded_shape(encoder: nn.Module, image: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the representation of one such image."""
    images = jax.ShapeDtypeStruct((1, *image), jnp.uint8)

    def encode(x: jax.Array) -> jax.Array:
        return encoder.init_with_output(jax.random.key(0), x, train=False)[0]

    return jax.eval_shape(encode, images).shape[1:]


def _layers(model_config: ConfigDict, encoded: tuple[int, ...], classes: int) -> list[_Layer]:
    """The D routed layers: `width` features each, the last one the logits."""
    dtype, width = jnp.dtype(model_config.dtype), model_config.width
    if model_config.block == "conv":
        hidden = ConvBlock(width, dtype)
    else:
        hidden = DenseBlock(width, dtype=dtype)
    layers, inputs = [], encoded
    for _ in range(model_config.depth - 1):
        outputs = _outputs(hidden, inputs)
        layers.append(_Layer(inputs, outputs, hidden))
        inputs = outputs
    last = DenseBlock(classes, activation=False, dtype=dtype, flatten=len(inputs) > 1)
    return [*layers, _Layer(inputs, (classes,), last, hidden=False)]


def _outputs(block: nn.Module, inputs: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a block's output for one example."""
    x = jax.ShapeDtypeStruct((1, *inputs), jnp.float32)
    shaped = jax.eval_shape(lambda x: block.init_with_output(jax.random.key(0), x)[0], x)
    return shaped.shape[1:]


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
    """[D, A]: all blocks, and PASS where a layer keeps the shape."""
    if not pass_action:
        return ((True,) * num_blocks,) * len(layers)
    keeps = [layer.inputs == layer.outputs and layer.hidden for layer in layers]
    if not any(keeps):
        raise UserError(
            "router.pass_action: PASS needs a hidden routed layer with equal input and output "
            f"width; here the layers are {_widths(layers)}. Change model.width or model.depth, or "
            "use router.pass_action=False."
        )
    return tuple((*(True,) * num_blocks, keep) for keep in keeps)


def _widths(layers: list[_Layer]) -> str:
    def text(shape: tuple[int, ...]) -> str:
        return "x".join(map(str, shape))

    return ", ".join(f"{text(layer.inputs)} to {text(layer.outputs)}" for layer in layers)
