"""Function blocks, and the banks that stack the parameters of K of them."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from routing_jax import block_groups
from routing_jax.block_groups import Group
from routing_jax.convolution import Conv3x3, conv, conv_of_many
from routing_jax.normalisation import GroupNorm
from routing_jax.pooling import halve, halve_by_mean
from routing_jax.products import dot_general
from routing_jax.types import Params


class DenseBlock(nn.Module):
    """A fully connected function block: [..., F] to [..., features]."""

    features: int
    activation: bool = True
    """ReLU at the end; off for a block that gives logits."""
    dtype: jnp.dtype = jnp.float32
    flatten: bool = False
    """Inputs are maps [m, height, width, channels] and are flattened first."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1) if self.flatten else x
        x = nn.Dense(self.features, dtype=self.dtype, dot_general=dot_general)(x)
        return nn.relu(x) if self.activation else x

    def multiply_adds(self, inputs: tuple[int, ...]) -> int:
        """Of one example of shape `inputs`."""
        return math.prod(inputs) * self.features

    def apply_ragged(
        self, bank: Params, x: jax.Array, count: jax.Array, block_of_row: jax.Array
    ) -> jax.Array:
        """All blocks of a bank on sorted rows; see `dispatch.ApplyRagged`."""
        dense = bank["Dense_0"]
        x = x.reshape(x.shape[0], -1) if self.flatten else x
        x, kernel, bias = promote_dtype(x, dense["kernel"], dense["bias"], dtype=self.dtype)
        x = jax.lax.ragged_dot(x, kernel, count) + bias[block_of_row]
        return nn.relu(x) if self.activation else x


class ConvBlock(nn.Module):
    """A convolutional function block: [m, height, width, channels] to [m, ..., features].

    3x3 convolution, normalisation over the map of each example (a bank's blocks have no running
    averages), 2x2 max-pooling while both sides are at least 4, ReLU.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv3x3(self.features, self.dtype)(x)
        x = GroupNorm(1, self.dtype)(x)
        return nn.relu(halve(x) if min(x.shape[1:3]) >= 4 else x)

    def multiply_adds(self, inputs: tuple[int, ...]) -> int:
        """Of the convolution, for one example of shape `inputs`."""
        return math.prod(inputs) * 9 * self.features


class ValidConvBlock(nn.Module):
    """A convolution without padding or normalisation: [m, height, width, channels] to [m, ...].

    Convolution with bias, ReLU and, if asked for, 2x2 average-pooling. A component of the MNIST
    network of Maziarz et al. (2019); as pooling is linear, it may stand before the mean over
    components, where theirs stands behind it.
    """

    features: int
    side: int
    """Of the square kernel."""
    pool: bool
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.side, self.side, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        x = nn.relu(conv(x, kernel, padding="valid") + bias[None, None, None])
        return halve_by_mean(x) if self.pool else x

    def apply_all(self, bank: Params, x: jax.Array) -> jax.Array:
        """Every block of a bank on the same maps; see `block_groups.ApplyAll`."""
        x, kernels, biases = promote_dtype(x, bank["kernel"], bank["bias"], dtype=self.dtype)
        maps = conv_of_many(x, kernels, padding="valid") + biases[None, None, None]
        x = nn.relu(maps.reshape(*maps.shape[:3], -1))
        x = halve_by_mean(x) if self.pool else x
        return jnp.moveaxis(x.reshape(*x.shape[:3], *biases.shape), 3, 0)

    def multiply_adds(self, inputs: tuple[int, ...]) -> int:
        """Of the convolution, for one example of shape `inputs`."""
        height, width, channels = inputs
        outputs = (height - self.side + 1) * (width - self.side + 1) * self.features
        return outputs * self.side**2 * channels


class BlockBank(nn.Module):
    """K function blocks of equal shapes whose parameters share a leading K axis.

    Every block starts from `sqrt(1 - block_noise**2) * common + block_noise * own`, with one
    common and K own draws of the block's initialiser: the spread of the initialiser is kept
    whatever `block_noise` is. 1 gives K independent draws, as in the paper; a small value gives a
    bank whose blocks start nearly equal, so that blocks can learn before the router has settled.

    Attributes:
      block: the block; a Linen module without state besides its parameters.
      num_blocks: K.
      block_noise: in [0, 1].
    """

    block: nn.Module
    num_blocks: int
    block_noise: float | jax.Array = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> Params:
        """The stacked parameters, each leaf [K, ...].

        Args:
          x: an input of one block, [..., F]; only its shape and type count.
        """
        return self.param("blocks", self._stacked, x)

    def apply_block(self, block_params: Params, x: jax.Array) -> jax.Array:
        """Runs one block: parameters without the K axis, x [..., F]."""
        return self._unbound().apply({"params": block_params}, x)

    @property
    def apply_ragged(self) -> Callable[..., jax.Array] | None:
        """`dispatch.ApplyRagged` of the block, None where it has none."""
        return getattr(self.block, "apply_ragged", None)

    @property
    def group(self) -> Group:
        """The functions of one block and, if it has that, of all on the same rows."""
        apply_all = getattr(self._unbound(), "apply_all", None)
        return Group(self.apply_block, self.num_blocks, apply_all)

    def in_groups(self, x: jax.Array) -> tuple[tuple[Group, ...], block_groups.Bank]:
        """The groups of the bank, this one alone, and the stacked parameters of each."""
        return (self.group,), (self(x),)

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The block of each number."""
        return (self.block,) * self.num_blocks

    def _stacked(self, key: jax.Array, x: jax.Array) -> Params:
        block = self._unbound()

        def start(key: jax.Array) -> Params:
            return block.init(key, x).get("params", {})  # pooling has none

        common_key, own_key = jax.random.split(key)
        common = start(common_key)
        own = jax.vmap(start)(jax.random.split(own_key, self.num_blocks))
        noise = jnp.asarray(self.block_noise, jnp.float32)
        share = jnp.sqrt(1 - noise**2)

        def mix(one: jax.Array, many: jax.Array) -> jax.Array:
            # Where an initialiser draws nothing (zeros, ones), the mixture must not rescale it.
            return jnp.where(many == one[None], many, share * one[None] + noise * many)

        return jax.tree.map(mix, common, own)

    def _unbound(self) -> nn.Module:
        """The block as a free module; as an attribute it would become a submodule of the bank."""
        return self.block.clone(parent=None)


class MixedBank(nn.Module):
    """A bank of unlike blocks: groups of like ones, all with the same input and output shape.

    Attributes:
      groups: a bank for each group, numbered through in this order.
    """

    groups: tuple[BlockBank, ...]

    def __call__(self, x: jax.Array) -> tuple[Params, ...]:
        """The stacked parameters of each group; see `BlockBank`."""
        return tuple(group(x) for group in self.groups)

    @property
    def apply_block(self) -> tuple[Group, ...]:
        """The functions of the groups' blocks, as `dispatch` takes them."""
        return tuple(group.group for group in self.groups)

    def in_groups(self, x: jax.Array) -> tuple[tuple[Group, ...], block_groups.Bank]:
        """The groups of the bank, and the stacked parameters of each."""
        return self.apply_block, self(x)

    @property
    def apply_ragged(self) -> None:
        """There is no ragged product of unlike blocks."""

    @property
    def num_blocks(self) -> int:
        """K."""
        return sum(group.num_blocks for group in self.groups)

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The block of each number."""
        return tuple(block for group in self.groups for block in group.blocks)


Bank = BlockBank | MixedBank
