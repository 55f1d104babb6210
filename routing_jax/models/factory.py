"""From a configuration and the data's shapes to a model."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from routing_jax import config_components
from routing_jax.blocks import Bank, BlockBank, MixedBank
from routing_jax.components import NormRelu
from routing_jax.errors import UserError
from routing_jax.models.compositional import CompositionalNetwork, RunningAverages
from routing_jax.models.cross_stitch import CrossStitchNetwork
from routing_jax.models.encoders import ENCODERS, STEMS
from routing_jax.models.gumbel_matrix import GumbelMatrixNetwork
from routing_jax.models.joint_classifier import JointClassifierNetwork
from routing_jax.models.layers import (
    STATISTICS,
    Layer,
    adapter_of,
    allowed_actions,
    assign_banks,
    layers_of,
    logits_block,
    output_shape,
)
from routing_jax.models.network import MultiTaskNetwork
from routing_jax.models.routing_network import RoutingNetwork
from routing_jax.models.soft_mixture import SoftMixtureNetwork
from routing_jax.routers.allocation import Allocation, FixedAllocation
from routing_jax.routers.factory import make_fixed_router, make_router
from routing_jax.routers.fixed import Routes, blocks_of_depth, fixed_routes
from routing_jax.routers.mixing import STARTS, FixedMixing, Mixing, one_hot_table
from routing_jax.routers.mixture import Mixture


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
    num_old: int = 0
    """Tasks of a trained network that new ones are added to; models do not look at it."""


class _Parts(NamedTuple):
    """What the constructor of a system needs."""

    config: ConfigDict
    shape: DataShape
    encoder: nn.Module
    layers: list[Layer]
    head: BlockBank | None
    block_noise: float | jax.Array
    seed: jax.Array | int

    @property
    def num_blocks(self) -> int:
        """K, where it is the same at every depth."""
        return config_components.num_blocks(self.config.model, self.shape.num_tasks)

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
        allow it; or a table of routes, a convolution, components, or a resolution do not fit.
    """
    encoder = _encoder(config.model, shape.image)
    layers = layers_of(config.model, _encoded_shape(encoder, shape.image), shape.num_classes)
    head = None
    if config.model.head != "routed":
        adapter, inputs = adapter_of(config.model), layers[-1].outputs
        inputs = output_shape(adapter, inputs) if adapter else inputs
        block = logits_block(inputs, shape.num_classes)
        head = BlockBank(block, 1 if config.model.head == "shared" else shape.num_tasks)
    parts = _Parts(config, shape, encoder, layers, head, block_noise, seed)
    return MODELS[config.model.name](parts)


def multiply_adds(config: ConfigDict, shape: DataShape) -> tuple[tuple[int, ...], ...]:
    """What each block costs for one example, [depth][block]; encoder and heads left out."""
    model = make_model(config, shape, block_noise=0.0)
    layers = layers_of(config.model, _encoded_shape(model.encoder, shape.image), shape.num_classes)
    banks = [model.banks[index] for index in model.bank_of_depth]
    return tuple(
        tuple(block.multiply_adds(layer.inputs) for block in bank.blocks)
        for layer, bank in zip(layers, banks, strict=True)
    )


def _routing_network(parts: _Parts) -> RoutingNetwork:
    config, layers = parts.config, parts.layers
    if config.router.policy == "fixed":
        return _fixed_network(parts)
    allowed = allowed_actions(layers, parts.num_blocks, pass_action=config.router.pass_action)
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
    return GumbelMatrixNetwork(
        *_common(parts, [blocks] * depth), router, router_config.merge, router_config.skip_below
    )


def _cross_stitch(parts: _Parts) -> CrossStitchNetwork:
    return CrossStitchNetwork(*_common(parts, [parts.shape.num_tasks] * parts.depth))


def _soft_mixture(parts: _Parts) -> SoftMixtureNetwork:
    common = _common(parts, [parts.num_blocks] * parts.depth)
    router = Mixture(parts.shape.num_tasks, parts.depth, parts.num_blocks)
    return SoftMixtureNetwork(*common, router)


def _joint_classifier(parts: _Parts) -> JointClassifierNetwork:
    blocks = [1] * (parts.depth - 1) + [parts.shape.num_tasks]
    return JointClassifierNetwork(*_common(parts, blocks))


def _compositional(parts: _Parts) -> CompositionalNetwork:
    config, tasks = parts.config, parts.shape.num_tasks
    router, blocks = _mixing(parts)
    outputs = config.dispatch.apply == "mix_outputs"
    of_depth, of_task = STATISTICS[config.model.statistics]
    places = (
        parts.depth if of_depth else 1,
        tasks if of_task else 1,
        parts.num_blocks if outputs else 1,
    )
    averages = RunningAverages(parts.layers[0].block, places)
    adapter = adapter_of(config.model)
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
    start = STARTS[config.router.mixing_start]
    return Mixing(rows, parts.depth, parts.num_blocks, pure, start), blocks


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
    distinct, bank_of_depth = assign_banks(parts.layers, shared=shared)
    counts = [0] * len(distinct)
    for bank, count in zip(bank_of_depth, num_blocks, strict=True):
        counts[bank] = max(counts[bank], count)
    # Not a list, so that a model without traced values can be hashed.
    banks = tuple(
        _bank(layer, count, parts.block_noise)
        for layer, count in zip(distinct, counts, strict=True)
    )
    model = parts.config.model
    with_norms = parts.depth if model.block == "components" else 0
    # Not one module many times: each depth has its own parameters.
    norms = tuple(NormRelu(jnp.dtype(model.dtype)) for _ in range(with_norms))
    return parts.encoder, banks, bank_of_depth, parts.head, model.dropout, norms


def _bank(layer: Layer, count: int, block_noise: float | jax.Array) -> Bank:
    """A bank of the first `count` blocks of a layer."""
    if not isinstance(layer.block, tuple):
        return BlockBank(layer.block, count, block_noise)
    if count > len(layer.block):
        raise UserError(
            f"router.routes asks for {count} blocks at a depth, and model.components names "
            f"{len(layer.block)}: name as many, such as {count}xconv3_twice."
        )
    groups = itertools.groupby(layer.block[:count])
    return MixedBank(tuple(BlockBank(block, len([*same]), block_noise) for block, same in groups))


def _encoder(model_config: ConfigDict, image: tuple[int, ...]) -> nn.Module:
    """The encoder, for images of that shape."""
    name, dtype = model_config.encoder, jnp.dtype(model_config.dtype)
    if name in STEMS:
        _require_resolution(model_config, image)
        return STEMS[name](model_config.width, model_config.resolution, dtype=dtype)
    encoder = ENCODERS[name](dtype=dtype)
    if name == "pointwise":
        return encoder.clone(features=model_config.width)
    if model_config.block in ("conv", "components") and hasattr(encoder, "flatten"):
        return encoder.clone(flatten=False)
    return encoder


def _require_resolution(model_config: ConfigDict, image: tuple[int, ...]) -> None:
    """Raises UserError where images cannot be brought to the resolution."""
    resolution, (height, width) = model_config.resolution, image[:2]
    sides = STEMS[model_config.encoder].resolutions(height, model_config.width)
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
