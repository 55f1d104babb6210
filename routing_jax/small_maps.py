"""Convolution of small maps as one product of rows and a matrix.

Where a kernel is about as large as the map, most of what a convolution does is at edges, which
XLA's CPU backend is slow at. A convolution is linear, so the flattened map times a matrix gives it;
the matrix has zeros where the kernel does not reach: more arithmetic in less time.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from routing_jax.mesh import sum_by_examples
from routing_jax.products import gradient_of_kernel, gradient_of_rows, product

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
    return _conv(x, kernel, (stride, zeros, outputs))


_Places = tuple[int, tuple[int, int], tuple[int, int]]
"""Stride, zeros in front and sides of the result."""


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: jax.Array, kernel: jax.Array, places: _Places) -> jax.Array:
    """The convolution. The gradient is written down for the sake of several devices.

    They are to add up gradients of the kernel, which are smaller than those of the matrix.
    """
    outputs = places[2]
    matrix = _matrix(kernel, x.shape[1:3], places)
    return product(x.reshape(x.shape[0], -1), matrix).reshape(x.shape[0], *outputs, -1)


def _conv_forward(x, kernel, places):
    return _conv(x, kernel, places), (x, kernel)


def _conv_backward(places, residuals, gradient):
    x, kernel = residuals
    to_matrix = partial(_matrix, sides=x.shape[1:3], places=places)

    def of_kernel(x: jax.Array, gradient: jax.Array) -> jax.Array:
        of_matrix = gradient_of_kernel(*(a.reshape(a.shape[0], -1) for a in (x, gradient)))
        return jax.linear_transpose(to_matrix, kernel)(of_matrix)[0]

    of_rows = gradient_of_rows(gradient.reshape(x.shape[0], -1), to_matrix(kernel))
    return of_rows.reshape(x.shape), sum_by_examples(of_kernel, x, gradient)


_conv.defvjp(_conv_forward, _conv_backward)


def _matrix(kernel: jax.Array, sides: tuple[int, int], places: _Places) -> jax.Array:
    """What a flattened map of these sides is multiplied by."""
    stride, zeros, outputs = places
    rows = _spread(kernel, 0, sides[0], -zeros[0], stride, outputs[0])
    both = _spread(rows, 2, sides[1], -zeros[1], stride, outputs[1])
    matrix = both.transpose(1, 3, 4, 0, 2, 5)
    return matrix.reshape(math.prod(matrix.shape[:3]), -1)


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
