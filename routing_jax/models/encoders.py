"""Encoders: uint8 images to representations, shared by all tasks.

Those of `STEMS` bring images to the resolution and width that all layers behind them keep: stems of
isometric networks, and the earlier stages of a plain residual one.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax.components import ConvChain
from routing_jax.convolution import Conv3x3
from routing_jax.depthwise import space_to_depth
from routing_jax.isometric import batch_norm
from routing_jax.normalisation import HalvedBatchNorm
from routing_jax.resnet import BasicBlock


class ConvEncoder(nn.Module):
    """The four-layer convolutional network of Ravi and Larochelle (2017).

    Each layer: 3x3 convolution, batch normalisation, 2x2 max-pooling, ReLU (both commute with the
    maximum and are cheaper behind it). A layer halves the resolution only while both sides are at
    least 4: 28-14-7-3-3, 32-16-8-4-2, 8-4-2-2-2.
    """

    features: int = 32
    layers: int = 4
    flatten: bool = True
    dtype: jnp.dtype = jnp.float32

    light: ClassVar[bool] = False
    """Cheaper to run again than to keep what it gives."""

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Encodes images.

        Args:
          images: uint8 [B, height, width, channels].
          train: normalise by the batch and update the running averages; else use the averages.

        Returns:
          `dtype` [B, F], or a map [B, height', width', features] if it is not flattened.
        """
        x = unit_range(images, self.dtype)
        for layer in range(self.layers):
            x = Conv3x3(self.features, x.dtype)(x)
            if min(x.shape[1:3]) >= 4:
                x = HalvedBatchNorm(x.dtype, name=f"BatchNorm_{layer}")(x, train=train)
            else:
                x = batch_norm(train=train, dtype=x.dtype, over=None, name=f"BatchNorm_{layer}")(x)
            x = nn.relu(x)
        return x.reshape(x.shape[0], -1) if self.flatten else x


class FlattenEncoder(nn.Module):
    """No encoder: the pixels as a vector, or vectors as they are."""

    dtype: jnp.dtype = jnp.float32

    light: ClassVar[bool] = True

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """uint8 or float32 [B, ...] to `dtype` [B, F]; `train` changes nothing."""
        del train
        x = unit_range(images, self.dtype) if images.dtype == jnp.uint8 else images
        return x.astype(self.dtype).reshape(images.shape[0], -1)


class PixelEncoder(nn.Module):
    """No encoder: the pixels as a map."""

    dtype: jnp.dtype = jnp.float32

    light: ClassVar[bool] = True

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """uint8 [B, height, width, channels] to `dtype` of the same shape."""
        del train
        return unit_range(images, self.dtype)


class PointwiseEncoder(nn.Module):
    """A 1x1 convolution, group normalisation and ReLU: the stem of Maziarz et al. (2019)."""

    features: int = 48
    dtype: jnp.dtype = jnp.float32

    light: ClassVar[bool] = True

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """uint8 [B, height, width, channels] to `dtype` [B, height, width, features]."""
        del train
        stem = ConvChain(self.features, dtype=self.dtype, sides=((1, 1),))
        return stem(unit_range(images, self.dtype))


def _divisors(side: int, features: int) -> list[int]:
    """The resolutions that images of that side can be folded to."""
    del features
    return [resolution for resolution in range(1, side + 1) if side % resolution == 0]


class StridedStem(nn.Module):
    """A convolution whose stride is its side, batch normalisation, ReLU.

    Squares that do not overlap are folded into channels, and the convolution is one product.
    """

    features: int
    resolution: int
    dtype: jnp.dtype = jnp.float32

    light: ClassVar[bool] = False
    resolutions = staticmethod(_divisors)

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """uint8 [B, side, side, channels] to `dtype` [B, resolution, resolution, features]."""
        x = _folded(images, self.resolution, self.dtype)
        x = nn.Dense(self.features, use_bias=False, dtype=self.dtype)(x)
        return nn.relu(batch_norm(train=train, dtype=self.dtype, over=None)(x))


class SpaceToDepthStem(nn.Module):
    """Pixels folded into channels, a 1x1 convolution with bias, ReLU."""

    features: int
    resolution: int
    dtype: jnp.dtype = jnp.float32

    light: ClassVar[bool] = False
    resolutions = staticmethod(_divisors)

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """As `StridedStem`; `train` changes nothing."""
        del train
        x = _folded(images, self.resolution, self.dtype)
        return nn.relu(nn.Dense(self.features, dtype=self.dtype)(x))


class PlainStem(nn.Module):
    """A 3x3 convolution at the resolution of the images, batch normalisation, leaky ReLU."""

    features: int
    resolution: int
    dtype: jnp.dtype = jnp.float32

    light: ClassVar[bool] = False

    @staticmethod
    def resolutions(side: int, features: int) -> list[int]:
        """That of the images."""
        del features
        return [side]

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """As `StridedStem`, for images whose side is `resolution`."""
        x = unit_range(images, self.dtype)
        return nn.leaky_relu(_convolved(x, self.features, train=train))


class ResNetStem(nn.Module):
    """The stages of a plain residual network before the last, and the block that opens the last.

    He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016, section 4.2, with one
    block a stage: a 3x3 convolution, batch normalisation, ReLU and a block at the resolution of the
    images; then, for each halving, a block with stride 2 and twice as many channels.
    """

    features: int
    resolution: int
    dtype: jnp.dtype = jnp.float32

    light: ClassVar[bool] = False

    @staticmethod
    def resolutions(side: int, features: int) -> list[int]:
        """Halved as often as side and channels can be."""
        halvings = range(math.gcd(side, features).bit_length())
        return [side >> n for n in halvings if math.gcd(side, features) % 2**n == 0]

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """As `StridedStem`, for images whose side is `resolution` times a power of two."""
        halvings = (images.shape[1] // self.resolution).bit_length() - 1
        x = unit_range(images, self.dtype)
        x = nn.relu(_convolved(x, self.features >> halvings, train=train))
        x = BasicBlock(x.shape[-1], dtype=self.dtype)(x, train=train)
        for _ in range(halvings):
            x = BasicBlock(2 * x.shape[-1], stride=2, dtype=self.dtype)(x, train=train)
        return x


def _convolved(x: jax.Array, features: int, *, train: bool) -> jax.Array:
    """A 3x3 convolution and its batch normalisation, as parts of the module that calls this."""
    x = Conv3x3(features, x.dtype)(x)
    return batch_norm(train=train, dtype=x.dtype, over=None)(x)


def _folded(images: jax.Array, resolution: int, dtype: jnp.dtype) -> jax.Array:
    return space_to_depth(unit_range(images, dtype), images.shape[1] // resolution)


def unit_range(images: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """uint8 0..255 to 0..1; black stays 0, as the zero padding of a convolution expects."""
    return images.astype(dtype) * jnp.asarray(1 / 255, dtype)


ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "conv4": ConvEncoder,
    "stem": partial(ConvEncoder, layers=1),
    "flatten": FlattenEncoder,
    "pixels": PixelEncoder,
    "pointwise": PointwiseEncoder,
}
STEMS: dict[str, type[nn.Module]] = {
    "strided": StridedStem,
    "space_to_depth": SpaceToDepthStem,
    "plain": PlainStem,
    "resnet": ResNetStem,
}
"""Take a width and a resolution too, one of their `resolutions` for a side and that width."""
