"""Allocation of blocks to tasks: an on/off variable for each task, depth and block.

Maziarz, Kokiopoulou, Gesmundo, Sbaiz, Bartok, Berent, "Gumbel-Matrix Routing for Flexible
Multi-task Learning", 2019. Each variable has two logits, [..., on and off]; they learn by
back-propagation through a straight-through Gumbel-softmax sample.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax.types import Exploration

Value = jax.Array | float


class Allocation(nn.Module):
    """Learned on/off variables.

    Attributes:
      num_tasks: T.
      depth: D.
      num_blocks: K.
      start_probability: that a variable is on, at the start; in (0, 1).
    """

    num_tasks: int
    depth: int
    num_blocks: int
    start_probability: float = 0.5

    default_exploration = Exploration()

    def setup(self) -> None:
        self.logits = self.param("logits", self._start)

    def probabilities(self) -> jax.Array:
        """That each variable is on: float32 [T, D, K]."""
        return jax.nn.softmax(self.logits)[..., 0]

    def sample(self, key: jax.Array, temperature: Value) -> jax.Array:
        """On (1) or off (0), float32 [T, D, K]; see `sample_switches`."""
        return sample_switches(key, self.logits, temperature)

    def best(self) -> jax.Array:
        """The more probable state, on where both are equal: float32 [T, D, K]."""
        return (self.logits[..., 0] >= self.logits[..., 1]).astype(jnp.float32)

    def _start(self, key: jax.Array) -> jax.Array:
        del key
        on = jnp.asarray(self.start_probability, jnp.float32)
        return jnp.tile(jnp.log(jnp.stack([on, 1 - on])), (*self.shape, 1))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, D, K)."""
        return self.num_tasks, self.depth, self.num_blocks


class FixedAllocation(nn.Module):
    """Switches that nothing changes; has no parameters.

    Attributes:
      switches: 0 or 1 for each task, depth and block, nested tuples [T, D, K].
    """

    switches: tuple[tuple[tuple[int, ...], ...], ...]

    default_exploration = Exploration()

    def probabilities(self) -> jax.Array:
        """As `best`."""
        return self.best()

    def sample(self, key: jax.Array, temperature: Value) -> jax.Array:
        """As `best`."""
        del key, temperature
        return self.best()

    def best(self) -> jax.Array:
        """float32 [T, D, K]."""
        return jnp.asarray(self.switches, jnp.float32)

    @property
    def num_tasks(self) -> int:
        """T."""
        return len(self.switches)

    @property
    def depth(self) -> int:
        """D."""
        return len(self.switches[0])

    @property
    def num_blocks(self) -> int:
        """K."""
        return len(self.switches[0][0])


def sample_switches(key: jax.Array, logits: jax.Array, temperature: Value) -> jax.Array:
    """A hard sample of on/off variables with the gradient of a soft one.

    With Gumbel noise g on both logits the soft sample is the "on" entry of
    `softmax((logits + g) / temperature)`; of two entries that is a sigmoid of their difference, and
    the difference of two Gumbel variables is a logistic one. The value is 1 where the soft sample
    is above one half, whatever the temperature; the gradient is that of the soft sample.

    Args:
      key: a random key.
      logits: float32 [..., 2], on and off.
      temperature: above 0.

    Returns:
      float32 [...], 0 or 1.
    """
    difference = logits[..., 0] - logits[..., 1]
    soft = jax.nn.sigmoid((difference + jax.random.logistic(key, difference.shape)) / temperature)
    hard = (soft > 0.5).astype(soft.dtype)
    # In this order the value is exactly 0 or 1.
    return hard + (soft - jax.lax.stop_gradient(soft))


def mean_weights(switches: jax.Array) -> jax.Array:
    """Weights for the mean of the blocks that are on; zeros where none is.

    The gradient flows through the number of blocks too.
    """
    return switches / jnp.maximum(switches.sum(-1, keepdims=True), 1)


class Penalties(NamedTuple):
    """What is added to a task's loss for its probabilities p [D, K] of being on; scalars."""

    budget: Value
    """Share of all blocks that costs nothing, in [0, 1]."""
    budget_weight: Value
    """Times the mean of p beyond the budget."""
    certainty_weight: Value
    """Times progress times the sum of the variables' entropies, in nats."""
    empty_weight: Value
    """Times the sum over depths of the probability that no block is on."""
    count_weight: Value
    """Times the sum of p."""


def penalty(probabilities: jax.Array, penalties: Penalties, progress: Value) -> jax.Array:
    """The penalty of all tasks, their mean as that of the losses: a scalar.

    Args:
      probabilities: float32 [T, D, K], that each variable is on.
      penalties: the weights.
      progress: of training, from 0 to 1.
    """
    excess = jnp.maximum(probabilities.mean((1, 2)) - penalties.budget, 0)
    off = 1 - probabilities
    entropy = (_entropy(probabilities) + _entropy(off)).sum((1, 2))
    of_task = (
        penalties.budget_weight * excess
        + penalties.certainty_weight * progress * entropy
        + penalties.empty_weight * off.prod(-1).sum(-1)
        + penalties.count_weight * probabilities.sum((1, 2))
    )
    return of_task.mean()


def _entropy(probability: jax.Array) -> jax.Array:
    """`-p log p`; its slope is infinite at 0, where a switch has none."""
    return jax.scipy.special.entr(jnp.maximum(probability, jnp.finfo(probability.dtype).tiny))
