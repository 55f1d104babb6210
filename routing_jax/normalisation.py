"""Batch normalisation that pooling follows, at the cost of the smaller map."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax.convolution import halve
from routing_jax.isometric import MOMENTUM

_EPSILON = 1e-5
"""Of `flax.linen.BatchNorm`."""


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


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance [channels] of maps [B, height, width, channels], in float32.

    The barrier keeps the two sums apart: XLA's CPU backend computes both in one loop otherwise, and
    then without its fast sum over rows.
    """
    x = x.astype(jnp.float32)
    mean = x.mean((0, 1, 2))
    x, mean = jax.lax.optimization_barrier((x, mean))
    return mean, jnp.maximum((x * x).mean((0, 1, 2)) - mean * mean, 0)
