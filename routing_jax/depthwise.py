"""Depthwise convolution, and maps with their pixels folded into channels.

As in `convolution`, CPU takes shifted slices: here times one number per channel, added up. Nothing
of it is a matrix product, so it is bound by memory, and a `vmap` over kernels costs nothing extra.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax.convolution import Method
from routing_jax.mesh import sum_by_examples


def depthwise_conv(x: jax.Array, kernel: jax.Array, *, method: Method = "auto") -> jax.Array:
    """Convolution of each channel by itself, stride 1, zeros around the map.

    Args:
      x: [B, height, width, channels].
      kernel: [rows, columns, channels], both sides odd.
      method: see `convolution.conv`.

    Returns:
      As `x`.
    """
    if method == "auto":
        method = "slices" if jax.default_backend() == "cpu" else "native"
    if method == "slices":
        return _by_slices(x, kernel)
    return jax.lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@jax.custom_vjp
def _by_slices(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The gradient is written down: by itself it would add nine padded maps into place."""
    rows, columns = kernel.shape[:2]
    shifted = _shifted(x, rows, columns)
    return sum(part * factor for part, factor in zip(shifted, _factors(kernel), strict=True))


def _forward(x: jax.Array, kernel: jax.Array):
    return _by_slices(x, kernel), (x, kernel)


def _backward(residuals, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    of_x = _by_slices(gradient, kernel[::-1, ::-1])
    of_kernel = _gradient_of_kernel(x, gradient, kernel.shape[:2])
    return of_x, of_kernel.astype(kernel.dtype)


_by_slices.defvjp(_forward, _backward)


def _gradient_of_kernel(x: jax.Array, gradient: jax.Array, sides: tuple[int, int]) -> jax.Array:
    """float32 [rows, columns, channels], for x and gradient [B, height, width, channels].

    Nine sums over all examples read both maps nine times from memory. Here the examples take turns,
    and each is read once into a map of sums for each place, which stay in the cache; so do those of
    a `vmap`, over tasks with kernels of their own.
    """

    def add(sums: list[jax.Array], example: tuple[jax.Array, jax.Array]):
        one, own = (array[None].astype(jnp.float32) for array in example)
        parts = _shifted(one, *sides)
        return [total + (part * own)[0] for total, part in zip(sums, parts, strict=True)], None

    @jax.custom_batching.sequential_vmap
    def summed(x: jax.Array, gradient: jax.Array) -> jax.Array:
        start = [jnp.zeros(x.shape[1:]) for _ in range(sides[0] * sides[1])]
        sums, _ = jax.lax.scan(add, start, (x, gradient))
        return jnp.stack([total.sum((0, 1)) for total in sums]).reshape(*sides, -1)

    return sum_by_examples(summed, x, gradient)


def _shifted(x: jax.Array, rows: int, columns: int) -> list[jax.Array]:
    """What each place of the kernel sees: as many maps as `x` as the kernel has places."""
    height, width = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0)))
    return [
        x[:, row : row + height, column : column + width]
        for row in range(rows)
        for column in range(columns)
    ]


def _factors(kernel: jax.Array) -> jax.Array:
    """[places, 1, 1, 1, channels]."""
    return kernel.reshape(-1, 1, 1, 1, kernel.shape[-1])


class DepthwiseConv3x3(nn.Module):
    """3x3 depthwise convolution without bias (a normalisation follows it)."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # He's initialiser counts what one output sees: nine places of one channel.
        start = nn.initializers.variance_scaling(
            2.0, "fan_in", "truncated_normal", in_axis=(0, 1), out_axis=(), batch_axis=2
        )
        kernel = self.param("kernel", start, (3, 3, x.shape[-1]))
        return depthwise_conv(x.astype(self.dtype), kernel.astype(self.dtype))


def space_to_depth(x: jax.Array, factor: int) -> jax.Array:
    """Folds squares of `factor` x `factor` pixels into channels.

    Args:
      x: [B, height, width, channels], height and width multiples of `factor`.
      factor: side of a square.

    Returns:
      [B, height // factor, width // factor, factor * factor * channels].
    """
    batch, height, width, channels = x.shape
    rows, columns = height // factor, width // factor
    x = x.reshape(batch, rows, factor, columns, factor, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, -1)
