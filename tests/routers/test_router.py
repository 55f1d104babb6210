"""Routers: what they may draw, how often they do, and what they recall of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_routers import make_learner, trajectory_of

from routing_jax.config_fields import ROUTER_AGENTS
from routing_jax.routers import exploration as explore
from routing_jax.routers.agents import assign_agents
from routing_jax.routers.router import Router
from routing_jax.types import Decisions, Exploration

# Two depths over two blocks and PASS, which only the second depth offers.
ALLOWED = ((True, True, False), (True, True, True))
UNEXPLORED = Exploration()


def tabular(agents: int, allowed=ALLOWED, *, rule: str = "wpl", **fields: object) -> Router:
    """A router of one table for each of so many tasks."""
    return make_learner(rule, tasks=agents, allowed=allowed, **fields).router


def start(router: Router) -> jax.Array:
    """The table a router starts with."""
    states = (jnp.zeros((len(router.agent_of_task), 1, 4)),) * len(router.allowed)
    keys = {"params": jax.random.key(0), "router": jax.random.key(0)}
    return router.init(keys, states, method="initialise")["params"]["policy"]["table"]


@functools.partial(jax.jit, static_argnums=(0, 3))
def draw_ahead(router, table, seed, examples, exploration=UNEXPLORED):
    """All depths at once: a `Choice`."""

    def decide(router):
        agents = router.assign(jnp.zeros((len(router.agent_of_task), examples, 4)), exploration)
        return router.decide_ahead(agents, exploration)

    rngs = {"router": jax.random.key(seed)}
    return router.apply({"params": {"policy": {"table": table}}}, rngs=rngs, method=decide)


@functools.partial(jax.jit, static_argnums=(0, 3))
def draw_step_by_step(router, table, seed, examples, exploration=UNEXPLORED):
    """One depth after the other: actions [T, n, D] and probabilities."""

    def decide(router):
        x = jnp.zeros((len(router.agent_of_task), examples, 4))
        agents = router.assign(x, exploration)
        choices = [router.decide(d, x, agents, exploration) for d in range(len(router.allowed))]
        return tuple(jnp.stack(field, 2) for field in list(zip(*choices, strict=True))[:2])

    rngs = {"router": jax.random.key(seed)}
    return router.apply({"params": {"policy": {"table": table}}}, rngs=rngs, method=decide)


def draw(*arguments) -> np.ndarray:
    """Actions [T, n, D]."""
    return np.asarray(draw_ahead(*arguments).actions)


def greedy(router: Router, table: jax.Array, examples: int = 1):
    def decide(router):
        agents = router.assign(jnp.zeros((len(router.agent_of_task), examples, 4)), None)
        return router.decide_ahead(agents, None)

    return router.apply({"params": {"policy": {"table": table}}}, method=decide)


def shares(actions, num_actions) -> np.ndarray:
    """The share of each action, per depth: [D, A]."""
    flat = np.asarray(actions).reshape(-1, actions.shape[-1])
    return np.stack([(flat == action).mean(0) for action in range(num_actions)], axis=-1)


def table_of(*rows) -> jax.Array:
    """A policy of one agent: rows are depths."""
    return jnp.array([rows], jnp.float32)


def test_probabilities_start_uniform_over_the_allowed_actions():
    table = start(tabular(3))
    assert (table.shape, table.dtype) == ((3, 2, 3), jnp.float32)
    expected = [[1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(table, np.broadcast_to(expected, (3, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("rule", ["reinforce", "q_learning"])
def test_logits_and_values_start_at_zero(rule):
    np.testing.assert_array_equal(start(tabular(2, rule=rule)), np.zeros((2, 2, 3)))


def test_agents_of_tasks():
    assert assign_agents("per_task", 3) == (0, 1, 2)
    assert assign_agents("single", 3) == (0, 0, 0)
    assert set(ROUTER_AGENTS) == {"per_task", "single", "dispatched"}


@pytest.mark.parametrize(("agents", "count"), [((0, 1, 2), 3), ((0, 0, 0), 1), ((1, 0, 1), 2)])
def test_there_is_one_row_per_agent_and_tasks_follow_their_own(agents, count):
    router = tabular(count, ((True,) * 4,) * 2).clone(agent_of_task=agents)
    assert start(router).shape == (count, 2, 4)
    # Agent g is certain of block g at depth 0 and of block 3 at depth 1.
    policy = np.zeros((count, 2, 4), np.float32)
    policy[range(count), 0, range(count)] = 1
    policy[:, 1, 3] = 1
    choice = draw_ahead(router, policy, 0, 5)
    assert choice.actions.shape == (3, 5, 2)
    assert choice.actions.dtype == jnp.int32
    np.testing.assert_array_equal(choice.actions[..., 0], np.tile(np.array(agents)[:, None], 5))
    np.testing.assert_array_equal(choice.actions[..., 1], 3)
    np.testing.assert_array_equal(choice.probabilities[:, 0], policy[list(agents)])
    best = greedy(router, policy)
    assert best.actions.dtype == jnp.int32
    np.testing.assert_array_equal(best.actions[:, 0], [[agent, 3] for agent in agents])


def test_greedy_takes_the_most_probable_action_of_each_depth():
    policy = table_of([0.4, 0.6, 0.0], [0.3, 0.2, 0.5])
    np.testing.assert_array_equal(greedy(tabular(1), policy).actions, [[[1, 2]]])


@pytest.mark.parametrize("rule", ["reinforce", "q_learning"])
def test_greedy_never_takes_what_is_not_offered(rule):
    table = table_of([-3.0, -2.0, 9.0], [-3.0, -5.0, -2.0])
    np.testing.assert_array_equal(greedy(tabular(1, rule=rule), table).actions, [[[1, 2]]])


def test_actions_are_drawn_as_often_as_the_policy_says():
    policy = table_of([0.1, 0.9, 0.0], [0.25, 0.25, 0.5])
    actions = draw(tabular(1), policy, 0, 40_000)
    # Deviation of a share of 40,000 draws: at most 0.0025.
    np.testing.assert_allclose(shares(actions, 3), policy[0], atol=0.0125)
    first, second = actions[0].T
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.025  # depths are drawn independently


def test_tasks_of_one_agent_are_drawn_independently():
    router = tabular(2, ((True, True),), agent="single")
    actions = draw(router, table_of([0.5, 0.5]), 0, 10_000)[..., 0]
    assert abs(np.corrcoef(actions)[0, 1]) < 0.05


OUTPUTS = {
    "wpl": table_of([0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]),
    # The largest number stands where nothing is offered.
    "reinforce": table_of([0.5, -0.5, 30.0], [0.1, 0.2, 0.3]),
    "gumbel_softmax": table_of([0.5, -0.5, 30.0], [0.1, 0.2, 0.3]),
    "q_learning": table_of([0.5, -0.5, 30.0], [0.1, 0.2, 0.3]),
}


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("temperature", [0.0, 0.1, 10.0, 1e10])
@pytest.mark.parametrize("rule", OUTPUTS)
def test_forbidden_actions_are_never_drawn(rule, epsilon, temperature):
    if temperature == 0 and rule != "q_learning":
        temperature = 1.0
    router, table = tabular(1, rule=rule), OUTPUTS[rule]
    exploration = Exploration(jnp.float32(epsilon), jnp.float32(temperature))
    actions, probabilities = draw_step_by_step(router, table, 0, 10_000, exploration)
    assert set(np.unique(actions[..., 0])) <= {0, 1}
    assert (np.asarray(probabilities)[..., 0, 2] == 0).all()
    np.testing.assert_allclose(np.asarray(probabilities).sum(-1), 1, rtol=1e-5)
    if epsilon > 0:
        assert set(np.unique(actions[..., 1])) == {0, 1, 2}


def test_an_action_of_probability_zero_is_not_drawn_without_exploration():
    policy = table_of([1.0, 0.0, 0.0], [0.0, 0.5, 0.5])
    for temperature in (0.01, 1.0, 100.0):
        actions = draw(tabular(1), policy, 0, 5_000, Exploration(0.0, temperature))
        assert set(np.unique(actions[..., 0])) == {0}
        assert set(np.unique(actions[..., 1])) == {1, 2}


@pytest.mark.parametrize("rule", ["wpl", "reinforce", "q_learning"])
def test_epsilon_mixes_in_the_uniform_distribution_over_allowed_actions(rule):
    table = table_of([1.0, 0.0, 0.0], [0.0, 0.0, 1.0])
    if rule == "reinforce":
        table = 50 * table
    temperature = 0.0 if rule == "q_learning" else 1.0
    router = tabular(1, rule=rule)
    certain = draw(router, table, 0, 40_000, Exploration(1.0, temperature))
    np.testing.assert_allclose(
        shares(certain, 3), [[1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]], atol=0.0125
    )
    # 0.3 of the draws are uniform: 0.7 + 0.3 / 2 and 0.3 / 2; 0.3 / 3 and 0.7 + 0.3 / 3.
    some = draw(router, table, 0, 40_000, Exploration(0.3, temperature))
    np.testing.assert_allclose(shares(some, 3), [[0.85, 0.15, 0], [0.1, 0.1, 0.8]], atol=0.0125)


def test_temperature_sharpens_and_flattens():
    router, policy = tabular(1, ((True, True),)), table_of([0.2, 0.8])
    # 0.2 ** 2 : 0.8 ** 2 = 0.04 : 0.64 = 1 : 16, and sqrt(0.2) : sqrt(0.8) = 1 : 2.
    for temperature, expected in ((0.5, [1 / 17, 16 / 17]), (2.0, [1 / 3, 2 / 3])):
        actions = draw(router, policy, 0, 40_000, Exploration(0.0, temperature))
        np.testing.assert_allclose(shares(actions, 2), [expected], atol=0.0125)
    # Exploration comes on top of the tempered policy: 0.5 / 17 + 0.25.
    both = draw(router, policy, 0, 40_000, Exploration(0.5, 0.5))
    np.testing.assert_allclose(shares(both, 2)[0, 0], 0.5 / 17 + 0.25, atol=0.0125)


def test_decisions_per_task_are_equal_over_examples_but_not_over_steps():
    router = tabular(3, ((True,) * 6,) * 3, decision_per="task")
    seen = set()
    for seed in range(5):
        actions = draw(router, start(router), seed, 7)
        assert actions.shape == (3, 1, 3)
        seen.add(actions.tobytes())
    assert len(seen) == 5


def test_decisions_per_example_differ_between_examples_and_keys():
    router = tabular(2, ((True,) * 6,) * 3)
    first, again, other = (draw(router, start(router), seed, 50) for seed in (0, 0, 1))
    assert len(np.unique(first[0], axis=0)) > 30
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("decision_per", ["example", "task"])
def test_deciding_ahead_equals_deciding_step_by_step(decision_per):
    examples = 20_000 if decision_per == "example" else 1
    tasks = 2 if decision_per == "example" else 20_000
    router = tabular(tasks, rule="reinforce", agent="single", decision_per=decision_per)
    table = table_of([0.3, -0.4, 0.0], [1.0, 0.1, -0.5])
    exploration = Exploration(0.2, 0.7)
    ahead = draw_ahead(router, table, 0, examples, exploration)
    actions, probabilities = draw_step_by_step(router, table, 1, examples, exploration)
    assert ahead.actions.shape == actions.shape

    def routes(actions) -> np.ndarray:
        flat = np.asarray(actions).reshape(-1, 2)
        return np.bincount(flat[:, 0] * 3 + flat[:, 1], minlength=9) / len(flat)

    np.testing.assert_allclose(routes(ahead.actions), routes(actions), atol=0.02)
    np.testing.assert_allclose(ahead.probabilities[0, 0], probabilities[0, 0], rtol=1e-5)


def test_pass_is_offered_where_it_is_allowed():
    router = tabular(1)
    assert [router.may_pass(depth, num_blocks=2) for depth in (0, 1)] == [False, True]
    assert not tabular(1, ((True, True),)).may_pass(0, num_blocks=2)


def test_drawing_sends_no_gradient_and_no_nan_into_the_policy():
    router, policy = tabular(1), table_of([1.0, 0.0, 0.0], [0.0, 0.5, 0.5])
    gradient = jax.grad(
        lambda policy: draw_ahead(router, policy, 0, 3).actions.astype(jnp.float32).sum()
    )(policy)
    np.testing.assert_array_equal(gradient, np.zeros_like(policy))


def test_gradients_are_finite_where_nothing_but_chance_decides():
    def taken(outputs: jax.Array) -> jax.Array:
        exploration = Exploration(jnp.float32(1.0), 1.0)
        allowed = jnp.array(ALLOWED)[None]
        return explore.log_behaviour(outputs, allowed, exploration, kind="logits")[..., 0].sum()

    np.testing.assert_array_equal(jax.grad(taken)(OUTPUTS["reinforce"]), np.zeros((1, 2, 3)))


@settings(max_examples=10)
@given(
    st.sampled_from([("reinforce", 2, 3), ("q_learning", 3, 2), ("expected_sarsa", 1, 3)]),
    st.sampled_from([(0.0, 1.0), (0.4, 0.5)]),
    st.integers(0, 2**31 - 1),
)
def test_what_a_table_recalls_equals_a_loop(case, mixed, seed):
    rule, tasks, depth = case
    rng = np.random.default_rng(seed)
    allowed = ((True, False, True, True), (True, True, True, False), (False, True, True, True))
    allowed = allowed[:depth]
    router = tabular(tasks, allowed, rule=rule)
    table = rng.normal(size=(tasks, depth, 4)).astype(np.float32)
    agents = rng.integers(0, tasks, (tasks, 3))
    actions = np.array(
        [[[rng.choice(np.flatnonzero(row)) for row in allowed] for _ in range(3)] for _ in agents]
    )
    trajectory = trajectory_of(
        Decisions(jnp.asarray(actions, jnp.int32), jnp.asarray(agents, jnp.int32)),
        final=jnp.zeros((tasks, 3)),
        exploration=Exploration(*map(jnp.float32, mixed)),
    )
    recall = recalled(router, jnp.asarray(table), trajectory)
    epsilon, temperature = mixed
    for t, i, d in np.ndindex(tasks, 3, depth):
        offered = np.flatnonzero(allowed[d])
        row = table[agents[t, i], d, offered].astype(np.float64)
        policy = np.exp(row / temperature) / np.exp(row / temperature).sum()
        drawn = (1 - epsilon) * policy + epsilon / len(offered)
        taken = int(np.flatnonzero(offered == actions[t, i, d])[0])
        expected = {
            "value": row[taken],
            "log_prob": np.log(drawn[taken]),
            "best_value": row.max(),
            "expected_value": drawn @ row,
            "entropy": -(policy * np.log(policy)).sum(),
        }
        for name, value in expected.items():
            found = float(getattr(recall, name)[t, i, d])
            np.testing.assert_allclose(found, value, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(recall.log_probs[t, i, d, offered], np.log(drawn), atol=1e-4)


@functools.partial(jax.jit, static_argnums=0)
def recalled(router, table, trajectory):
    return router.apply({"params": {"policy": {"table": table}}}, trajectory, method="recall")
