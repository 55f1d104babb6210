"""From a configuration and the data's shapes to a model."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from routing_jax.blocks import BlockBank, ConvBlock, DenseBlock, ValidConvBlock
from routing_jax.dispatch import TASKS
from routing_jax.errors import UserError
from routing_jax.isometric import InvertedResidual, OutputAdapter
from routing_jax.models.compositional import CompositionalNetwork, RunningAverages
from routing_jax.models.cross_stitch import CrossStitchNetwork
from routing_jax.models.encoders import ENCODERS, STEMS
from routing_jax.models.gumbel_matrix import GumbelMatrixNetwork
from routing_jax.models.joint_classifier import JointClassifierNetwork
from routing_jax.models.network import MultiTaskNetwork
from routing_jax.models.routing_network import RoutingNetwork
from routing_jax.models.soft_mixture import SoftMixtureNetwork
from routing_jax.routers.allocation import Allocation, FixedAllocation
from routing_jax.routers.factory import make_fixed_router, make_router
from routing_jax.routers.fixed import Routes, blocks_of_depth, fixed_routes
from routing_jax.routers.mixing import FixedMixing, Mixing, one_hot_table


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


class _Parts(NamedTuple):
    """What the constructor of a system needs."""

    config: ConfigDict
    shape: DataShape
    encoder: nn.Module
    layers: list[_Layer]
    head: BlockBank | None
    block_noise: float | jax.Array
    seed: jax.Array | int

    @property
    def num_blocks(self) -> int:
        """K, where it is the same at every depth."""
        return self.config.model.num_blocks or self.shape.num_tasks

    @property
    def depth(self) -> int:
        """D."""
        return len(self.layers)


def make_model(
    config: ConfigDict,
    shape: DataShape,
    *,
    block_noise: float | jax.Array,
    seed: jax.Array | int = 0,
) -> MultiTaskNetwork:
    """Builds the system of a validated configuration.

    Args:
      config: the whole configuration.
      shape: of the data.
      block_noise: see `BlockBank`; an argument of its own because a sweep traces it.
      seed: of random fixed routes; traced like `block_noise`.

    Raises:
      UserError: PASS, a shared bank or a shared policy network was asked for and no layer's widths
        allow it; or a table of routes, a convolution, or a resolution does not fit.
    """
    encoder = _encoder(config.model, shape.image)
    layers = _layers(config.model, _encoded_shape(encoder, shape.image), shape.num_classes)
    head = None
    if config.model.head == "own":
        adapted = config.model.block == "inverted_residual"
        inputs = OutputAdapter().widths[-1:] if adapted else layers[-1].outputs
        block = _logits(config.model, inputs, shape.num_classes)
        head = BlockBank(block, shape.num_tasks)
    parts = _Parts(config, shape, encoder, layers, head, block_noise, seed)
    return MODELS[config.model.name](parts)


def _routing_network(parts: _Parts) -> RoutingNetwork:
    config, layers = parts.config, parts.layers
    if config.router.policy == "fixed":
        return _fixed_network(parts)
    allowed = _allowed_actions(layers, parts.num_blocks, pass_action=config.router.pass_action)
    router = make_router(
        config.router,
        num_tasks=parts.shape.num_tasks,
        allowed=allowed,
        shapes=tuple(layer.inputs for layer in layers),
    )
    common = _common(parts, [parts.num_blocks] * parts.depth)
    return RoutingNetwork(*common, router, config.dispatch.strategy)


def _fixed_network(parts: _Parts) -> RoutingNetwork:
    """A routing network that has the blocks of its routes and no others."""
    routes = _fixed_routes(parts)
    drawn = parts.config.router.routes == "random"
    blocks = (parts.num_blocks,) * parts.depth if drawn else blocks_of_depth(routes)
    allowed = tuple(tuple(k < count for k in range(max(blocks))) for count in blocks)
    router = make_fixed_router(routes, allowed)
    return RoutingNetwork(*_common(parts, blocks), router, parts.config.dispatch.strategy)


def _fixed_routes(parts: _Parts) -> Routes | jax.Array:
    return fixed_routes(
        parts.config.router.routes,
        num_tasks=parts.shape.num_tasks,
        depth=parts.depth,
        num_blocks=parts.num_blocks,
        seed=parts.seed,
    )


def _gumbel_matrix(parts: _Parts) -> GumbelMatrixNetwork:
    router_config = parts.config.router
    tasks, depth, blocks = parts.shape.num_tasks, parts.depth, parts.num_blocks
    if router_config.policy != "fixed":
        router = Allocation(tasks, depth, blocks, router_config.start_probability)
    elif router_config.routes == "all":
        router = FixedAllocation((((1,) * blocks,) * depth,) * tasks)
    else:
        routes = _fixed_routes(parts)
        blocks = max(blocks_of_depth(routes))
        router = FixedAllocation(
            tuple(tuple(tuple(int(k == b) for k in range(blocks)) for b in r) for r in routes)
        )
    return GumbelMatrixNetwork(*_common(parts, [blocks] * depth), router, router_config.merge)


def _cross_stitch(parts: _Parts) -> CrossStitchNetwork:
    return CrossStitchNetwork(*_common(parts, [parts.shape.num_tasks] * parts.depth))


def _soft_mixture(parts: _Parts) -> SoftMixtureNetwork:
    common = _common(parts, [parts.num_blocks] * parts.depth)
    return SoftMixtureNetwork(*common, parts.shape.num_tasks)


def _joint_classifier(parts: _Parts) -> JointClassifierNetwork:
    blocks = [1] * (parts.depth - 1) + [parts.shape.num_tasks]
    return JointClassifierNetwork(*_common(parts, blocks))


def _compositional(parts: _Parts) -> CompositionalNetwork:
    config, tasks = parts.config, parts.shape.num_tasks
    router, blocks = _mixing(parts)
    outputs = config.dispatch.apply == "mix_outputs"
    of_depth, of_task = _STATISTICS[config.model.statistics]
    places = (
        parts.depth if of_depth else 1,
        tasks if of_task else 1,
        parts.num_blocks if outputs else 1,
    )
    averages = RunningAverages(parts.layers[0].block, places)
    adapter = OutputAdapter(dtype=jnp.dtype(config.model.dtype))
    common = _common(parts, blocks)
    return CompositionalNetwork(*common, router, averages, adapter, tasks, outputs)


def _mixing(parts: _Parts) -> tuple[Mixing | FixedMixing, Sequence[int]]:
    """The mixing weights, and the templates at each depth."""
    config, tasks = parts.config, parts.shape.num_tasks
    if config.router.policy == "fixed":
        routes = _fixed_routes(parts)
        blocks = blocks_of_depth(routes)
        return FixedMixing(one_hot_table(routes, max(blocks))), blocks
    rows = 1 if config.router.agent == "single" else tasks
    pure = config.dispatch.apply == "select"
    blocks = [parts.num_blocks] * parts.depth
    return Mixing(rows, parts.depth, parts.num_blocks, pure), blocks


_STATISTICS = {
    "shared": (False, False),
    "per_depth": (True, False),
    "per_depth_and_task": (True, True),
}
"""Whether a depth, and whether a task, has running averages of its own."""


MODELS: dict[str, Callable[[_Parts], MultiTaskNetwork]] = {
    "routing_network": _routing_network,
    "cross_stitch": _cross_stitch,
    "soft_mixture": _soft_mixture,
    "gumbel_matrix": _gumbel_matrix,
    "joint_classifier": _joint_classifier,
    "compositional": _compositional,
}


def _common(parts: _Parts, num_blocks: Sequence[int]) -> tuple[object, ...]:
    """The attributes of `MultiTaskNetwork` in their order, given the blocks at each depth."""
    shared = parts.config.model.bank == "shared"
    distinct, bank_of_depth = _assign_banks(parts.layers, shared=shared)
    counts = [0] * len(distinct)
    for bank, count in zip(bank_of_depth, num_blocks, strict=True):
        counts[bank] = max(counts[bank], count)
    # Not a list, so that a model without traced values can be hashed.
    banks = tuple(
        BlockBank(layer.block, count, parts.block_noise)
        for layer, count in zip(distinct, counts, strict=True)
    )
    return parts.encoder, banks, bank_of_depth, parts.head, parts.config.model.dropout


def _encoder(model_config: ConfigDict, image: tuple[int, ...]) -> nn.Module:
    """The encoder, for images of that shape."""
    name, dtype = model_config.encoder, jnp.dtype(model_config.dtype)
    if name in STEMS:
        _require_resolution(model_config, image)
        return STEMS[name](model_config.width, model_config.resolution, dtype=dtype)
    encoder = ENCODERS[name](dtype=dtype)
    return encoder.clone(flatten=False) if model_config.block == "conv" else encoder


def _require_resolution(model_config: ConfigDict, image: tuple[int, ...]) -> None:
    """Raises UserError where images cannot be brought to the resolution."""
    resolution, (height, width) = model_config.resolution, image[:2]
    sides = [side for side in range(1, height + 1) if height % side == 0]
    sides = sides[-1:] if model_config.encoder == "plain" else sides
    if height != width or resolution not in sides:
        raise UserError(
            f"model.resolution = {resolution} does not suit images of {height}x{width} and "
            f"model.encoder = {model_config.encoder}: for square images of side {height} it is one "
            f"of {', '.join(map(str, sides))}; data.image_size changes the images."
        )


def _encoded_shape(encoder: nn.Module, image: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the representation of one such image."""
    images = jax.ShapeDtypeStruct((1, *image), jnp.uint8)

    def encode(x: jax.Array) -> jax.Array:
        return encoder.init_with_output(jax.random.key(0), x, train=False)[0]

    return jax.eval_shape(encode, images).shape[1:]


def _layers(model_config: ConfigDict, encoded: tuple[int, ...], classes: int) -> list[_Layer]:
    """The D routed layers; without a head of each task's own the last one gives the logits."""
    layers, inputs = [], encoded
    routed_logits = model_config.head == "routed"
    for depth in range(model_config.depth - routed_logits):
        hidden = _hidden(model_config, depth, inputs)
        outputs = _outputs(hidden, inputs)
        layers.append(_Layer(inputs, outputs, hidden))
        inputs = outputs
    if routed_logits:
        last = _logits(model_config, inputs, classes)
        layers.append(_Layer(inputs, (classes,), last, hidden=False))
    return layers


def _hidden(model_config: ConfigDict, depth: int, inputs: tuple[int, ...]) -> nn.Module:
    """The block of a hidden routed layer, for inputs of that shape."""
    dtype, width = jnp.dtype(model_config.dtype), model_config.width
    if model_config.block == "dense":
        return DenseBlock(width, dtype=dtype, flatten=len(inputs) > 1)
    if model_config.block == "conv":
        return ConvBlock(width, dtype)
    if model_config.block == "inverted_residual":
        across_tasks = not _STATISTICS[model_config.statistics][1]
        over = TASKS if across_tasks else None
        return InvertedResidual(width, dtype=dtype, normalised_over=over)
    side = 3 if depth else 5
    if min(inputs[:2]) < side:
        raise UserError(
            f"model.block: the convolution of depth {depth + 1} takes maps of at least "
            f"{side}x{side}, and the one before it leaves {inputs[0]}x{inputs[1]}: use a smaller "
            "model.depth, larger images, or model.block=conv, which pads."
        )
    return ValidConvBlock(width, side, pool=depth < model_config.depth - 1, dtype=dtype)


def _logits(model_config: ConfigDict, inputs: tuple[int, ...], classes: int) -> nn.Module:
    """The block that gives the logits."""
    dtype = jnp.dtype(model_config.dtype)
    return DenseBlock(classes, activation=False, dtype=dtype, flatten=len(inputs) > 1)


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
