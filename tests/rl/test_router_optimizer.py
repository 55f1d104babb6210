"""The router's optimizer as a transformation for any tree of parameters and both batch layouts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from routing_jax import (
    DenseBlock,
    RoutedStack,
    RuleTraits,
    build_router,
    label_parameters,
    router_optimizer,
    trajectory,
)
from routing_jax.routers.factory import make_fixed_router
from routing_jax.types import Decisions, Exploration, Routes

T, N, D, K, F = 3, 4, 2, 3, 5
LAYOUTS = {
    "wpl": {},
    "actor_critic": {"policy": "approximator", "task_input": True, "hidden": 4},
    "reinforce_mean": {"agent": "dispatched", "num_agents": 2, "task_input": True, "hidden": 4},
}


def router_of(rule: str, **options):
    return build_router(rule, num_tasks=T, num_blocks=K, depth=D, **options)


def drawn(seed: int = 0):
    """States of D depths [T, n, F], actions, agents, rewards and weights of T tasks."""
    rng = np.random.default_rng(seed)
    states = tuple(rng.normal(size=(T, N, F)).astype(np.float32) for _ in range(D))
    actions = rng.integers(0, K, (T, N, D)).astype(np.int32)
    final = rng.normal(size=(T, N)).astype(np.float32)
    weights = (rng.random((T, N)) < 0.7).astype(np.float32)
    return states, actions, final, weights


@pytest.mark.parametrize("rule", LAYOUTS)
def test_a_router_learns_the_same_from_both_layouts(rule):
    router = router_of(rule, **LAYOUTS[rule])
    states, actions, final, weights = drawn()
    shapes = jax.eval_shape(
        lambda *x: router.init(jax.random.key(0), x, method="initialise"), *states
    )
    rng = np.random.default_rng(2)
    variables = jax.tree.map(lambda s: jnp.asarray(rng.random(s.shape), jnp.float32), shapes)
    agents = np.asarray(router.apply(variables, states[0], None, method="assign"))
    order = np.random.default_rng(1).permutation(T * N)

    def mixed(array):
        return jnp.asarray(array).reshape(1, T * N, *array.shape[2:])[:, order]

    def routes_of(change, tasks):
        decisions = Decisions(change(actions), change(agents))
        seen = tuple(map(change, states)) if rule != "wpl" else ()
        even = jnp.full((*decisions.agents.shape, D, K), 1 / K)
        return Routes(decisions, even, seen, Exploration(0.2, 1.0), tasks, jax.random.key(7))

    tasks = mixed(np.repeat(np.arange(T, dtype=np.int32)[:, None], N, axis=1))
    optimizer = router_optimizer(router, rule, learning_rate=0.1, entropy_weight=0.1)
    params = {"router": variables["params"]}

    @jax.jit
    def step(state, now, *batch):
        learned = trajectory(batch[0], batch[1], weights=batch[2], rho=0.5)
        zeros = jax.tree.map(jnp.zeros_like, now)
        updates, state = optimizer.update(zeros, state, now, trajectory=learned)
        return state, optax.apply_updates(now, updates)

    def learn(*batch):
        """Two steps, as the second one sees the running means of the first."""
        first = step(optimizer.init(params), params, *batch)
        return first, step(*first, *batch)

    by_task = learn(routes_of(jnp.asarray, None), final, weights)
    one_row = learn(routes_of(mixed, tasks), mixed(final)[0], mixed(weights)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), by_task, one_row)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), by_task[1][1], params)
    assert all(size > 1e-4 for size in jax.tree.leaves(moved["router"]["policy"]))


def test_the_collaboration_reward_is_the_mean_probability_of_the_action():
    probabilities = jnp.array([[[[0.5, 0.5]]], [[[0.1, 0.9]]]])  # [T, 1, D, A]
    decisions = Decisions(jnp.array([[[0]], [[1]]]), jnp.array([[0], [1]]))
    routes = Routes(decisions, probabilities, (), Exploration())
    found = trajectory(routes, jnp.zeros((2, 1)), rho=0.5)
    # (0.5 + 0.1) / 2 and (0.5 + 0.9) / 2, times a half.
    np.testing.assert_allclose(found.rewards[:, 0, 0], [0.15, 0.35], rtol=1e-6)


def model_with_a_stack(router):
    stack = RoutedStack(DenseBlock(F), router)
    params = {"head": {"kernel": jnp.ones((2, 2))}, "body": {}}
    x = jnp.ones((T, N, F))
    params["body"]["middle"] = jax.jit(stack.init)(jax.random.key(0), x)["params"]
    return stack, params, x


def test_it_moves_the_router_wherever_it_stands_and_nothing_else():
    router = router_of("wpl")
    stack, params, x = model_with_a_stack(router)
    parts = {"blocks": optax.set_to_zero(), "router": router_optimizer(router, learning_rate=0.5)}
    optimizer = optax.partition(parts, label_parameters)
    rngs = {"router": jax.random.key(1)}

    @functools.partial(jax.jit, static_argnums=1)
    def step(params, optimizer):
        variables = {"params": params["body"]["middle"]}
        _, routes = stack.apply(variables, x, train=True, rngs=rngs)
        final = jnp.where(routes.decisions.actions[..., 0] == 0, 1.0, -1.0)
        zeros = jax.tree.map(jnp.zeros_like, params)
        learned = trajectory(routes, final)
        return optimizer.update(zeros, optimizer.init(params), params, trajectory=learned)[0]

    updates = step(params, optimizer)
    table = updates["body"]["middle"].pop("router")["policy"]["table"]
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(updates))
    assert (table[:, 0, 0] > 0).all()  # the first block was rewarded
    np.testing.assert_allclose(table.sum(-1), np.zeros((T, D)), atol=1e-6)


def message_of(call) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    return str(caught.value)


def test_parameters_with_no_router_or_with_two_are_refused():
    router = router_of("wpl")
    optimizer = router_optimizer(router)
    own = {"policy": {"table": jnp.ones((T, D, K)) / K}}
    assert message_of(lambda: optimizer.init({"a": {"router": own}, "b": {"router": own}})) == (
        "the parameters hold 2 routers (a/router, b/router), and this optimizer is for one. A "
        "router is what has the name 'router', as in RoutedStack; give each of several an "
        "optimizer of its own, on its own part of the parameters."
    )
    assert message_of(lambda: optimizer.init({"a": {"rooter": own}})).startswith(
        "the parameters hold 0 routers (none), and"
    )


def test_a_router_and_a_rule_that_do_not_go_together_are_refused():
    assert message_of(lambda: router_optimizer(router_of("wpl"), "reinforce")) == (
        "this router was built for another rule than 'reinforce' (its policy gives probabilities): "
        "build it with build_router('reinforce', ...)."
    )
    assert message_of(lambda: router_optimizer(router_of("reinforce"), "actor_critic")).startswith(
        "this router was built for another rule than 'actor_critic'"
    )
    assert message_of(lambda: router_optimizer(router_of("wpl"), "sarsaa")).startswith(
        "there is no rule 'sarsaa'; those that exist: wpl, reinforce, "
    )
    fixed = make_fixed_router(((0,),) * T, ((True,),))
    assert message_of(lambda: router_optimizer(fixed)) == (
        "fixed routes learn nothing: leave their optimizer out."
    )


def test_options_that_a_router_cannot_have_are_refused():
    assert message_of(lambda: router_of("wpl", agent="each")) == (
        "agent = 'each' is not one of: per_task, single, dispatched."
    )
    assert message_of(lambda: router_of("wpl", widht=3)) == (
        "a router has no widht; its options: agent, policy, decision_per, num_agents, networks, "
        "hidden, task_input."
    )
    assert message_of(lambda: router_of("wpl", policy="approximator")) == (
        "this rule moves a table of probabilities: use policy='tabular', or another rule such as "
        "'reinforce_mean'."
    )
    assert message_of(lambda: router_of("reinforce", agent="dispatched", decision_per="task")) == (
        "an approximator or a dispatcher sees examples: use decision_per='example', or a tabular "
        "policy with fixed agents."
    )
    assert message_of(lambda: router_of("wpl", pass_action=(True,))) == (
        "pass_action has 1 values; give one for each of the 2 depths."
    )
    assert message_of(lambda: router_of("wpll")).startswith("there is no rule 'wpll'")


def test_pass_may_be_offered_at_some_depths_only():
    router = router_of(RuleTraits("logits"), pass_action=(False, True))
    assert router.allowed == ((True,) * 3 + (False,), (True,) * 4)
    assert (router.num_blocks, router.num_actions) == (K, K + 1)


def test_a_trajectory_needs_decisions_that_were_drawn():
    router = router_of("wpl")
    stack, params, x = model_with_a_stack(router)
    variables = {"params": params["body"]["middle"]}
    best = jax.eval_shape(stack.apply, variables, x)[1]
    assert message_of(lambda: trajectory(best, jnp.zeros((T, N)))).startswith(
        "these routes hold no decisions that were drawn: call the model with train=True."
    )
    decisions = Decisions(jnp.zeros((T, N, D), jnp.int32), jnp.zeros((T, N), jnp.int32))
    routes = Routes(decisions, jnp.ones((T, 1, D, K)), (), Exploration())
    assert message_of(lambda: trajectory(routes, jnp.zeros(T))) == (
        "final_reward has shape (3,); give one number for each of the 12 examples."
    )


def test_losses_of_all_actions_reach_the_policy_from_both_layouts():
    # One step of rate 1 lowers each logit by the mean loss of its action (multiplicative weights),
    # over the examples of the task.
    router = router_of("hedge")
    states, actions, final, _ = drawn()
    losses = np.random.default_rng(5).random((D, K, T, N)).astype(np.float32)
    agents = np.repeat(np.arange(T), N).reshape(T, N)
    params = {"router": router.init(jax.random.key(0), states, method="initialise")["params"]}
    optimizer = router_optimizer(router, "hedge", learning_rate=1.0)

    def logits_after(shape, tasks, action_losses):
        decisions = Decisions(actions.reshape(*shape, D), agents.reshape(shape))
        seen = (jnp.asarray(states[0]).reshape(*shape, F),)
        probabilities = jnp.full((*shape, D, K), 1 / K)
        routes = Routes(decisions, probabilities, seen, Exploration(), tasks)
        batch = trajectory(routes, final.reshape(-1), action_losses=action_losses)
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates, _ = optimizer.update(zeros, optimizer.init(params), params, trajectory=batch)
        return jax.tree.leaves(optax.apply_updates(params, updates))[0]

    expected = -np.moveaxis(losses.mean(-1), 2, 0)
    expected += jax.tree.leaves(params)[0]
    by_task = logits_after((T, N), None, losses)
    tasks = jnp.asarray(agents.reshape(1, -1), jnp.int32)
    mixed = logits_after((1, T * N), tasks, losses.reshape(D, K, -1))
    # Only differences of logits count.
    for found in (by_task, mixed):
        centred = [a - np.mean(a, -1, keepdims=True) for a in (found, expected)]
        np.testing.assert_allclose(*centred, atol=1e-5)


def test_losses_of_all_actions_have_to_be_there_and_to_fit():
    router = router_of("hedge")
    states, actions, final, _ = drawn()
    agents = np.repeat(np.arange(T), N).reshape(T, N)
    probabilities = jnp.full((T, N, D, K), 1 / K)
    routes = Routes(Decisions(actions, agents), probabilities, (states[0],), Exploration())
    params = {"router": router.init(jax.random.key(0), states, method="initialise")["params"]}
    optimizer = router_optimizer(router, "hedge")
    assert message_of(
        lambda: optimizer.update(
            params, optimizer.init(params), params, trajectory=trajectory(routes, final)
        )
    ) == (
        "this rule learns from the losses of all actions: give trajectory() the losses of what "
        "RoutedStack.alternatives gives, as action_losses."
    )
    assert message_of(lambda: trajectory(routes, final, action_losses=np.zeros((D, K, T * N)))) == (
        "action_losses has shape (2, 3, 12); give (2, 3, 3, 4): one loss for each depth, action "
        "and example, of what RoutedStack.alternatives gives."
    )
