"""Mixtures of blocks in a model of one's own: softmax weights of each task at each depth."""

import flax.linen as nn
import jax

from routing_jax.routers.mixing import uneven_logits
from routing_jax.types import Exploration

MIXED = ("outputs", "parameters")
"""What of the blocks may be mixed."""


class Mixture(nn.Module):
    """Learned weights of all blocks, in place of a router that chooses; for `RoutedStack`.

    The weights are a softmax and learn by back-propagation, with any optimizer. Mixed outputs are
    the soft mixture of Rosenbaum et al. 2018 and cost all K blocks; mixed parameters are one block
    for each task and depth (Zhmoginov et al. 2021, "Compositional Models"), and cost one.

    Attributes:
      num_tasks: T.
      depth: D.
      num_blocks: K.
      of: what is mixed, `"outputs"`, whose weights start equal, or `"parameters"`, whose weights
        start unequal, so that no two places run the same block.

    Raises:
      ValueError: nothing of that name can be mixed.
    """

    num_tasks: int
    depth: int
    num_blocks: int
    of: str = "outputs"

    default_exploration = Exploration()

    def setup(self) -> None:
        if self.of not in MIXED:
            raise ValueError(f"of = {self.of!r} is not one of: {', '.join(MIXED)}.")
        start = nn.initializers.zeros if self.of == "outputs" else uneven_logits
        shape = (self.num_tasks, self.depth, self.num_blocks)
        self.logits = self.param("logits", start, shape)

    def weights(self) -> jax.Array:
        """Positive, with sum 1 over the blocks: float32 [T, D, K]."""
        return jax.nn.softmax(self.logits)
