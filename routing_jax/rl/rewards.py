"""Rewards of a routed batch (Rosenbaum et al. 2018, section 3)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


def correctness(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Final reward: +1 where the prediction is right, -1 where it is wrong.

    Args:
      logits: [..., C].
      labels: int32 [...].

    Returns:
      float32 [...].
    """
    return jnp.where(logits.argmax(-1) == labels, 1.0, -1.0)


def negative_loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Final reward: the negative cross-entropy in nats. Shapes as in `correctness`."""
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    return jnp.take_along_axis(log_probs, labels[..., None], axis=-1)[..., 0]


FINAL_REWARDS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "correctness": correctness,
    "negative_loss": negative_loss,
}


def collaboration(popularity: jax.Array, actions: jax.Array) -> jax.Array:
    """Reward of each decision: how popular the chosen action is at that depth, over all tasks.

    Times rho it is the collaboration reward, which draws tasks onto few blocks.

    Args:
      popularity: float32 [D, A], in 0..1.
      actions: int32 [..., D].

    Returns:
      float32 [..., D].
    """
    return popularity[jnp.arange(popularity.shape[0]), actions]


class UsageHistory(NamedTuple):
    """The last W decisions at each depth, over all tasks."""

    actions: jax.Array
    """int32 [D, W], oldest first; -1 where nothing was decided yet."""


def empty_usage(depth: int, window: int) -> UsageHistory:
    """A history of no decisions; `window` is W, in decisions."""
    return UsageHistory(jnp.full((depth, window), -1, jnp.int32))


def remember(history: UsageHistory, actions: jax.Array) -> UsageHistory:
    """Appends a batch of decisions and forgets the oldest.

    The batch counts example by example, and within an example index task by task, so that a window
    shorter than a batch still holds the decisions of every task.

    Args:
      history: the decisions so far.
      actions: int32 [T, n, D].
    """
    window = history.actions.shape[1]
    latest = actions.transpose(2, 1, 0).reshape(actions.shape[2], -1)
    return UsageHistory(jnp.concatenate([history.actions, latest], axis=1)[:, -window:])


def usage(history: UsageHistory, num_actions: int) -> jax.Array:
    """The share of remembered decisions that chose each action: float32 [D, A], zero at first."""
    counts = jax.nn.one_hot(history.actions, num_actions).sum(1)
    return counts / jnp.maximum(counts.sum(1, keepdims=True), 1)
