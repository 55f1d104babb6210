"""The optax side of the rules: a router's optimizer reads as what it is::

    optax.chain(
        learn_from_trajectory(router, rules.wpl, return_rate=0.05, discount=1.0),
        scale_by_wpl("routing_networks"),
        optax.scale_by_learning_rate(0.1),
        project_to_simplex(),
    )

The first transformation takes the batch's `trajectory` as a keyword of `update`, and any rule of
`rl.rules`; it works on the parameters of the router. The two that are WPL's own work on tables of
probabilities [G, D, A].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from routing_jax.rl.returns import discounted_returns
from routing_jax.rl.rules import Loss
from routing_jax.rl.wpl import WPL_CONVENTIONS, clip_and_renormalise
from routing_jax.routers.router import Router
from routing_jax.types import Params, Recall, Trajectory, Transitions

Value = jax.Array | float


class MeanReturns(NamedTuple):
    """State of `learn_from_trajectory`: running mean returns, from 0.

    Never per action: the mean of an action's own returns would make every expected advantage zero.
    """

    agents: jax.Array
    """float32 [G, D], of each agent's decisions at each depth."""
    tasks: jax.Array
    """float32 [T], of what the dispatcher starts."""


def learn_from_trajectory(
    router: Router,
    loss: Loss,
    *,
    return_rate: Value,
    discount: Value,
    trace: Value = 0.0,
    entropy_weight: Value | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Adds the gradient of a rule's loss to the gradient of a router's parameters.

    The loss of an example counts by `1 / examples that its agent decided`, so that an agent's step
    does not depend on how many there are; examples of weight 0 do not count at all. What comes in,
    the gradient of the task's loss, is zero except for straight-through decisions; it counts G
    times, as the loss of the task is a mean over the examples of all agents.

    A dispatcher learns by REINFORCE from the same trajectory: picking an agent is a decision before
    the first, without a reward of its own, against the running mean return of the task.

    Args:
      router: the router that made the trajectory.
      loss: a rule of `rl.rules`.
      return_rate: in (0, 1], of the running mean returns,
        `R <- (1 - return_rate) * R + return_rate * mean(q)` per batch.
      discount: in [0, 1].
      trace: in [0, 1], lambda of the targets of rules that bootstrap.
      entropy_weight: of the entropies of policy and dispatcher in nats, which are subtracted from
        the loss; None where there are no logits to take it of.

    Returns:
      A transformation whose `update` takes the keyword `trajectory`; it raises ValueError where
      that lacks the losses of all actions and the router learns from them.
    """

    def update(updates, state, params=None, *, trajectory: Trajectory, **unused):
        del unused
        _require_losses(router, trajectory)
        seen = _look(trajectory, state, return_rate=return_rate, discount=discount)

        def total(params: Params) -> jax.Array:
            recall = router.apply({"params": params}, trajectory, method="recall")
            decisions = loss(_transitions(router, params, recall, seen, discount, trace))
            advantage = discount * seen.returns[..., 0] - _of_example(state.tasks, trajectory)
            dispatch = -advantage * recall.dispatch_log_prob
            if entropy_weight is not None:
                decisions -= entropy_weight * recall.entropy
                dispatch -= entropy_weight * recall.dispatch_entropy
            everyone = trajectory.weights / jnp.maximum(trajectory.weights.sum(), 1.0)
            return (seen.share[..., None] * decisions).sum() + (everyone * dispatch).sum()

        # The task's loss is a mean over all examples, a rule's over those of an agent.
        agents = router.num_agents if trajectory.tasks is None else jnp.maximum(seen.busy, 1.0)
        own = jax.grad(total)(params)
        return jax.tree.map(lambda task, mine: agents * task + mine, updates, own), seen.after

    return optax.GradientTransformationExtraArgs(lambda params: _no_returns(router), update)


def _no_returns(router: Router) -> MeanReturns:
    """The running mean returns before the first batch."""
    agents = jnp.zeros((router.num_agents, router.depth))
    return MeanReturns(agents, jnp.zeros(router.num_tasks))


class _Seen(NamedTuple):
    """A trajectory, and what follows from it whatever the router's parameters are."""

    trajectory: Trajectory
    rewards: jax.Array
    """float32 [T, n, D], the last one with the final reward."""
    returns: jax.Array
    """float32 [T, n, D]."""
    share: jax.Array
    """float32 [T, n], what each example counts for its agent; 1 in all per busy agent."""
    busy: jax.Array
    """float32 scalar, how many agents decided for any example; perhaps not all in mixed batches."""
    before: MeanReturns
    after: MeanReturns


def _look(
    trajectory: Trajectory, means: MeanReturns, *, return_rate: Value, discount: Value
) -> _Seen:
    rewards = trajectory.rewards.at[..., -1].add(trajectory.final_reward)
    returns = discounted_returns(rewards, discount)
    agents, weights = trajectory.decisions.agents, trajectory.weights
    decided = jnp.zeros(means.agents.shape[0]).at[agents].add(weights)
    share = weights / jnp.maximum(decided, 1.0)[agents]
    # The batch's mean of `q - R`, so that an agent without examples moves by zero.
    errors = share[..., None] * (returns - means.agents[agents])
    error = jnp.zeros_like(means.agents).at[agents].add(errors)
    task_errors = discount * returns[..., 0] - _of_example(means.tasks, trajectory)
    task_error = _mean_by_task(task_errors, trajectory, num_tasks=means.tasks.shape[0])
    after = MeanReturns(means.agents + return_rate * error, means.tasks + return_rate * task_error)
    busy = (decided > 0).sum(dtype=jnp.float32)
    return _Seen(trajectory, rewards, returns, share, busy, means, after)


def _of_example(of_task: jax.Array, trajectory: Trajectory) -> jax.Array:
    """What belongs to the task of each example, out of [T]: [T, 1], or [1, B] in a mixed batch."""
    return of_task[:, None] if trajectory.tasks is None else of_task[trajectory.tasks]


def _mean_by_task(values: jax.Array, trajectory: Trajectory, *, num_tasks: int) -> jax.Array:
    """Means [T] of values [T, n] over the labelled examples of each task; zero where none is."""
    weights = trajectory.weights
    if trajectory.tasks is None:
        return (weights / jnp.maximum(weights.sum(1, keepdims=True), 1.0) * values).sum(1)
    totals = (
        jnp.zeros((2, num_tasks))
        .at[:, trajectory.tasks]
        .add(jnp.stack([weights * values, weights]))
    )
    return totals[0] / jnp.maximum(totals[1], 1.0)


def _transitions(
    router: Router, params: Params, recall: Recall, seen: _Seen, discount: Value, trace: Value
) -> Transitions:
    """What a rule sees: what the router says to the trajectory, and what followed."""
    actions, agents = seen.trajectory.decisions

    def control(relaxed: jax.Array) -> jax.Array:
        return router.apply({"params": params}, relaxed, agents, method="control_variate")

    return Transitions(
        recall=recall,
        actions=actions,
        rewards=seen.rewards,
        returns=seen.returns,
        mean_return=seen.before.agents[agents],
        moved_mean_return=seen.after.agents[agents],
        discount=discount,
        trace=trace,
        control=control,
        key=seen.trajectory.key,
        action_losses=_or_zeros(seen.trajectory.action_losses, recall.log_probs),
    )


def _require_losses(router: Router, trajectory: Trajectory) -> None:
    """Raises ValueError where a router lacks what it learns from."""
    if router.full_information and trajectory.action_losses is None:
        raise ValueError(
            "this rule learns from the losses of all actions: give trajectory() the losses of what "
            "RoutedStack.alternatives gives, as action_losses."
        )


def _or_zeros(values: jax.Array | None, like: jax.Array) -> jax.Array:
    return jnp.zeros_like(like) if values is None else values


def add_entropy_bonus(weight: Value) -> optax.GradientTransformation:
    """Adds the gradient of `-weight * entropy` of tables of probabilities [..., A].

    The part of the gradient along the simplex: `weight * pi * (log pi + H)`, zero for a uniform and
    for a deterministic policy.
    """

    def bonus(gradient: jax.Array, policy: jax.Array) -> jax.Array:
        log_policy = jnp.log(jnp.maximum(policy, jnp.finfo(policy.dtype).tiny))
        entropy = -(policy * log_policy).sum(-1, keepdims=True)
        return gradient + weight * policy * (log_policy + entropy)

    return optax.stateless(lambda updates, params: jax.tree.map(bonus, updates, params))


def scale_by_wpl(convention: str) -> optax.GradientTransformation:
    """Scales the gradient of a table of probabilities by the Weighted Policy Learner's factor.

    Args:
      convention: a name of `wpl.WPL_CONVENTIONS`.
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
