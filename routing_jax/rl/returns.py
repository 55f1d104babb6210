"""Returns of a trajectory."""

import jax
import jax.numpy as jnp


def discounted_returns(rewards: jax.Array, discount: jax.Array | float) -> jax.Array:
    """What follows from each decision: `q_i = r_i + discount * q_(i+1)`.

    Args:
      rewards: float32 [..., D], the last one with the final reward.
      discount: in [0, 1].

    Returns:
      float32 [..., D].
    """
    following = [rewards[..., -1]]
    for step in reversed(range(rewards.shape[-1] - 1)):
        following.append(rewards[..., step] + discount * following[-1])
    return jnp.stack(following[::-1], axis=-1)


def bootstrapped(rewards: jax.Array, values: jax.Array, discount: jax.Array | float) -> jax.Array:
    """One-step targets: `r_i + discount * v_(i+1)`, and nothing after the last decision.

    Args:
      rewards: float32 [..., D], the last one with the final reward.
      values: float32 [..., D], of the states (or of what is done in them).
      discount: in [0, 1].

    Returns:
      float32 [..., D].
    """
    behind = jnp.concatenate([values[..., 1:], jnp.zeros_like(values[..., :1])], axis=-1)
    return rewards + discount * behind
