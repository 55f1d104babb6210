"""The block and the end of an isometric network: one resolution and one width from end to end.

Sandler et al., "Non-discriminative data or weak model? On the relative importance of data and model
resolution", 2019, for the idea; block and end as in Zhmoginov, Bashkirova and Sandler,
"Compositional Models: Multi-Task Learning and Knowledge Transfer with Modular Networks", 2021. As
all blocks have one configuration, they can be added, removed, reordered, reused and mixed.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax.depthwise import DepthwiseConv3x3
from routing_jax.products import dot_general

MOMENTUM = 0.9
"""Of the running averages, per step."""
_HE = nn.initializers.he_normal()


class InvertedResidual(nn.Module):
    """x + project(depthwise 3x3(expand(x))): [m, height, width, channels] to the same shape.

    Each of the three is followed by a batch normalisation, the first two by ReLU; nothing follows
    the sum. The scales and offsets of the normalisations are parameters of the block as its kernels
    are; the running averages are not, so that one block can have others in each place that calls
    it. Nothing depends on the batch unless it is trained.

    Attributes:
      features: channels of the input.
      expansion: how many times as many channels stand between the two ends.
      normalised_over: name of the `vmap` axis over which training normalises too, if any.
    """

    features: int
    expansion: int = 6
    dtype: jnp.dtype = jnp.float32
    normalised_over: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Runs the block; `train` normalises by the batch and moves the running averages."""
        y = self._product(self.expansion * self.features)(x)
        y = nn.relu(self._normalisation(train)(y))
        y = DepthwiseConv3x3(self.dtype)(y)
        y = nn.relu(self._normalisation(train)(y))
        y = self._product(self.features)(y)
        return x + self._normalisation(train)(y)

    def multiply_adds(self, inputs: tuple[int, ...]) -> int:
        """Of the three convolutions, for one example of shape `inputs`."""
        height, width, channels = inputs
        wide = self.expansion * self.features
        return height * width * (channels * wide + 9 * wide + wide * self.features)

    def _product(self, features: int) -> nn.Module:
        """A 1x1 convolution; a bias would be taken out again by the normalisation."""
        return nn.Dense(
            features, use_bias=False, dtype=self.dtype, kernel_init=_HE, dot_general=dot_general
        )

    def _normalisation(self, train: bool) -> nn.Module:
        return batch_norm(train=train, dtype=self.dtype, over=self.normalised_over)


def batch_norm(
    *, train: bool, dtype: jnp.dtype, over: str | None, name: str | None = None
) -> nn.Module:
    """The normalisation of residual blocks.

    Args:
      train: normalise by the batch and move the running averages; else by the averages.
      dtype: of the output.
      over: name of a `vmap` axis that belongs to the batch, if any.
      name: of the module; None for Flax's.
    """
    return nn.BatchNorm(
        use_running_average=not train, momentum=MOMENTUM, dtype=dtype, axis_name=over, name=name
    )


class OutputAdapter(nn.Module):
    """What stands between the last map and the heads: [..., height, width, channels] to [..., F].

    1x1 convolution, ReLU, mean over the map, fully connected layer, ReLU.
    """

    widths: tuple[int, int] = (128, 256)
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width, pool in zip(self.widths, (True, False), strict=True):
            x = nn.relu(nn.Dense(width, dtype=self.dtype, kernel_init=_HE)(x))
            x = x.mean((-3, -2)) if pool else x
        return x
