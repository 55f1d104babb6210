"""Convolution of small maps as one product of rows and a matrix.

Where a kernel is about as large as the map, most of what a convolution does is at edges, which
XLA's CPU backend is slow at. A convolution is linear, so the flattened map times a matrix gives it;
the matrix has zeros where the kernel does not reach: more arithmetic in less time.
"""

import math

import jax
import jax.numpy as jnp

from routing_jax.products import product

_MOST_ENTRIES = 2**20
"""Of a matrix; larger ones do not stay in cache."""
_MORE_ARITHMETIC = 2
"""How many times the multiply-adds of the convolution a product may have and be no slower."""
_FEWEST = 64
"""Examples: with fewer it takes longer to build the matrix than to multiply by it."""


def is_faster(maps: tuple[int, ...], kernel: tuple[int, ...], outputs: tuple[int, int]) -> bool:
    """Whether a product is the faster way on CPU.

    Args:
      maps: (B, height, width, channels); it is not where B is symbolic.
      kernel: (rows, columns, channels, features).
      outputs: height and width of the result.
    """
    batch, height, width, channels = maps
    entries = height * width * channels * math.prod(outputs) * kernel[3]
    arithmetic = height * width / math.prod(kernel[:2])
    many = isinstance(batch, int) and batch >= _FEWEST
    return many and entries <= _MOST_ENTRIES and arithmetic <= _MORE_ARITHMETIC


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int,
    zeros: tuple[int, int],
    outputs: tuple[int, int],
) -> jax.Array:
    """Convolution.

    Args:
      x: [B, height, width, channels].
      kernel: [rows, columns, channels, features].
      stride: of rows and of columns.
      zeros: in front of the rows, and of the columns.
      outputs: height and width of the result.

    Returns:
      [B, height', width', features], of the sides `outputs`.
    """
    batch, height, width, _ = x.shape
    rows = _spread(kernel, 0, height, -zeros[0], stride, outputs[0])
    both = _spread(rows, 2, width, -zeros[1], stride, outputs[1])
    matrix = both.transpose(1, 3, 4, 0, 2, 5).reshape(math.prod(x.shape[1:]), -1)
    return product(x.reshape(batch, -1), matrix).reshape(batch, *outputs, -1)


def _spread(
    kernel: jax.Array, axis: int, length: int, first: int, stride: int, outputs: int
) -> jax.Array:
    """The places of a kernel along `axis` where each output along it has them on the map.

    Returns:
      With an axis of the outputs in front of `axis`, which is as long as the map.
    """
    zero, parts = jnp.zeros((), kernel.dtype), []
    for start in range(first, first + stride * outputs, stride):
        behind = length - start - kernel.shape[axis]  # below zero: the kernel reaches over the edge
        around = [(start, behind, 0) if i == axis else (0, 0, 0) for i in range(kernel.ndim)]
        parts.append(jax.lax.pad(kernel, zero, around))
    return jnp.stack(parts, axis)
