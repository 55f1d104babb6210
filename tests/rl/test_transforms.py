"""The optax side of WPL: against plain sequential NumPy, hand values, and a slow obvious batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_jax.rl import transforms
from routing_jax.types import Decisions, Trajectory


def make_wpl(*, convention="routing_networks", rate=0.1, return_rate=0.05, discount=1.0):
    return optax.chain(
        transforms.policy_gradient(return_rate=return_rate, discount=discount),
        transforms.scale_by_wpl(convention),
        optax.scale_by_learning_rate(rate),
        transforms.project_to_simplex(),
    )


def step(optimizer, policy, state, trajectory):
    params = {"policy": policy}
    updates, state = optimizer.update(
        jax.tree.map(jnp.zeros_like, params), state, params, trajectory=trajectory
    )
    return optax.apply_updates(params, updates)["policy"], state


def random_trajectory(rng, *, agents, tasks, examples, depth, actions, some_labels=False):
    shape = (tasks, examples)
    return Trajectory(
        Decisions(
            jnp.asarray(rng.integers(0, actions, (*shape, depth)), jnp.int32),
            jnp.asarray(rng.integers(0, agents, shape), jnp.int32),
        ),
        jnp.asarray(rng.uniform(0, 0.3, (*shape, depth)), jnp.float32),
        jnp.asarray(rng.choice([-1.0, 1.0], shape), jnp.float32),
        jnp.asarray(rng.choice([0.0, 1.0], shape) if some_labels else np.ones(shape), jnp.float32),
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
    optimizer = make_wpl(convention=convention, discount=gamma)
    policy = jnp.full((tasks, depth, actions), 1 / actions)
    state = optimizer.init({"policy": policy})
    table, mean = np.full(policy.shape, 1 / actions), np.zeros((tasks, depth))
    rng = np.random.default_rng(0)
    one_step = jax.jit(lambda *args: step(optimizer, *args))
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
        trajectory = Trajectory(
            Decisions(jnp.asarray(chosen, jnp.int32)[:, None], jnp.arange(tasks)[:, None]),
            jnp.asarray(rewards, jnp.float32)[:, None],
            jnp.asarray(final, jnp.float32)[:, None],
            jnp.ones((tasks, 1)),
        )
        policy, state = one_step(policy, state, trajectory)
    np.testing.assert_allclose(policy, table, atol=2e-5)
    np.testing.assert_allclose(state[0].value["policy"], mean, atol=2e-5)


def test_a_golden_batch():
    # One agent, one decision, three actions, policy (0.5, 0.3, 0.2), R = 0, return rate 0.5.
    # Actions 0, 0, 1, 2 with returns 1, -1, 1, -1: mean 0, so R stays 0.
    # Advantages added per action and divided by 4: 0, 0.25, -0.25.
    # routing_networks: 0.25 * 0.3 = 0.075 and -0.25 * (1 - 0.2) = -0.2.  Rate 1:
    # (0.5, 0.375, 0) / 0.875 = (0.571429, 0.428571, 0).
    optimizer = make_wpl(rate=1.0, return_rate=0.5)
    policy = jnp.array([[[0.5, 0.3, 0.2]]])
    trajectory = Trajectory(
        Decisions(jnp.array([[[0], [0], [1], [2]]]), jnp.zeros((1, 4), jnp.int32)),
        jnp.zeros((1, 4, 1)),
        jnp.array([[1.0, -1.0, 1.0, -1.0]]),
        jnp.ones((1, 4)),
    )
    after, state = step(optimizer, policy, optimizer.init({"policy": policy}), trajectory)
    np.testing.assert_allclose(after, [[[4 / 7, 3 / 7, 0.0]]], rtol=1e-5)
    np.testing.assert_allclose(state[0].value["policy"], [[0.0]])


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(0, 2**31 - 1),
)
def test_policy_gradient_equals_a_loop_over_examples(agents, tasks, examples, depth, actions, seed):
    rng = np.random.default_rng(seed)
    trajectory = random_trajectory(
        rng,
        agents=agents,
        tasks=tasks,
        examples=examples,
        depth=depth,
        actions=actions,
        some_labels=True,
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
    transform = transforms.policy_gradient(return_rate=0.2, discount=1.0)
    params = {"policy": jnp.full((agents, depth, actions), 1 / actions)}
    state = transforms.MeanReturn({"policy": jnp.asarray(mean)})
    updates, state = transform.update(params, state, params, trajectory=trajectory)
    np.testing.assert_allclose(updates["policy"], gradient, atol=1e-5)
    np.testing.assert_allclose(state.value["policy"], expected_mean, atol=1e-5)


def test_the_expected_advantage_is_not_zero():
    # Two actions, one always right, one always wrong, uniform policy. R -> 0, so the good action
    # has advantage +1 and the bad one -1. (A mean return per action would make both zero.)
    optimizer = make_wpl(convention="abdallah_lesser")
    policy = jnp.full((1, 1, 2), 0.5)
    trajectory = Trajectory(
        Decisions(jnp.array([[[0], [1]]]), jnp.zeros((1, 2), jnp.int32)),
        jnp.zeros((1, 2, 1)),
        jnp.array([[1.0, -1.0]]),
        jnp.ones((1, 2)),
    )
    state = optimizer.init({"policy": policy})
    for _ in range(100):
        policy, state = step(optimizer, policy, state, trajectory)
    assert policy[0, 0, 0] > 0.95


def test_entropy_bonus_golden_values():
    # pi = (0.25, 0.75): log pi = (-1.386294, -0.287682), H = 0.562335.
    # pi * (log pi + H) = (-0.205990, 0.205990); weight 2. A descent step moves towards uniform.
    transform = transforms.add_entropy_bonus(2.0)
    policy = {"policy": jnp.array([0.25, 0.75])}
    updates, _ = transform.update({"policy": jnp.zeros(2)}, transform.init(policy), policy)
    np.testing.assert_allclose(updates["policy"], [-0.411980, 0.411980], rtol=1e-4)


@pytest.mark.parametrize("policy", [[0.5, 0.5], [1.0, 0.0]])
def test_entropy_bonus_is_zero_for_uniform_and_deterministic_policies(policy):
    transform, params = transforms.add_entropy_bonus(2.0), {"policy": jnp.array(policy)}
    updates, _ = transform.update({"policy": jnp.zeros(2)}, transform.init(params), params)
    np.testing.assert_allclose(updates["policy"], [0.0, 0.0], atol=1e-7)


@given(st.integers(0, 2**31 - 1))
def test_policies_stay_distributions(seed):
    rng = np.random.default_rng(seed)
    optimizer = make_wpl(rate=5.0)
    policy = jnp.full((2, 3, 4), 0.25)
    state = optimizer.init({"policy": policy})
    for _ in range(3):
        trajectory = random_trajectory(rng, agents=2, tasks=2, examples=3, depth=3, actions=4)
        policy, state = step(optimizer, policy, state, trajectory)
    assert float(policy.min()) >= 0
    np.testing.assert_allclose(policy.sum(-1), 1, rtol=1e-5)
