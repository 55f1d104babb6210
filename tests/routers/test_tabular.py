"""The tabular router: what it may draw, and how often it does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.config_fields import ROUTER_AGENTS
from routing_jax.routers.tabular import AGENTS, TabularRouter, assign_agents

# Two depths over two blocks and PASS, which only the second depth offers.
ALLOWED = ((True, True, False), (True, True, True))


@functools.partial(jax.jit, static_argnums=(0, 3))
def draw(router, policy, seed, examples, epsilon=0.0, temperature=1.0):
    return router.apply(
        {"params": {"policy": policy}},
        examples,
        epsilon=epsilon,
        temperature=temperature,
        rngs={"router": jax.random.key(seed)},
    )


def start(router) -> jax.Array:
    """The policy a router starts with."""
    keys = {"params": jax.random.key(0), "router": jax.random.key(0)}
    return router.init(keys, 1)["params"]["policy"]


def shares(actions, num_actions) -> np.ndarray:
    """The share of each action, per depth: [D, A]."""
    flat = np.asarray(actions).reshape(-1, actions.shape[-1])
    return np.stack([(flat == action).mean(0) for action in range(num_actions)], axis=-1)


def table(*rows) -> jax.Array:
    """A policy of one agent: rows are depths."""
    return jnp.array([rows], jnp.float32)


def test_the_policy_starts_uniform_over_the_allowed_actions():
    policy = start(TabularRouter((0, 1, 2), ALLOWED))
    assert (policy.shape, policy.dtype) == ((3, 2, 3), jnp.float32)
    expected = [[1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(policy, np.broadcast_to(expected, (3, 2, 3)), rtol=1e-6)


def test_agents_of_tasks():
    np.testing.assert_array_equal(assign_agents("per_task", 3), [0, 1, 2])
    np.testing.assert_array_equal(assign_agents("single", 3), [0, 0, 0])
    assert assign_agents("single", 3).dtype == assign_agents("per_task", 3).dtype == np.int32
    assert set(AGENTS) == set(ROUTER_AGENTS)


@pytest.mark.parametrize(("agents", "count"), [((0, 1, 2), 3), ((0, 0, 0), 1), ((1, 0, 1), 2)])
def test_there_is_one_row_per_agent_and_tasks_follow_their_own(agents, count):
    router = TabularRouter(agents, ((True,) * 4,) * 2)
    assert start(router).shape == (count, 2, 4)
    # Agent g is certain of block g at depth 0 and of block 3 at depth 1.
    policy = np.zeros((count, 2, 4), np.float32)
    policy[range(count), 0, range(count)] = 1
    policy[:, 1, 3] = 1
    decisions = draw(router, policy, 0, 5)
    assert decisions.actions.shape == (3, 5, 2)
    assert decisions.actions.dtype == decisions.agents.dtype == jnp.int32
    np.testing.assert_array_equal(decisions.agents, np.repeat(np.array(agents)[:, None], 5, 1))
    np.testing.assert_array_equal(decisions.actions[..., 0], decisions.agents)
    np.testing.assert_array_equal(decisions.actions[..., 1], 3)
    variables = {"params": {"policy": policy}}
    np.testing.assert_array_equal(router.apply(variables, method="routing"), policy[list(agents)])
    greedy = router.apply(variables, method="greedy")
    assert greedy.dtype == jnp.int32
    np.testing.assert_array_equal(greedy, [[agent, 3] for agent in agents])


def test_greedy_takes_the_most_probable_action_of_each_depth():
    router = TabularRouter((0,), ALLOWED)
    policy = table([0.4, 0.6, 0.0], [0.3, 0.2, 0.5])
    greedy = router.apply({"params": {"policy": policy}}, method="greedy")
    np.testing.assert_array_equal(greedy, [[1, 2]])


def test_actions_are_drawn_as_often_as_the_policy_says():
    policy = table([0.1, 0.9, 0.0], [0.25, 0.25, 0.5])
    actions = draw(TabularRouter((0,), ALLOWED), policy, 0, 40_000).actions
    # Deviation of a share of 40,000 draws: at most 0.0025.
    np.testing.assert_allclose(shares(actions, 3), policy[0], atol=0.0125)
    first, second = np.asarray(actions)[0].T
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.025  # depths are drawn independently


def test_tasks_of_one_agent_are_drawn_independently():
    router = TabularRouter((0, 0), ((True, True),))
    actions = np.asarray(draw(router, table([0.5, 0.5]), 0, 10_000).actions)[..., 0]
    assert abs(np.corrcoef(actions)[0, 1]) < 0.05


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_forbidden_actions_are_never_drawn(epsilon, temperature):
    policy = start(TabularRouter((0,), ALLOWED))
    actions = draw(TabularRouter((0,), ALLOWED), policy, 0, 10_000, epsilon, temperature).actions
    assert set(np.unique(actions[..., 0])) == {0, 1}
    assert set(np.unique(actions[..., 1])) == {0, 1, 2}


def test_an_action_of_probability_zero_is_not_drawn_without_exploration():
    policy = table([1.0, 0.0, 0.0], [0.0, 0.5, 0.5])
    for temperature in (0.01, 1.0, 100.0):
        actions = draw(TabularRouter((0,), ALLOWED), policy, 0, 5_000, 0.0, temperature).actions
        assert set(np.unique(actions[..., 0])) == {0}
        assert set(np.unique(actions[..., 1])) == {1, 2}


def test_epsilon_mixes_in_the_uniform_distribution_over_allowed_actions():
    router, policy = TabularRouter((0,), ALLOWED), table([1.0, 0.0, 0.0], [0.0, 0.0, 1.0])
    certain = draw(router, policy, 0, 40_000, 1.0).actions
    np.testing.assert_allclose(
        shares(certain, 3), [[1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]], atol=0.0125
    )
    # 0.3 of the draws are uniform: 0.7 + 0.3 / 2 and 0.3 / 2; 0.3 / 3 and 0.7 + 0.3 / 3.
    some = draw(router, policy, 0, 40_000, 0.3).actions
    np.testing.assert_allclose(shares(some, 3), [[0.85, 0.15, 0], [0.1, 0.1, 0.8]], atol=0.0125)


def test_temperature_sharpens_and_flattens():
    router, policy = TabularRouter((0,), ((True, True),)), table([0.2, 0.8])
    # 0.2 ** 2 : 0.8 ** 2 = 0.04 : 0.64 = 1 : 16, and sqrt(0.2) : sqrt(0.8) = 1 : 2.
    for temperature, expected in ((0.5, [1 / 17, 16 / 17]), (2.0, [1 / 3, 2 / 3])):
        actions = draw(router, policy, 0, 40_000, 0.0, temperature).actions
        np.testing.assert_allclose(shares(actions, 2), [expected], atol=0.0125)
    # Exploration comes on top of the tempered policy: 0.5 / 17 + 0.25.
    both = draw(router, policy, 0, 40_000, 0.5, 0.5).actions
    np.testing.assert_allclose(shares(both, 2)[0, 0], 0.5 / 17 + 0.25, atol=0.0125)


def test_decisions_per_task_are_equal_over_examples_but_not_over_steps():
    router = TabularRouter((0, 1, 2), ((True,) * 6,) * 3, per_task=True)
    policy = start(router)
    seen = set()
    for seed in range(5):
        actions = np.asarray(draw(router, policy, seed, 7).actions)
        assert actions.shape == (3, 7, 3)
        np.testing.assert_array_equal(actions, np.broadcast_to(actions[:, :1], actions.shape))
        seen.add(actions[:, 0].tobytes())
    assert len(seen) == 5


def test_decisions_per_example_differ_between_examples_and_keys():
    router = TabularRouter((0, 1), ((True,) * 6,) * 3)
    first, again, other = (draw(router, start(router), seed, 50).actions for seed in (0, 0, 1))
    assert len(np.unique(np.asarray(first)[0], axis=0)) > 30
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_pass_is_offered_where_it_is_allowed():
    router = TabularRouter((0,), ALLOWED)
    assert [router.may_pass(depth, num_blocks=2) for depth in (0, 1)] == [False, True]
    assert not TabularRouter((0,), ((True, True),)).may_pass(0, num_blocks=2)


def test_drawing_sends_no_gradient_and_no_nan_into_the_policy():
    router, policy = TabularRouter((0,), ALLOWED), table([1.0, 0.0, 0.0], [0.0, 0.5, 0.5])
    gradient = jax.grad(
        lambda policy: draw(router, policy, 0, 3).actions.astype(jnp.float32).sum()
    )(policy)
    np.testing.assert_array_equal(gradient, np.zeros_like(policy))
