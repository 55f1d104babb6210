"""Components of unlike kind: the function blocks of Gumbel-Matrix routing on images.

The seven kinds that Ramachandran and Le (2019) and Maziarz et al. (2019) choose from on Omniglot,
and the single convolutions of the latter's three clusters of tasks. All give maps of equal shape;
with a stride only the last operation of a component has it.
"""

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from routing_jax.config_components import NORM_GROUPS
from routing_jax.convolution import Conv, conv_of_many
from routing_jax.normalisation import GroupNorm
from routing_jax.pooling import max_pool, mean_pool
from routing_jax.types import Params

_WINDOW = 3
"""Side of the windows of pooling."""


class NormRelu(nn.Module):
    """Group normalisation of four groups, then ReLU: of maps [B, height, width, channels]."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.relu(GroupNorm(NORM_GROUPS, self.dtype)(x))


class ConvChain(nn.Module):
    """Convolutions one behind the other, each with bias, group normalisation and ReLU.

    From maps [B, height, width, channels] to [B, height', width', features].
    """

    features: int
    stride: int = 1
    dtype: jnp.dtype = jnp.float32
    sides: tuple[tuple[int, int], ...] = ((3, 3),)
    """Rows and columns of each kernel."""

    @nn.compact
    def __call__(self, x: jax.Array, *, behind_first: bool = False) -> jax.Array:
        """Maps to maps; `behind_first`: they have been through the first convolution."""
        for i, (sides, stride) in enumerate(self._operations()):
            if i > 0 or not behind_first:
                x = Conv(self.features, sides, stride, self.dtype, name=f"Conv_{i}")(x)
            x = NormRelu(self.dtype, name=f"NormRelu_{i}")(x)
        return x

    def apply_all(self, bank: Params, x: jax.Array) -> jax.Array:
        """Every block of a bank on the same maps; see `block_groups.ApplyAll`."""
        _, stride = self._operations()[0]
        first = bank["Conv_0"]
        x, kernels, biases = promote_dtype(x, first["kernel"], first["bias"], dtype=self.dtype)
        maps = conv_of_many(x, kernels, stride=stride) + biases[None, None, None]

        def go_on(params: Params, own: jax.Array) -> jax.Array:
            return self.apply({"params": params}, own, behind_first=True)

        return jax.vmap(go_on, (0, 3))(bank, maps)

    def multiply_adds(self, inputs: tuple[int, ...]) -> int:
        """Of one example of shape `inputs`."""
        total, (height, width, channels) = 0, inputs
        for sides, stride in self._operations():
            height, width = -(-height // stride), -(-width // stride)
            total += height * width * math.prod(sides) * channels * self.features
            channels = self.features
        return total

    def _operations(self) -> list[tuple[tuple[int, int], int]]:
        """Kernel and stride of each convolution."""
        *first, last = self.sides
        return [*((sides, 1) for sides in first), (last, self.stride)]


class Pool(nn.Module):
    """Pooling over 3x3 windows; keeps the channels and has no parameters."""

    features: int
    """Channels of the maps."""
    stride: int = 1
    dtype: jnp.dtype = jnp.float32
    pool: Callable[..., jax.Array] = max_pool

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.pool(x.astype(self.dtype), side=_WINDOW, stride=self.stride)

    def multiply_adds(self, inputs: tuple[int, ...]) -> int:
        """None: there is nothing to multiply."""
        del inputs
        return 0


class Identity(nn.Module):
    """What comes in; with a stride a 1x1 convolution without normalisation or ReLU."""

    features: int
    """Channels of the maps."""
    stride: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.stride == 1:
            return x.astype(self.dtype)
        return Conv(self.features, (1, 1), self.stride, self.dtype)(x)

    def multiply_adds(self, inputs: tuple[int, ...]) -> int:
        """Of one example of shape `inputs`."""
        if self.stride == 1:
            return 0
        height, width, channels = inputs
        outputs = -(-height // self.stride) * -(-width // self.stride) * self.features
        return outputs * channels


COMPONENTS: dict[str, Callable[..., nn.Module]] = {
    "conv3": ConvChain,
    "conv5": partial(ConvChain, sides=((5, 5),)),
    "conv3_twice": partial(ConvChain, sides=((3, 3), (3, 3))),
    "conv5_twice": partial(ConvChain, sides=((5, 5), (5, 5))),
    "conv7_twice": partial(ConvChain, sides=((7, 7), (7, 7))),
    "conv1x7_7x1": partial(ConvChain, sides=((1, 7), (7, 1))),
    "max_pool": Pool,
    "mean_pool": partial(Pool, pool=mean_pool),
    "identity": Identity,
}
"""By the names of `config_components.COMPONENTS`; each takes features, stride and number format."""
