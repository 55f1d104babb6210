"""Returns of a trajectory."""

import jax
import jax.numpy as jnp


def discounted_returns(
    rewards: jax.Array, final_reward: jax.Array, discount: jax.Array | float
) -> jax.Array:
    """What follows from each decision: `q_i = r_i + discount * q_(i+1)`.

    The final reward comes with the last decision: `q_D = r_D + final_reward`.

    Args:
      rewards: float32 [..., D].
      final_reward: float32 [...].
      discount: in [0, 1].

    Returns:
      float32 [..., D].
    """
    depth = rewards.shape[-1]
    following = [rewards[..., -1] + final_reward]
    for step in reversed(range(depth - 1)):
        following.append(rewards[..., step] + discount * following[-1])
    return jnp.stack(following[::-1], axis=-1)
