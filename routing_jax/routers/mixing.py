"""Mixing weights: how much each task takes of each block at each depth.

Zhmoginov, Bashkirova, Sandler, "Compositional Models: Multi-Task Learning and Knowledge Transfer
with Modular Networks", 2021. The weights of a task at a depth are a softmax over the blocks; the
logits learn by back-propagation, in whichever way the blocks are applied.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Value = jax.Array | float
Start = Callable[[jax.Array, tuple[int, ...]], jax.Array]
"""From a key and a shape [rows, D, K], the logits to start from."""

_MOSTLY = 0.9
"""The weight that an ordered start gives to the one block of a depth, at a temperature of 1."""


def uneven_logits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Logits [..., K] to start from, uniform as Glorot's initialiser of a row of K.

    No two places start alike.
    """
    bound = math.sqrt(6 / (1 + shape[-1]))
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def alike_logits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Logits [rows, ..., K] to start from, the same in each row: depths differ, tasks not."""
    return jnp.broadcast_to(uneven_logits(key, (1, *shape[1:])), shape)


def cycle_logits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Logits [rows, D, K] of an order that goes through the blocks again and again: 0 1 0 1.

    A block has a weight of 0.9 where it is its turn, at a temperature of 1; the others learn too.
    """
    del key
    return _ordered(np.arange(shape[1]) % shape[2], shape)


def sequence_logits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Logits [rows, D, K] of an order that repeats each block before it takes the next: 0 0 1 1.

    Where there are more blocks than depths, some have no turn. Else as `cycle_logits`; "sequence"
    and "cycle" are the terms of Takase and Kiyono, "Lessons on Parameter Sharing across Layers in
    Transformers", 2021.
    """
    del key
    return _ordered(np.arange(shape[1]) * shape[2] // shape[1], shape)


STARTS: dict[str, Start] = {
    "uneven": uneven_logits,
    "alike": alike_logits,
    "cycle": cycle_logits,
    "sequence": sequence_logits,
    "source": uneven_logits,  # the rows that a source has take the place of these
}
"""By the name in `router.mixing_start`."""


class Mixing(nn.Module):
    """Learned mixing weights.

    Attributes:
      rows: T, or 1 where all tasks mix alike.
      depth: D.
      num_blocks: K.
      pure: take the block of the largest weight alone; see `take_largest`.
      start: draws the logits to start from.
    """

    rows: int
    depth: int
    num_blocks: int
    pure: bool = False
    start: Start = uneven_logits

    def setup(self) -> None:
        self.logits = self.param("logits", self.start, (self.rows, self.depth, self.num_blocks))
        # Evaluation has to mix as training did when it stopped.
        self.temperature = self.variable("batch_stats", "temperature", lambda: jnp.ones(()))

    def weights(self, temperature: Value | None = None) -> jax.Array:
        """The weights, float32 [rows, D, K].

        Args:
          temperature: above 0, divides the logits; it is kept for later. None for the one kept.
        """
        if temperature is None:
            temperature = self.temperature.value
        elif self.is_mutable_collection("batch_stats"):
            self.temperature.value = jnp.asarray(temperature, jnp.float32)
        soft = jax.nn.softmax(self.logits / temperature)
        return take_largest(soft) if self.pure else soft


class FixedMixing(nn.Module):
    """Weights that nothing changes; has no parameters.

    Attributes:
      table: the weights as nested tuples, [rows, D, K].
    """

    table: tuple[tuple[tuple[float, ...], ...], ...]

    def weights(self, temperature: Value | None = None) -> jax.Array:
        """float32 [rows, D, K]."""
        del temperature
        return jnp.asarray(self.table, jnp.float32)


def take_largest(weights: jax.Array) -> jax.Array:
    """1 for the largest weight [..., K], the first of equals, and 0 for the others.

    The gradient is that of the weights themselves (straight-through).
    """
    largest = jax.nn.one_hot(weights.argmax(-1), weights.shape[-1], dtype=weights.dtype)
    # In this order the value is exactly 0 or 1.
    return largest + (weights - jax.lax.stop_gradient(weights))


def one_hot_table(
    routes: tuple[tuple[int, ...], ...], num_blocks: int
) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Weights [rows, D, K] that take one block at each depth, for routes [T, D].

    One row stands for all tasks where their routes are the same.
    """
    rows = routes[:1] if len(set(routes)) == 1 else routes
    return tuple(
        tuple(tuple(float(k == block) for k in range(num_blocks)) for block in route)
        for route in rows
    )


def _ordered(order: np.ndarray, shape: tuple[int, ...]) -> jax.Array:
    """Logits [rows, D, K] that weigh the block order[d] most; zeros where K = 1."""
    num_blocks = shape[-1]
    gap = math.log(_MOSTLY * (num_blocks - 1) / (1 - _MOSTLY)) if num_blocks > 1 else 0.0
    return jnp.broadcast_to(gap * jax.nn.one_hot(order, num_blocks), shape)
