"""The optax side of the rules: a router's optimizer reads as what it is.

    optax.chain(
        policy_gradient(...),
        scale_by_wpl("routing_networks"),
        optax.scale_by_learning_rate(0.1),
        project_to_simplex(),
    )

The first transformation takes the batch's `trajectory` as a keyword of `update`; what gradient came
in does not matter to it. All work on a tree with one leaf, the tabular policy [G, D, A].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from routing_jax.rl.returns import discounted_returns
from routing_jax.rl.rules import WPL_CONVENTIONS, clip_and_renormalise
from routing_jax.types import Trajectory

Value = jax.Array | float


class MeanReturn(NamedTuple):
    """State of `policy_gradient`: the running mean return of each agent at each depth, [G, D].

    Never per action: the mean of an action's own returns would make every expected advantage zero.
    """

    value: jax.Array


def policy_gradient(
    *, return_rate: Value, discount: Value
) -> optax.GradientTransformationExtraArgs:
    """The gradient of a tabular policy: minus the advantages of the decisions that took each entry.

    Per agent and depth the running mean return moves towards the mean return of the batch,
    `R <- (1 - return_rate) * R + return_rate * mean(q)`, starting from 0. The advantage of a
    decision is `q - R`. Per entry the advantages of the decisions that took it are added and
    divided by the number of examples the agent decided. Examples without a label (trajectory weight
    0) count in neither. With one example per agent this is one step
    of algorithm 3 of Rosenbaum et al. 2018.

    Args:
      return_rate: in (0, 1].
      discount: in [0, 1].
    """

    def init(params: optax.Params) -> MeanReturn:
        return MeanReturn(jax.tree.map(lambda policy: jnp.zeros(policy.shape[:2]), params))

    def update(updates, state, params=None, *, trajectory: Trajectory, **unused):
        del updates, unused
        returns = discounted_returns(trajectory.rewards, trajectory.final_reward, discount)
        means = jax.tree.map(
            lambda mean: _moved_mean(mean, returns, trajectory, return_rate), state.value
        )
        gradients = jax.tree.map(
            lambda policy, mean: _gradient(policy, mean, returns, trajectory),
            params,
            means,
        )
        return gradients, MeanReturn(means)

    return optax.GradientTransformationExtraArgs(init, update)


def _decided(num_agents: int, trajectory: Trajectory) -> jax.Array:
    """Labelled examples each agent decided, at least 1 so that one can divide: float32 [G]."""
    agents = trajectory.decisions.agents
    return jnp.maximum(jnp.zeros(num_agents).at[agents].add(trajectory.weights), 1.0)


def _moved_mean(
    mean: jax.Array, returns: jax.Array, trajectory: Trajectory, return_rate: Value
) -> jax.Array:
    """Mean returns [G, D] after a batch; those of agents that decided nothing stay."""
    # The batch's mean of `q - R`, so that an agent without examples moves by zero.
    agents = trajectory.decisions.agents
    errors = (returns - mean[agents]) * trajectory.weights[..., None]
    error = jnp.zeros_like(mean).at[agents].add(errors)
    return mean + return_rate * error / _decided(mean.shape[0], trajectory)[:, None]


def _gradient(
    policy: jax.Array, mean: jax.Array, returns: jax.Array, trajectory: Trajectory
) -> jax.Array:
    """Minus the advantages of the decisions that took each entry, per example: [G, D, A]."""
    decisions = trajectory.decisions
    agents, depths = decisions.agents[..., None], jnp.arange(policy.shape[1])
    advantage = (returns - mean[decisions.agents]) * trajectory.weights[..., None]
    total = jnp.zeros_like(policy).at[agents, depths, decisions.actions].add(advantage)
    return -total / _decided(policy.shape[0], trajectory)[:, None, None]


def add_entropy_bonus(weight: Value) -> optax.GradientTransformation:
    """Adds the gradient of `-weight * entropy` of each distribution [..., A].

    The part of the gradient along the simplex: `weight * pi * (log pi + H)`, zero for a uniform and
    for a deterministic policy.
    """

    def bonus(gradient: jax.Array, policy: jax.Array) -> jax.Array:
        log_policy = jnp.log(jnp.maximum(policy, jnp.finfo(policy.dtype).tiny))
        entropy = -(policy * log_policy).sum(-1, keepdims=True)
        return gradient + weight * policy * (log_policy + entropy)

    return optax.stateless(lambda updates, params: jax.tree.map(bonus, updates, params))


def scale_by_wpl(convention: str) -> optax.GradientTransformation:
    """Scales the gradient of a tabular policy by the Weighted Policy Learner's factor.

    Args:
      convention: a name of `rules.WPL_CONVENTIONS`.
    """
    scale = WPL_CONVENTIONS[convention]

    def update(updates: optax.Updates, params: optax.Params) -> optax.Updates:
        return jax.tree.map(lambda gradient, policy: -scale(-gradient, policy), updates, params)

    return optax.stateless(update)


def project_to_simplex(
    project: Callable[[jax.Array], jax.Array] = clip_and_renormalise,
) -> optax.GradientTransformation:
    """Changes an update so that the updated policy is a distribution; last in a chain.

    Args:
      project: [..., A] to distributions over the last axis.
    """

    def update(updates: optax.Updates, params: optax.Params) -> optax.Updates:
        return jax.tree.map(lambda step, policy: project(policy + step) - policy, updates, params)

    return optax.stateless(update)
