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
    return bootstrapped(rewards, rewards, discount, trace=1.0)


def bootstrapped(
    rewards: jax.Array,
    values: jax.Array,
    discount: jax.Array | float,
    *,
    trace: jax.Array | float = 0.0,
) -> jax.Array:
    """Targets `g_i = r_i + discount * ((1 - trace) * v_(i+1) + trace * g_(i+1))`.

    Nothing follows the last decision. The lambda-return of Sutton and Barto, "Reinforcement
    Learning", 2nd edition, section 12.1: one-step targets for trace 0, returns for trace 1.

    Args:
      rewards: float32 [..., D], the last one with the final reward.
      values: float32 [..., D], of the states (or of what is done in them).
      discount: in [0, 1].
      trace: lambda, in [0, 1].

    Returns:
      float32 [..., D].
    """
    targets = [rewards[..., -1]]
    for step in reversed(range(rewards.shape[-1] - 1)):
        behind = (1 - trace) * values[..., step + 1] + trace * targets[-1]
        targets.append(rewards[..., step] + discount * behind)
    return jnp.stack(targets[::-1], axis=-1)
