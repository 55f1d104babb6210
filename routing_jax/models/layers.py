"""The routed layers of a configuration: their shapes, blocks and banks."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from routing_jax import config_components
from routing_jax.blocks import ConvBlock, DenseBlock, ValidConvBlock
from routing_jax.components import COMPONENTS
from routing_jax.errors import UserError
from routing_jax.isometric import InvertedResidual, OutputAdapter
from routing_jax.mixtures import TASKS
from routing_jax.resnet import BasicBlock, MeanOverMap

STATISTICS = {
    "shared": (False, False),
    "per_depth": (True, False),
    "per_depth_and_task": (True, True),
}
"""Whether a depth, and whether a task, has running averages of its own."""

_RESIDUAL = {"inverted_residual": InvertedResidual, "basic": BasicBlock}


class Layer(NamedTuple):
    """A routed layer; layers that are equal can share a bank."""

    inputs: tuple[int, ...]
    """Shape of one example's representation before it."""
    outputs: tuple[int, ...]
    block: nn.Module | tuple[nn.Module, ...]
    """Of which there are K; or the K blocks, where they are unlike."""
    hidden: bool = True
    """Not the last layer, which gives the logits."""


def layers_of(model_config: ConfigDict, encoded: tuple[int, ...], classes: int) -> list[Layer]:
    """The D routed layers; without a head of each task's own the last one gives the logits."""
    layers, inputs = [], encoded
    routed_logits = model_config.head == "routed"
    for depth in range(model_config.depth - routed_logits):
        hidden = _hidden(model_config, depth, inputs)
        outputs = _outputs_of_all(hidden, inputs)
        layers.append(Layer(inputs, outputs, hidden))
        inputs = outputs
    if routed_logits:
        last = logits_block(inputs, classes)
        layers.append(Layer(inputs, (classes,), last, hidden=False))
    return layers


def _hidden(
    model_config: ConfigDict, depth: int, inputs: tuple[int, ...]
) -> nn.Module | tuple[nn.Module, ...]:
    """The block, or blocks, of a hidden routed layer, for inputs of that shape."""
    dtype, width = jnp.dtype(model_config.dtype), model_config.width
    if model_config.block == "components":
        stride = config_components.strides_of(model_config.strides, model_config.depth)[depth]
        names = config_components.components_of(model_config.components)
        return tuple(COMPONENTS[name](width, stride, dtype) for name in names)
    if model_config.block == "dense":
        return DenseBlock(width, dtype=dtype, flatten=len(inputs) > 1)
    if model_config.block == "conv":
        return ConvBlock(width, dtype)
    if model_config.block in _RESIDUAL:
        across_tasks = not STATISTICS[model_config.statistics][1]
        over = TASKS if across_tasks else None
        return _RESIDUAL[model_config.block](width, dtype=dtype, normalised_over=over)
    side = 3 if depth else 5
    if min(inputs[:2]) < side:
        raise UserError(
            f"model.block: the convolution of depth {depth + 1} takes maps of at least "
            f"{side}x{side}, and the one before it leaves {inputs[0]}x{inputs[1]}: use a smaller "
            "model.depth, larger images, or model.block=conv, which pads."
        )
    return ValidConvBlock(width, side, pool=depth < model_config.depth - 1, dtype=dtype)


def adapter_of(model_config: ConfigDict) -> nn.Module | None:
    """What stands between the last map and the heads, where blocks bring an end of their own."""
    if model_config.block == "inverted_residual":
        return OutputAdapter(dtype=jnp.dtype(model_config.dtype))
    return MeanOverMap() if model_config.block == "basic" else None


def logits_block(inputs: tuple[int, ...], classes: int) -> nn.Module:
    """The block that gives the logits, float32: with the eight bits of bfloat16 some would tie."""
    return DenseBlock(classes, activation=False, flatten=len(inputs) > 1)


def _outputs_of_all(
    block: nn.Module | tuple[nn.Module, ...], inputs: tuple[int, ...]
) -> tuple[int, ...]:
    """Shape of the output of each block for one example."""
    if not isinstance(block, tuple):
        return output_shape(block, inputs)
    shapes = {output_shape(one, inputs) for one in dict.fromkeys(block)}
    if len(shapes) > 1:
        raise UserError(
            f"model.components: pooling and identity keep the {inputs[-1]} channels that the "
            f"encoder gives, and convolutions give model.width = {block[0].features}: use "
            "model.encoder=pointwise, which gives as many, or name convolutions only."
        )
    return shapes.pop()


def output_shape(block: nn.Module, inputs: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the output of a block, or of an adapter, for one example."""
    x = jax.ShapeDtypeStruct((1, *inputs), jnp.float32)
    shaped = jax.eval_shape(lambda x: block.init_with_output(jax.random.key(0), x)[0], x)
    return shaped.shape[1:]


def assign_banks(layers: list[Layer], *, shared: bool) -> tuple[list[Layer], tuple[int, ...]]:
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


def allowed_actions(
    layers: list[Layer], num_blocks: int, *, pass_action: bool
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


def _widths(layers: list[Layer]) -> str:
    def text(shape: tuple[int, ...]) -> str:
        return "x".join(map(str, shape))

    return ", ".join(f"{text(layer.inputs)} to {text(layer.outputs)}" for layer in layers)
