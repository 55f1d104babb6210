"""The blocks and the end of a plain residual network for small images.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016, sections 3.3 and 4.2; its
earlier stages are `models.encoders.ResNetStem`. The network halves the map and doubles the channels
from stage to stage, so it is not isometric as a whole; within a stage all blocks but the first have
one configuration, and those can be reused and mixed as in an isometric network.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax.convolution import Conv3x3
from routing_jax.isometric import batch_norm


class BasicBlock(nn.Module):
    """ReLU(shortcut + two 3x3 convolutions): maps [m, height, width, channels] to `features`.

    A batch normalisation follows each convolution, ReLU the first one and the sum. The shortcut has
    no parameters: it leaves out rows and columns, and adds channels of zeros (option A there).

    Attributes:
      features: channels of the output, at least those of the input.
      stride: of the first convolution.
      normalised_over: name of the `vmap` axis over which training normalises too, if any.
    """

    features: int
    stride: int = 1
    dtype: jnp.dtype = jnp.float32
    normalised_over: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Runs the block; `train` normalises by the batch and moves the running averages."""
        y = Conv3x3(self.features, self.dtype, self.stride)(x)
        y = nn.relu(self._normalisation(train)(y))
        y = Conv3x3(self.features, self.dtype)(y)
        return nn.relu(self._shortcut(x) + self._normalisation(train)(y))

    def multiply_adds(self, inputs: tuple[int, ...]) -> int:
        """Of the two convolutions, for one example of shape `inputs`."""
        height, width, channels = inputs
        places = -(-height // self.stride) * -(-width // self.stride)
        return places * 9 * self.features * (channels + self.features)

    def _normalisation(self, train: bool) -> nn.Module:
        return batch_norm(train=train, dtype=self.dtype, over=self.normalised_over)

    def _shortcut(self, x: jax.Array) -> jax.Array:
        kept = x[..., :: self.stride, :: self.stride, :].astype(self.dtype)
        new = (0, self.features - x.shape[-1])
        return jnp.pad(kept, [(0, 0)] * (x.ndim - 1) + [new])


class MeanOverMap(nn.Module):
    """The end of the network: [..., height, width, channels] to [..., channels]."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x.mean((-3, -2))
