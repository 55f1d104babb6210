"""Normalisations of Flax in another order, which costs less on CPU."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax.isometric import MOMENTUM
from routing_jax.pooling import halve

_EPSILON = 1e-5
"""Of `flax.linen.BatchNorm`."""
_EPSILON_OF_GROUPS = 1e-6
"""Of `flax.linen.GroupNorm`."""


class HalvedBatchNorm(nn.Module):
    """`halve(BatchNorm(x))`, with parameters and running averages of the same names.

    Normalising moves each channel along a line, so it commutes with the maximum (or, where the
    scale is negative, with the minimum): the pooled map, a quarter as large, is what is normalised,
    and what is differentiated.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """[B, height, width, channels] to `dtype` [B, height // 2, width // 2, channels].

        Args:
          x: the maps.
          train: normalise by the batch and move the running averages; else by the averages.
        """
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        averages = (
            self.variable("batch_stats", "mean", jnp.zeros, channels),
            self.variable("batch_stats", "var", jnp.ones, channels),
        )
        mean, variance = moments(x) if train else [average.value for average in averages]
        if train and not self.is_initializing():
            for average, now in zip(averages, (mean, variance), strict=True):
                average.value = MOMENTUM * average.value + (1 - MOMENTUM) * now
        sign = jnp.where(scale < 0, -1, 1).astype(x.dtype)[None, None, None]
        x = halve(x * sign) * sign
        factor = scale * jax.lax.rsqrt(variance + _EPSILON)
        normalised = (x.astype(jnp.float32) - mean[None, None, None]) * factor[None, None, None]
        return (normalised + bias[None, None, None]).astype(self.dtype)


class GroupNorm(nn.Module):
    """`flax.linen.GroupNorm` of maps, with parameters of the same names.

    Sums over the map come first, channel by channel, and then those of a group's channels: a sum
    over map and channels at once is some times slower on CPU.
    """

    num_groups: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, height, width, channels] to the same in `dtype`.

        Raises:
          ValueError: the groups do not share the channels evenly.
        """
        channels = x.shape[-1:]
        if channels[0] % self.num_groups:
            raise ValueError(
                f"{channels[0]} channels do not make {self.num_groups} groups; take a multiple"
            )
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        x = x.astype(jnp.float32)
        mean, square = (self._over_groups(part.mean((1, 2))) for part in (x, x * x))
        variance = jnp.maximum(square - mean * mean, 0)
        factor = jax.lax.rsqrt(variance + _EPSILON_OF_GROUPS) * scale[None]
        mean, factor = mean[:, None, None], factor[:, None, None]
        return ((x - mean) * factor + bias[None, None, None]).astype(self.dtype)

    def _over_groups(self, means: jax.Array) -> jax.Array:
        """Means of channels [B, channels] to those of their groups, of the same shape."""
        of_group = means.shape[1] // self.num_groups
        channels = means.reshape(means.shape[0], self.num_groups, of_group)
        of_groups = channels.mean(-1, keepdims=True)
        return jnp.broadcast_to(of_groups, channels.shape).reshape(means.shape)


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance [channels] of maps [B, height, width, channels], in float32.

    The barrier keeps the two sums apart: XLA's CPU backend computes both in one loop otherwise, and
    then without its fast sum over rows.
    """
    x = x.astype(jnp.float32)
    mean = x.mean((0, 1, 2))
    x, mean = jax.lax.optimization_barrier((x, mean))
    return mean, jnp.maximum((x * x).mean((0, 1, 2)) - mean * mean, 0)
