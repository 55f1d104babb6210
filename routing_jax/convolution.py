"""Convolution and pooling that stay fast inside a compiled loop and under `vmap` on CPU.

XLA's CPU backend runs the backward pass of a convolution about thirty times slower inside a loop
than outside, and turns a `vmap` over kernels into a slow grouped convolution. Shifted slices times
a matrix are the same sum without either trap. Other backends use their own convolution.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

Method = Literal["auto", "slices", "native"]
Padding = Literal["same", "valid"]


def conv(
    x: jax.Array, kernel: jax.Array, *, padding: Padding = "same", method: Method = "auto"
) -> jax.Array:
    """Convolution with stride 1.

    Args:
      x: [B, height, width, channels].
      kernel: [rows, columns, channels, features], both sides odd.
      padding: "same" (zeros around the map keep its resolution) or "valid" (none).
      method: "slices" (matrix product of shifted slices), "native" (the backend's convolution), or
        "auto": slices on CPU, native elsewhere.

    Returns:
      [B, height, width, features], with "valid" smaller by the kernel's sides minus 1.
    """
    if method == "auto":
        method = "slices" if jax.default_backend() == "cpu" else "native"
    if method == "native":
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), padding.upper(), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    rows, columns = kernel.shape[:2]
    if padding == "same":
        x = jnp.pad(x, ((0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0)))
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    patches = jnp.concatenate(
        [
            x[:, row : row + height, column : column + width]
            for row in range(rows)
            for column in range(columns)
        ],
        axis=-1,
    )
    return patches @ kernel.reshape(-1, kernel.shape[-1])


def halve(x: jax.Array) -> jax.Array:
    """2x2 max-pooling with stride 2; an odd last row or column is cropped.

    A reshape and a maximum: its backward pass on CPU costs a fraction of that of a reduce-window.

    Args:
      x: [B, height, width, channels].

    Returns:
      [B, height // 2, width // 2, channels].
    """
    return _windows(x).max(axis=(2, 4))


def halve_by_mean(x: jax.Array) -> jax.Array:
    """2x2 average-pooling; as `halve` otherwise."""
    return _windows(x).mean(axis=(2, 4))


def _windows(x: jax.Array) -> jax.Array:
    """[B, height // 2, 2, width // 2, 2, channels]."""
    batch, height, width, channels = x.shape
    rows, columns = height // 2, width // 2
    return x[:, : 2 * rows, : 2 * columns].reshape(batch, rows, 2, columns, 2, channels)


class Conv3x3(nn.Module):
    """3x3 convolution without bias (a normalisation follows it); see `conv`."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        return conv(x.astype(self.dtype), kernel.astype(self.dtype))
