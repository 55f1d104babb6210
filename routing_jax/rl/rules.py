"""Learning rules: each one pure function from a trajectory's transitions to losses.

A rule returns a loss per decision, float32 [T, n, D]. Its gradient in the router's parameters is
the update that the rule stands for; rewards and targets are constants in it. `transforms` turns a
rule into an optax transformation.

To add a rule: write a function of its name here, give it a line in `config_fields.RULES`, and test
it against hand-computed numbers (`tests/rl/test_golden_rules.py`).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from routing_jax.config_fields import RULES
from routing_jax.rl.relax import relax as relax
from routing_jax.rl.returns import bootstrapped
from routing_jax.types import Transitions

Loss = Callable[[Transitions], jax.Array]


def wpl(t: Transitions) -> jax.Array:
    """Policy hill climbing on a table of probabilities: minus advantage times probability.

    The sign-dependent factor comes behind it, on the gradient summed over a batch; see `wpl` and
    `transforms.scale_by_wpl`. (Rosenbaum et al. 2018, algorithm 3.)
    """
    return -jax.lax.stop_gradient(t.returns - t.moved_mean_return) * t.recall.value


def reinforce(t: Transitions) -> jax.Array:
    """REINFORCE without a baseline (Williams, "Simple Statistical Gradient-Following Algorithms
    for Connectionist Reinforcement Learning", 1992)."""
    return _policy_loss(t, t.returns)


def reinforce_mean(t: Transitions) -> jax.Array:
    """REINFORCE against the agent's running mean return at that depth."""
    return _policy_loss(t, t.returns - t.mean_return)


def reinforce_learned(t: Transitions) -> jax.Array:
    """REINFORCE against a learned value of the state, itself fitted to the returns."""
    value = t.recall.state_value
    return _policy_loss(t, t.returns - value) + _td_loss(value, t.returns)


def actor_critic(t: Transitions) -> jax.Array:
    """Advantage actor-critic: the TD error is the advantage (Sutton and Barto,
    "Reinforcement Learning", 2nd edition, section 13.5; without its factor discount**i)."""
    value = t.recall.state_value
    target = _target(t, value)
    return _policy_loss(t, target - value) + _td_loss(value, target)


def q_learning(t: Transitions) -> jax.Array:
    """Q-learning: bootstraps from the best next action (Watkins and Dayan, "Q-learning", Machine
    Learning, 1992)."""
    return _td_loss(t.recall.value, _target(t, t.recall.best_value))


def sarsa(t: Transitions) -> jax.Array:
    """SARSA: bootstraps from the next action taken (Rummery and Niranjan, "On-line Q-learning Using
    Connectionist Systems", 1994)."""
    return _td_loss(t.recall.value, _target(t, t.recall.value))


def expected_sarsa(t: Transitions) -> jax.Array:
    """Expected SARSA: bootstraps from the mean over next actions (van Seijen et al., "A Theoretical
    and Empirical Analysis of Expected Sarsa", 2009)."""
    return _td_loss(t.recall.value, _target(t, t.recall.expected_value))


def advantage_learning(t: Transitions, *, scale: float = 0.5) -> jax.Array:
    """Advantage learning: Q-learning with the gaps between actions stretched by 1 / scale.

    The fixed point is `max Q + (Q - max Q) / scale`; scale 1 is Q-learning. (Baird, "Residual
    Algorithms", 1995; Harmon and Baird, "Multi-player Residual Advantage Learning with General
    Function Approximation", 1996.)

    Args:
      t: the transitions.
      scale: in (0, 1].
    """
    best = t.recall.best_value
    return _td_loss(t.recall.value, best + (_target(t, best) - best) / scale)


def gumbel_softmax(t: Transitions) -> jax.Array:
    """No loss of its own: the gradient of the task's loss reaches the policy through its decisions
    (`routers.router.straight_through`)."""
    return jnp.zeros_like(t.recall.value)


def hedge(t: Transitions) -> jax.Array:
    """Hedge: the losses of all actions are known, and each logit falls by its own.

    On a table these are multiplicative weights (Freund and Schapire, "A Decision-Theoretic
    Generalization of On-Line Learning and an Application to Boosting", 1997, section 2): nothing is
    sampled, so there is no variance for a baseline to reduce. The losses are those of examples that
    the blocks did not learn from (`router.measured`).
    """
    offered = t.recall.log_probs > -1e8
    losses = jnp.where(offered, t.action_losses, 0.0)
    mean = losses.sum(-1, keepdims=True) / offered.astype(losses.dtype).sum(-1, keepdims=True)
    # Of losses that add up to zero the gradient in the logits is these losses, whatever the policy.
    centred = jnp.where(offered, losses - mean, 0.0)
    return (jax.lax.stop_gradient(centred) * t.recall.log_probs).sum(-1)


LOSSES: dict[str, Loss] = {name: globals()[name] for name in RULES}
"""The rules by name."""


def _policy_loss(t: Transitions, advantage: jax.Array) -> jax.Array:
    return -jax.lax.stop_gradient(advantage) * t.recall.log_prob


def _target(t: Transitions, values: jax.Array) -> jax.Array:
    return bootstrapped(t.rewards, values, t.discount, trace=t.trace)


def _td_loss(value: jax.Array, target: jax.Array) -> jax.Array:
    """Half the squared TD error; its gradient is that of the semi-gradient methods."""
    return 0.5 * (jax.lax.stop_gradient(target) - value) ** 2
