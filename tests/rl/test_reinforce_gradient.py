"""REINFORCE is unbiased: over all routes its pseudo-gradients add up to the exact gradient."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_routers import make_learner, trajectory_of

from routing_jax.rl import transforms
from routing_jax.rl.rules import LOSSES
from routing_jax.routers.router import Router
from routing_jax.types import Decisions, Exploration, Params

TASKS, FEATURES = 2, 4
ALLOWED = ((True, True, False), (True, True, True), (True, False, True))
ROUTES = jnp.array(list(itertools.product(*(np.flatnonzero(row) for row in ALLOWED))), jnp.int32)
RULE_NAMES = ("reinforce", "reinforce_mean", "reinforce_learned")


def rewards_of(route: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rewards [T, D] of the single decisions, and a final one [T] that depends on all of them."""
    rng = np.random.default_rng(0)
    single = jnp.asarray(rng.uniform(0, 1, (TASKS, 3, 3)), jnp.float32)
    final = jnp.asarray(rng.normal(size=(TASKS, 3, 3, 3)), jnp.float32)
    return single[:, jnp.arange(3), route], final[:, route[0], route[1], route[2]]


def states_of(route: jax.Array) -> tuple[jax.Array, ...]:
    """What stands before each depth, [T, 1, F]: it depends on the decisions before."""
    table = np.random.default_rng(1).normal(size=(3, 3, TASKS, 1, FEATURES))
    table = jnp.asarray(table, jnp.float32)
    return table[0, 0], table[1, route[0]], table[2, route[1]] * table[1, route[0]]


def log_behaviour(
    router: Router, params: Params, exploration: Exploration, route: jax.Array
) -> jax.Array:
    """Log-probability [T] of a route, written down from the policy's outputs."""

    def outputs(router) -> jax.Array:
        if not router.policy.looks_at_input:
            return router.policy()
        agents = jnp.asarray(router.agent_of_task)
        rows = [router.policy(d, x, agents)[:, 0] for d, x in enumerate(states_of(route))]
        return jnp.stack(rows, 1)

    total = jnp.zeros(TASKS)
    logits = router.apply({"params": params}, method=outputs)
    for depth, offered in enumerate(ALLOWED):
        chosen = np.flatnonzero(offered)
        tempered = jnp.exp(logits[:, depth, chosen] / exploration.temperature)
        policy = tempered / tempered.sum(-1, keepdims=True)
        mixed = (1 - exploration.epsilon) * policy + exploration.epsilon / len(chosen)
        taken = (jnp.asarray(chosen) == route[depth])[None]
        total += jnp.log(jnp.where(taken, mixed, 0.0).sum(-1))
    return total


@functools.partial(jax.jit, static_argnums=0)
def exact(router: Router, params: Params, exploration: Exploration) -> Params:
    """The gradient of minus the expected return, all tasks added up."""

    def expected(params: Params) -> jax.Array:
        def part(route: jax.Array) -> jax.Array:
            single, final = rewards_of(route)
            probability = jnp.exp(log_behaviour(router, params, exploration, route))
            return (probability * (single.sum(-1) + final)).sum()

        return -jax.vmap(part)(ROUTES).sum()

    return jax.grad(expected)(params)


@functools.partial(jax.jit, static_argnums=(0, 1))
def weighted(
    router: Router,
    rule: str,
    params: Params,
    exploration: Exploration,
    means: transforms.MeanReturns,
) -> Params:
    """The rule's pseudo-gradients, each times the probability of its route."""
    transform = transforms.learn_from_trajectory(
        router, LOSSES[rule], return_rate=0.1, discount=1.0
    )

    def part(route: jax.Array, task: jax.Array) -> Params:
        single, final = rewards_of(route)
        trajectory = trajectory_of(
            Decisions(jnp.tile(route, (TASKS, 1, 1)), jnp.arange(TASKS)[:, None]),
            rewards=single[:, None],
            final=final[:, None],
            weights=jax.nn.one_hot(task, TASKS)[:, None],
            exploration=exploration,
            states=states_of(route),
        )
        zeros = jax.tree.map(jnp.zeros_like, params)
        gradient, _ = transform.update(zeros, means, params, trajectory=trajectory)
        probability = jnp.exp(log_behaviour(router, params, exploration, route))[task]
        return jax.tree.map(lambda leaf: probability * leaf, gradient)

    routes = jnp.repeat(ROUTES, TASKS, axis=0)
    tasks = jnp.tile(jnp.arange(TASKS), len(ROUTES))
    return jax.tree.map(lambda leaf: leaf.sum(0), jax.vmap(part)(routes, tasks))


@pytest.mark.parametrize("exploration", [Exploration(), Exploration(0.3, 0.7)])
@pytest.mark.parametrize("policy", ["tabular", "approximator"])
@pytest.mark.parametrize("rule", RULE_NAMES)
def test_pseudo_gradients_add_up_to_the_gradient(rule, policy, exploration):
    fields = {"task_input": True, "hidden": 5} if policy == "approximator" else {}
    learner = make_learner(
        rule,
        tasks=TASKS,
        allowed=ALLOWED,
        features=FEATURES,
        policy=policy,
        **fields,
    )
    rng = np.random.default_rng(2)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype),
        learner.start(jax.random.key(0), states_of(ROUTES[0])),
    )
    means = transforms.MeanReturns(
        jnp.asarray(rng.normal(size=(TASKS, 3)), jnp.float32), jnp.zeros(TASKS)
    )
    expected = exact(learner.router, params, exploration)["policy"]
    found = weighted(learner.router, rule, params, exploration, means)["policy"]
    chex.assert_trees_all_close(found, expected, atol=1e-5)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected)) > 0.1
