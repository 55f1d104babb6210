"""The optax side of the rules: against plain sequential NumPy, and a slow obvious batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_routers import make_learner, trajectory_of

from routing_jax.config_fields import RULES
from routing_jax.rl import transforms
from routing_jax.rl.rules import LOSSES
from routing_jax.routers.policies import TabularPolicy
from routing_jax.routers.router import Router
from routing_jax.types import Decisions, Trajectory


def router_of(*, agents: int, tasks: int, depth: int, actions: int, kind: str) -> Router:
    """A table for each agent; who decides stands in the trajectory."""
    policy = TabularPolicy(agents, depth, actions)
    return Router((0,) * tasks, policy, ((True,) * actions,) * depth, kind=kind)


def random_trajectory(rng, *, agents, tasks, examples, depth, actions, **fields) -> Trajectory:
    shape = (tasks, examples)
    return trajectory_of(
        Decisions(
            jnp.asarray(rng.integers(0, actions, (*shape, depth)), jnp.int32),
            jnp.asarray(rng.integers(0, agents, shape), jnp.int32),
        ),
        rewards=jnp.asarray(rng.uniform(0, 0.3, (*shape, depth)), jnp.float32),
        final=jnp.asarray(rng.choice([-1.0, 1.0], shape), jnp.float32),
        action_losses=jnp.asarray(rng.uniform(0, 2, (*shape, depth, actions)), jnp.float32),
        **fields,
    )


def project(row):
    row = np.clip(row, 0, 1)
    return row / row.sum() if row.sum() > 0 else np.full_like(row, 1 / row.size)


def sequential_wpl(policy, mean, actions, rewards, final, *, convention, rate, return_rate, gamma):
    """Algorithm 3 for one agent and one example, as one would write it down: changes in place."""
    follows = final
    for depth in reversed(range(len(actions))):
        follows = rewards[depth] + (gamma if depth < len(actions) - 1 else 1) * follows
        mean[depth] = (1 - return_rate) * mean[depth] + return_rate * follows
        advantage = follows - mean[depth]
        action = actions[depth]
        pi = policy[depth, action]
        if convention == "routing_networks":
            factor = pi if advantage > 0 else 1 - pi
        else:
            factor = 1 - pi if advantage > 0 else pi
        policy[depth, action] += rate * advantage * factor
        policy[depth] = project(policy[depth])


@pytest.mark.parametrize("convention", ["routing_networks", "abdallah_lesser"])
def test_one_example_a_task_is_the_sequential_algorithm(convention):
    tasks, depth, actions, gamma = 3, 3, 4, 0.9
    learner = make_learner(
        "wpl",
        tasks=tasks,
        allowed=((True,) * actions,) * depth,
        discount=gamma,
        wpl_convention=convention,
        learning_rate=0.1,
        return_rate=0.05,
    )
    params = {"policy": {"table": jnp.full((tasks, depth, actions), 1 / actions)}}
    state = learner.init(params)
    table, mean = np.full((tasks, depth, actions), 1 / actions), np.zeros((tasks, depth))
    rng = np.random.default_rng(0)
    learn = jax.jit(learner.learn)
    for _ in range(200):
        chosen = rng.integers(0, actions, (tasks, depth))
        rewards = rng.uniform(0, 0.3, (tasks, depth))
        final = rng.choice([-1.0, 1.0], tasks)
        for t in range(tasks):
            sequential_wpl(
                table[t],
                mean[t],
                chosen[t],
                rewards[t],
                final[t],
                convention=convention,
                rate=0.1,
                return_rate=0.05,
                gamma=gamma,
            )
        trajectory = trajectory_of(
            Decisions(jnp.asarray(chosen, jnp.int32)[:, None], jnp.arange(tasks)[:, None]),
            rewards=jnp.asarray(rewards, jnp.float32)[:, None],
            final=jnp.asarray(final, jnp.float32)[:, None],
        )
        params, state = learn(params, state, trajectory)
    np.testing.assert_allclose(params["policy"]["table"], table, atol=2e-5)
    np.testing.assert_allclose(mean_returns(state).agents, mean, atol=2e-5)


def mean_returns(state) -> transforms.MeanReturns:
    """The running means out of an optimizer's state."""
    leaves = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, transforms.MeanReturns))
    return next(leaf for leaf in leaves if isinstance(leaf, transforms.MeanReturns))


def test_a_golden_batch():
    # One agent, one decision, three actions, policy (0.5, 0.3, 0.2), R = 0, return rate 0.5.
    # Actions 0, 0, 1, 2 with returns 1, -1, 1, -1: mean 0, so R stays 0.
    # Advantages added per action and divided by 4: 0, 0.25, -0.25.
    # routing_networks: 0.25 * 0.3 = 0.075 and -0.25 * (1 - 0.2) = -0.2.  Rate 1:
    # (0.5, 0.375, 0) / 0.875 = (0.571429, 0.428571, 0).
    learner = make_learner(
        "wpl", tasks=1, allowed=((True,) * 3,), learning_rate=1.0, return_rate=0.5
    )
    params = {"policy": {"table": jnp.array([[[0.5, 0.3, 0.2]]])}}
    trajectory = trajectory_of(
        Decisions(jnp.array([[[0], [0], [1], [2]]]), jnp.zeros((1, 4), jnp.int32)),
        final=jnp.array([[1.0, -1.0, 1.0, -1.0]]),
    )
    after, state = learner.learn(params, learner.init(params), trajectory)
    np.testing.assert_allclose(after["policy"]["table"], [[[4 / 7, 3 / 7, 0.0]]], rtol=1e-5)
    np.testing.assert_allclose(mean_returns(state).agents, [[0.0]])


_SHAPES = st.sampled_from([(1, 1, 1, 1, 1), (3, 2, 4, 2, 3), (2, 4, 3, 3, 2), (4, 1, 5, 1, 5)])
"""G, T, n, D, A; each one compiles anew."""


def random_weights(rng, tasks: int, examples: int) -> jax.Array:
    return jnp.asarray(rng.random((tasks, examples)) < 0.7, jnp.float32)


@settings(max_examples=12)
@given(_SHAPES, st.integers(0, 2**31 - 1))
def test_wpl_equals_a_loop_over_examples(shape, seed):
    agents, tasks, examples, depth, actions = shape
    rng = np.random.default_rng(seed)
    trajectory = random_trajectory(
        rng,
        agents=agents,
        tasks=tasks,
        examples=examples,
        depth=depth,
        actions=actions,
        weights=random_weights(rng, tasks, examples),
    )
    mean = rng.normal(size=(agents, depth)).astype(np.float32)
    gradient = np.zeros((agents, depth, actions))
    expected_mean = mean.astype(np.float64)
    chosen, deciders = map(np.asarray, trajectory.decisions)
    rewards, final = np.asarray(trajectory.rewards), np.asarray(trajectory.final_reward)
    returns = rewards[..., ::-1].cumsum(-1)[..., ::-1] + final[..., None]
    for g in range(agents):
        mine = (deciders == g) & (np.asarray(trajectory.weights) == 1)
        if not mine.any():
            continue
        expected_mean[g] = 0.8 * mean[g] + 0.2 * returns[mine].mean(0)
        for q, a in zip(returns[mine], chosen[mine], strict=True):
            for d in range(depth):
                gradient[g, d, a[d]] -= (q[d] - expected_mean[g, d]) / mine.sum()
    router = router_of(
        agents=agents, tasks=tasks, depth=depth, actions=actions, kind="probabilities"
    )
    transform = transforms.learn_from_trajectory(
        router, LOSSES["wpl"], return_rate=0.2, discount=1.0
    )
    params = {"policy": {"table": jnp.full((agents, depth, actions), 1 / actions)}}
    state = transforms.MeanReturns(jnp.asarray(mean), jnp.zeros(tasks))
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, state = transform.update(zeros, state, params, trajectory=trajectory)
    np.testing.assert_allclose(updates["policy"]["table"], gradient, atol=1e-5)
    np.testing.assert_allclose(state.agents, expected_mean, atol=1e-5)


def updates_of(rule: str, trajectory: Trajectory, *, agents: int) -> tuple:
    """What a rule makes of a trajectory, from random parameters and means."""
    tasks, _, depth = trajectory.decisions.actions.shape
    rng = np.random.default_rng(0)
    router = router_of(agents=agents, tasks=tasks, depth=depth, actions=3, kind=RULES[rule].kind)
    if RULES[rule].critic:
        router = router.clone(critic=TabularPolicy(agents, depth, 1))
    transform = transforms.learn_from_trajectory(
        router, LOSSES[rule], return_rate=0.2, discount=0.9
    )
    params = {
        "policy": {"table": jnp.asarray(rng.dirichlet([1] * 3, (agents, depth)), jnp.float32)}
    }
    if RULES[rule].critic:
        values = rng.normal(size=(agents, depth, 1))
        params["critic"] = {"table": jnp.asarray(values, jnp.float32)}
    means = transforms.MeanReturns(
        jnp.asarray(rng.normal(size=(agents, depth)), jnp.float32), jnp.ones(tasks)
    )
    zeros = jax.tree.map(jnp.zeros_like, params)
    return transform.update(zeros, means, params, trajectory=trajectory), means


_ON_TABLES = [name for name, rule in RULES.items() if not (rule.control or rule.straight_through)]


@pytest.mark.parametrize("rule", _ON_TABLES)
def test_examples_without_a_label_change_nothing(rule):
    rng = np.random.default_rng(1)
    whole = random_trajectory(rng, agents=2, tasks=2, examples=6, depth=2, actions=3)
    labelled = jax.tree.map(lambda x: x[:, :4] if jnp.ndim(x) else x, whole)
    weights = jnp.array([[1.0] * 4 + [0.0] * 2] * 2)
    (updates, state), _ = updates_of(rule, whole._replace(weights=weights), agents=2)
    (expected, expected_state), _ = updates_of(rule, labelled, agents=2)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        (updates, state),
        (expected, expected_state),
    )


@pytest.mark.parametrize("rule", _ON_TABLES)
def test_an_agent_that_decided_nothing_stays(rule):
    rng = np.random.default_rng(2)
    trajectory = random_trajectory(rng, agents=2, tasks=2, examples=5, depth=2, actions=3)
    (updates, state), means = updates_of(rule, trajectory, agents=3)
    for leaf in jax.tree.leaves(updates):
        np.testing.assert_array_equal(leaf[2], np.zeros_like(leaf[2]))
        assert (np.asarray(leaf[:2]) != 0).any()
    np.testing.assert_array_equal(state.agents[2], means.agents[2])
    assert (state.agents[:2] != means.agents[:2]).all()


@pytest.mark.parametrize("rule", _ON_TABLES)
def test_a_step_does_not_depend_on_how_often_an_example_is_there(rule):
    rng = np.random.default_rng(3)
    once = random_trajectory(rng, agents=2, tasks=2, examples=5, depth=2, actions=3)
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x], 1) if jnp.ndim(x) else x, once)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        updates_of(rule, once, agents=2)[0],
        updates_of(rule, twice, agents=2)[0],
    )


def test_the_expected_advantage_is_not_zero():
    # Two actions, one always right, one always wrong, uniform policy. R -> 0, so the good action
    # has advantage +1 and the bad one -1. (A mean return per action would make both zero.)
    learner = make_learner(
        "wpl",
        tasks=1,
        allowed=((True, True),),
        wpl_convention="abdallah_lesser",
        learning_rate=0.1,
        return_rate=0.05,
    )
    params = {"policy": {"table": jnp.full((1, 1, 2), 0.5)}}
    trajectory = trajectory_of(
        Decisions(jnp.array([[[0], [1]]]), jnp.zeros((1, 2), jnp.int32)),
        final=jnp.array([[1.0, -1.0]]),
    )
    state, learn = learner.init(params), jax.jit(learner.learn)
    for _ in range(100):
        params, state = learn(params, state, trajectory)
    assert params["policy"]["table"][0, 0, 0] > 0.95


def test_entropy_bonus_golden_values():
    # pi = (0.25, 0.75): log pi = (-1.386294, -0.287682), H = 0.562335.
    # pi * (log pi + H) = (-0.205990, 0.205990); weight 2. A descent step moves towards uniform.
    transform = transforms.add_entropy_bonus(2.0)
    policy = {"policy": jnp.array([0.25, 0.75])}
    updates, _ = transform.update({"policy": jnp.zeros(2)}, transform.init(policy), policy)
    np.testing.assert_allclose(updates["policy"], [-0.411980, 0.411980], rtol=1e-5)


@pytest.mark.parametrize("policy", [[0.5, 0.5], [1.0, 0.0]])
def test_entropy_bonus_is_zero_for_uniform_and_deterministic_policies(policy):
    transform, params = transforms.add_entropy_bonus(2.0), {"policy": jnp.array(policy)}
    updates, _ = transform.update({"policy": jnp.zeros(2)}, transform.init(params), params)
    np.testing.assert_allclose(updates["policy"], [0.0, 0.0], atol=1e-7)


_WILD = make_learner(
    "wpl",
    allowed=((True,) * 4,) * 3,
    learning_rate=5.0,
    probability_floor=0.01,
    entropy_weight=0.5,
)
"""Steps that leave the simplex far behind."""
_learn_wildly = jax.jit(_WILD.learn)


@settings(max_examples=10)
@given(st.integers(0, 2**31 - 1))
def test_policies_stay_distributions(seed):
    rng = np.random.default_rng(seed)
    params = {"policy": {"table": jnp.full((2, 3, 4), 0.25)}}
    state = _WILD.init(params)
    for _ in range(3):
        trajectory = random_trajectory(rng, agents=2, tasks=2, examples=3, depth=3, actions=4)
        params, state = _learn_wildly(params, state, trajectory)
    table = params["policy"]["table"]
    assert float(table.min()) >= 0.01 - 1e-6
    np.testing.assert_allclose(table.sum(-1), 1, rtol=1e-5)
