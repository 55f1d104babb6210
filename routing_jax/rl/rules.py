"""Learning rules, each a pure function."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def wpl_routing_networks(advantage: jax.Array, probability: jax.Array) -> jax.Array:
    """WPL as "Routing Networks" writes it: a gain times pi, a loss times 1 - pi.

    Good actions that are already likely grow faster: the policy commits. (Rosenbaum et al. 2018,
    algorithm 3.)

    Args:
      advantage: [...].
      probability: [...], pi of the action that the advantage belongs to.
    """
    return advantage * jnp.where(advantage > 0, probability, 1 - probability)


def wpl_abdallah_lesser(advantage: jax.Array, probability: jax.Array) -> jax.Array:
    """The Weighted Policy Learner itself: a gain times 1 - pi, a loss times pi.

    The policy slows down as it nears certainty. (Abdallah and Lesser, "A Multiagent Reinforcement
    Learning Algorithm with Non-linear Dynamics", JAIR 2008.) Arguments as in
    `wpl_routing_networks`.
    """
    return advantage * jnp.where(advantage > 0, 1 - probability, probability)


WPL_CONVENTIONS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "routing_networks": wpl_routing_networks,
    "abdallah_lesser": wpl_abdallah_lesser,
}


def clip_and_renormalise(policy: jax.Array) -> jax.Array:
    """Back to a distribution: clip to [0, 1] and divide by the sum over the last axis.

    The simplex projection of "Routing Networks" (not the Euclidean one). Where everything is
    clipped to zero the result is uniform.

    Args:
      policy: [..., A].
    """
    clipped = jnp.clip(policy, 0.0, 1.0)
    total = clipped.sum(-1, keepdims=True)
    uniform = jnp.full_like(policy, 1 / policy.shape[-1])
    return jnp.where(total > 0, clipped / jnp.where(total > 0, total, 1.0), uniform)
