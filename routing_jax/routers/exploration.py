"""From a policy's outputs to the probabilities that actions are drawn with.

Outputs mean one of three things:

============= ==========================================================================
probabilities a distribution over the actions, kept one by the optimizer (WPL's table)
logits        unnormalised log-probabilities (policy gradients, reparameterised routers)
values        expected returns of the actions (Q-learning and its relatives)
============= ==========================================================================
"""

import jax
import jax.numpy as jnp

from routing_jax.threefry import uniform
from routing_jax.types import Exploration

_NEVER = -1e9
"""Logit of an action that is not offered; finite, so that nothing becomes NaN in a gradient."""


def start(allowed: jax.Array) -> jax.Array:
    """The uniform distribution over the allowed actions: bool [..., A] to float32 [..., A]."""
    allowed = allowed.astype(jnp.float32)
    return allowed / allowed.sum(-1, keepdims=True)


def mask(outputs: jax.Array, allowed: jax.Array) -> jax.Array:
    """Outputs [..., A] with those of actions that are not offered (bool [..., A]) out of reach."""
    return jnp.where(jnp.broadcast_to(allowed, outputs.shape), outputs, _NEVER)


def log_policy(
    outputs: jax.Array, allowed: jax.Array, *, kind: str, temperature: jax.Array | float
) -> jax.Array:
    """Log-probabilities of the policy itself, without epsilon.

    Args:
      outputs: float32 [..., A].
      allowed: bool, broadcasts to `outputs`.
      kind: what the outputs are, see above.
      temperature: the distribution is `softmax(logits / temperature)`; for values 0 stands for
        certainty of the best action, the first of equals.

    Returns:
      float32 [..., A].
    """
    if kind == "probabilities":
        return jax.nn.log_softmax(jnp.log(outputs) / temperature)
    # Divided first and masked then, so that no temperature brings back what is not offered.
    if kind == "logits":
        return jax.nn.log_softmax(mask(outputs / temperature, allowed))
    best = mask(outputs, allowed).argmax(-1)
    greedy = jax.nn.one_hot(best, outputs.shape[-1], dtype=bool)
    divisor = jnp.where(temperature > 0, temperature, 1.0)
    soft = jax.nn.log_softmax(mask(outputs / divisor, allowed))
    return jnp.where(temperature > 0, soft, jnp.where(greedy, 0.0, _NEVER))


def log_behaviour(
    outputs: jax.Array, allowed: jax.Array, exploration: Exploration, *, kind: str
) -> jax.Array:
    """Log-probabilities that actions are drawn with: the policy, mixed with a uniform draw.

    Arguments and result as for `log_policy`; with epsilon = 0 they are the same.
    """
    policy = log_policy(outputs, allowed, kind=kind, temperature=exploration.temperature)
    epsilon = jnp.asarray(exploration.epsilon, jnp.float32)
    allowed = jnp.broadcast_to(allowed, policy.shape)
    # Masked at the end: with epsilon = 1 both parts may be minus infinity, whose gradient is NaN.
    even = jnp.log(jnp.where(allowed, start(allowed), 1.0))
    return mask(jnp.logaddexp(jnp.log1p(-epsilon) + policy, jnp.log(epsilon) + even), allowed)


def sample(key: jax.Array, probabilities: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws actions by inverting the distribution function.

    One random number a decision, where the Gumbel trick of `jax.random.categorical` takes A, which
    costs more than a routed layer.

    Args:
      key: a random key.
      probabilities: float32 [..., A], need not add up to exactly 1.
      shape: of the result; `probabilities` without its last axis broadcasts to it.

    Returns:
      int32 `shape`.
    """
    distribution = jnp.cumsum(probabilities, axis=-1)
    # Exactly 1 from the last possible action on, so that rounding cannot lead behind it.
    distribution = distribution / distribution[..., -1:]
    numbers = uniform(key, shape)
    return (numbers[..., None] >= distribution).sum(-1).astype(jnp.int32)
