"""RELAX: an unbiased policy gradient with a learned control variate (Grathwohl et al., ICLR 2018).

Notation as in the paper: b the action, z its noisy logits, z_tilde noisy logits drawn again given
b, c the control variate.
"""

import jax
import jax.numpy as jnp

from routing_jax.types import Transitions

_TEMPERATURE = 0.5
"""Of the relaxed actions that the control variate sees; as in Rosenbaum et al.'s released code."""
_TINY = 1e-20


def relax(t: Transitions) -> jax.Array:
    """The loss of RELAX per decision, [T, n, D].

    Its gradient in the policy is minus the estimator
    `(q - c(z_tilde)) d log p(b) + d c(z) - d c(z_tilde)`, all with respect to the
    log-probabilities, and in the control variate that of the estimator's squared norm.
    """
    logits = jax.lax.stop_gradient(t.recall.log_probs)
    taken = jax.nn.one_hot(t.actions, logits.shape[-1], dtype=logits.dtype)
    first, second = jax.random.split(t.key)
    # (b, z) may be drawn in either order: given b, z is a draw like z_tilde, but moves with the
    # logits as an unconditional draw does, by the same amount.
    noise = conditional(logits, taken, first) - logits

    def guesses(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        again = _relaxed(conditional(logits, taken, second))
        return t.control(_relaxed(logits + noise)), t.control(again)

    def difference(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        ahead, again = guesses(logits)
        return (ahead - again).sum(), again

    correction, again = jax.grad(difference, has_aux=True)(logits)
    score = taken - jnp.exp(logits)
    estimate = (t.returns - again)[..., None] * score + correction
    return -(jax.lax.stop_gradient(estimate) * t.recall.log_probs).sum(-1) + (estimate**2).sum(-1)


def conditional(logits: jax.Array, taken: jax.Array, key: jax.Array) -> jax.Array:
    """Gumbel-noisy logits given that `taken` has the largest one (appendix C of the paper).

    Args:
      logits: log-probabilities [..., A].
      taken: one-hot [..., A].
      key: a random key.
    """
    uniform = jax.random.uniform(key, logits.shape, minval=_TINY, maxval=1.0)
    negative_log = -jnp.log(uniform)
    largest = jnp.log((taken * negative_log).sum(-1, keepdims=True))
    # -log(-log(u) / p + ...) in logarithms, as p is zero where an action is not offered.
    others = jnp.logaddexp(jnp.log(negative_log) - logits, largest)
    return -jnp.where(taken > 0, largest, others)


def _relaxed(noisy: jax.Array) -> jax.Array:
    return jax.nn.softmax(noisy / _TEMPERATURE)
