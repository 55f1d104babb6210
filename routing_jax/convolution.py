"""Convolution and pooling that stay fast inside a compiled loop and under `vmap` on CPU.

XLA's CPU backend runs the backward pass of a convolution about thirty times slower inside a loop
than outside, and turns a `vmap` over kernels into a slow grouped convolution. Nine shifted slices
times a matrix are the same sum without either trap. Other backends use their own convolution.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

Method = Literal["auto", "slices", "native"]


def conv3x3(x: jax.Array, kernel: jax.Array, *, method: Method = "auto") -> jax.Array:
    """3x3 convolution, stride 1, zero padding that keeps the resolution.

    Args:
      x: [B, height, width, channels].
      kernel: [3, 3, channels, features].
      method: "slices" (matrix product of shifted slices), "native" (the backend's convolution), or
        "auto": slices on CPU, native elsewhere.

    Returns:
      [B, height, width, features].
    """
    if method == "auto":
        method = "slices" if jax.default_backend() == "cpu" else "native"
    if method == "native":
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = jnp.concatenate(
        [
            padded[:, row : row + height, column : column + width]
            for row in range(3)
            for column in range(3)
        ],
        axis=-1,
    )
    return columns @ kernel.reshape(-1, kernel.shape[-1])


def halve(x: jax.Array) -> jax.Array:
    """2x2 max-pooling with stride 2; an odd last row or column is cropped.

    A reshape and a maximum: its backward pass on CPU costs a fraction of that of a reduce-window.

    Args:
      x: [B, height, width, channels].

    Returns:
      [B, height // 2, width // 2, channels].
    """
    batch, height, width, channels = x.shape
    rows, columns = height // 2, width // 2
    windows = x[:, : 2 * rows, : 2 * columns].reshape(batch, rows, 2, columns, 2, channels)
    return windows.max(axis=(2, 4))


class Conv3x3(nn.Module):
    """3x3 convolution without bias (a normalisation follows it); see `conv3x3`."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        return conv3x3(x.astype(self.dtype), kernel.astype(self.dtype))
