"""Mixing weights: how much each task takes of each block at each depth.

Zhmoginov, Bashkirova, Sandler, "Compositional Models: Multi-Task Learning and Knowledge Transfer
with Modular Networks", 2021. The weights of a task at a depth are a softmax over the blocks; the
logits learn by back-propagation, in whichever way the blocks are applied.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

Value = jax.Array | float


class Mixing(nn.Module):
    """Learned mixing weights.

    Attributes:
      rows: T, or 1 where all tasks mix alike.
      depth: D.
      num_blocks: K.
      pure: take the block of the largest weight alone; see `take_largest`.
      alike: all rows start from the same logits.
    """

    rows: int
    depth: int
    num_blocks: int
    pure: bool = False
    alike: bool = False

    def setup(self) -> None:
        start = alike_logits if self.alike else uneven_logits
        self.logits = self.param("logits", start, (self.rows, self.depth, self.num_blocks))
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


def uneven_logits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Logits [..., K] to start from, uniform as Glorot's initialiser of a row of K.

    No two places start alike.
    """
    bound = math.sqrt(6 / (1 + shape[-1]))
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def alike_logits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Logits [rows, ..., K] to start from, the same in each row: depths differ, tasks not."""
    return jnp.broadcast_to(uneven_logits(key, (1, *shape[1:])), shape)


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
