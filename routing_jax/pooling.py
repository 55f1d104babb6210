"""Pooling of maps: halving, and with "same" padding and any stride, by maxima and sums of slices.

Their gradients are cheap everywhere, where that of a reduce-window is slow on CPU.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.convolution import same_padding


@jax.custom_vjp
def halve(x: jax.Array) -> jax.Array:
    """2x2 max-pooling with stride 2; an odd last row or column is cropped.

    The gradient goes where the forward pass found the maximum, the first of equals: a gradient that
    asks again which entry equals the maximum may find none (see `larger`).

    Args:
      x: [B, height, width, channels].

    Returns:
      [B, height // 2, width // 2, channels].
    """
    return _halve_forward(x)[0]


def _halve_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The pooled map, and behind it where in its window each maximum stood, and what is cropped."""
    windows = _windows(x)
    a, b, c, d = (windows[:, :, row, :, column] for row in (0, 1) for column in (0, 1))
    upper, lower = larger(a, b), larger(c, d)
    place = jnp.where(upper >= lower, jnp.where(a >= b, 0, 1), jnp.where(c >= d, 2, 3))
    cropped = jnp.zeros((x.shape[1] % 2, x.shape[2] % 2))
    return larger(upper, lower), (place.astype(jnp.uint8), cropped)


def _halve_backward(
    residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array]:
    place, cropped = residuals
    batch, height, width, channels = gradient.shape
    places = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 2, 1, 2, 1)
    chosen = place[:, :, None, :, None] == places
    spread = jnp.where(chosen, gradient[:, :, None, :, None], 0)
    spread = spread.reshape(batch, 2 * height, 2 * width, channels)
    return (jnp.pad(spread, ((0, 0), *((0, odd) for odd in cropped.shape), (0, 0))),)


halve.defvjp(_halve_forward, _halve_backward)


def larger(a: jax.Array, b: jax.Array) -> jax.Array:
    """The larger of each two, the first of equals: a maximum whose gradient is never lost.

    The gradient of a maximum asks which entries equal it, and finds none where the compiler
    computes them a second time with other rounding; a choice always passes the gradient on.
    """
    return jnp.where(a >= b, a, b)


def halve_by_mean(x: jax.Array) -> jax.Array:
    """2x2 average-pooling; as `halve` otherwise."""
    return _windows(x).mean(axis=(2, 4))


def _windows(x: jax.Array) -> jax.Array:
    """[B, height // 2, 2, width // 2, 2, channels]."""
    batch, height, width, channels = x.shape
    rows, columns = height // 2, width // 2
    return x[:, : 2 * rows, : 2 * columns].reshape(batch, rows, 2, columns, 2, channels)


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
