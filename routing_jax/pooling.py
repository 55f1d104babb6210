"""Pooling with "same" padding and any stride, as maxima and sums of shifted slices.

Their gradients are cheap everywhere, where that of a reduce-window is slow on CPU.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.convolution import larger, same_padding


def max_pool(x: jax.Array, *, side: int, stride: int) -> jax.Array:
    """The largest value in each window; the first of equals has the gradient.

    Args:
      x: [B, height, width, channels].
      side: of the square window.
      stride: of the window.

    Returns:
      [B, height', width', channels], sides divided by the stride and rounded up.
    """
    for axis in (1, 2):
        x = functools.reduce(larger, _shifted(x, axis, side, stride, fill=-jnp.inf))
    return x


def mean_pool(x: jax.Array, *, side: int, stride: int) -> jax.Array:
    """The mean of each window without what stands outside of the map; else as `max_pool`."""
    for axis in (1, 2):
        total = functools.reduce(jnp.add, _shifted(x, axis, side, stride, fill=0))
        inside = _inside(x.shape[axis], side, stride).astype(x.dtype)
        x = total / np.expand_dims(inside, [i for i in range(4) if i != axis])
    return x


def _shifted(x: jax.Array, axis: int, side: int, stride: int, *, fill: float) -> list[jax.Array]:
    """For each place of a window, what all windows along the axis see there."""
    before, outputs = same_padding(x.shape[axis], side=side, stride=stride)
    reach = (outputs - 1) * stride + 1
    after = max(reach + side - 1 - before - x.shape[axis], 0)
    around = [(before, after, 0) if i == axis else (0, 0, 0) for i in range(4)]
    x = jax.lax.pad(x, jnp.asarray(fill, x.dtype), around)
    return [jax.lax.slice_in_dim(x, place, place + reach, stride, axis) for place in range(side)]


def _inside(length: int, side: int, stride: int) -> np.ndarray:
    """How many places of each window along an axis are in the map: int [outputs]."""
    before, outputs = same_padding(length, side=side, stride=stride)
    places = np.arange(outputs)[:, None] * stride - before + np.arange(side)
    return ((places >= 0) & (places < length)).sum(1)
