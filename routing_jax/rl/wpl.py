"""The Weighted Policy Learner: its two conventions, and what keeps a table a distribution."""

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


def clip_and_renormalise(
    policy: jax.Array, floor: jax.Array | float = 0.0, allowed: jax.Array | None = None
) -> jax.Array:
    """Back to a distribution: clip to [floor, 1] and share out what is left in proportion.

    Without a floor it is the simplex projection of "Routing Networks" (not the Euclidean one): clip
    to [0, 1] and divide by the sum. A distribution that keeps the floor stays as it is. Where
    everything is clipped away the result is uniform.

    Args:
      policy: [..., A].
      floor: smallest probability of an action that is offered; at most 1 / A.
      allowed: bool [..., A], the actions offered; all if None. Others get probability zero.
    """
    allowed = jnp.broadcast_to(True if allowed is None else allowed, policy.shape)
    least = jnp.where(allowed, floor, 0.0)
    excess = jnp.where(allowed, jnp.maximum(jnp.minimum(policy, 1.0) - least, 0.0), 0.0)
    total = excess.sum(-1, keepdims=True)
    offered = allowed.astype(policy.dtype)
    equal = offered / offered.sum(-1, keepdims=True)
    share = jnp.where(total > 0, excess / jnp.where(total > 0, total, 1.0), equal)
    return least + (1 - least.sum(-1, keepdims=True)) * share
