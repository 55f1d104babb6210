"""The routed stack: both batch layouts, against plain loops and against each other."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from routing_jax import (
    Allocation,
    DenseBlock,
    Exploration,
    Mixture,
    RoutedStack,
    build_router,
)
from routing_jax.routers.allocation import FixedAllocation
from routing_jax.routers.factory import make_fixed_router

T, K, D, N, F = 3, 4, 2, 5, 6
ROUTERS = {
    "tabular": build_router("wpl", num_tasks=T, num_blocks=K, depth=D),
    "pass": build_router("reinforce", num_tasks=T, num_blocks=K, depth=D, pass_action=True),
    "one draw a task": build_router(
        "gumbel_softmax", num_tasks=T, num_blocks=K, depth=D, decision_per="task"
    ),
    "approximator": build_router(
        "actor_critic", num_tasks=T, num_blocks=K, depth=D, policy="approximator", hidden=5
    ),
    "approximator that sees the task": build_router(
        "q_learning",
        num_tasks=T,
        num_blocks=K,
        depth=D,
        agent="single",
        policy="approximator",
        task_input=True,
    ),
    "dispatched": build_router(
        "relax", num_tasks=T, num_blocks=K, depth=D, agent="dispatched", num_agents=2
    ),
    "fixed": make_fixed_router(((0, 1), (3, 3), (0, 2)), ((True,) * K,) * D),
    "full information": build_router("hedge", num_tasks=T, num_blocks=K, depth=D),
    "full information, one agent": build_router(
        "hedge", num_tasks=T, num_blocks=K, depth=D, agent="single", pass_action=True
    ),
    "allocation": Allocation(T, D, K),
    "mixture of outputs": Mixture(T, D, K),
    "mixture of parameters": Mixture(T, D, K, of="parameters"),
    "fixed allocation": FixedAllocation(
        (((1, 0, 1, 0), (0, 0, 0, 1)), ((1, 1, 1, 1), (1, 0, 0, 0)), ((0, 1, 0, 0), (0, 0, 0, 0)))
    ),
}


def stack_of(name: str) -> RoutedStack:
    return RoutedStack(DenseBlock(F), ROUTERS[name], block_noise=1.0)


def batch(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(T, N, F)).astype(np.float32)


def shapes_of(model: nn.Module, *args) -> dict:
    return jax.eval_shape(model.init, jax.random.key(0), *args)["params"]


def start(stack: RoutedStack, seed: int = 0) -> dict:
    """Parameters at random, so that best routes differ."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: rng.uniform(-0.5, 1.0, leaf.shape).astype(leaf.dtype),
        shapes_of(stack, batch()),
    )


def run(stack: RoutedStack, params: dict, *args, seed: int = 0, **kwargs):
    def apply(params, *args):
        rngs = {"router": jax.random.key(seed)}
        return stack.apply({"params": params}, *args, rngs=rngs, **kwargs)

    return jax.jit(apply)(params, *args)


def looped(params: dict, x: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Rows [B, F] along actions [B, D], one after the other."""
    out = []
    for row, route in zip(x, actions, strict=True):
        for depth, action in enumerate(route):
            dense = jax.device_get(params[f"banks_{depth}"]["blocks"]["Dense_0"])
            if action < K:
                row = np.maximum(row @ dense["kernel"][action] + dense["bias"][action], 0)
        out.append(row)
    return np.stack(out)


@pytest.mark.parametrize(
    ("name", "mixed"),
    [("pass", False), ("approximator", True), ("dispatched", True), ("one draw a task", True)],
)
def test_a_training_pass_equals_a_loop_along_its_own_decisions(name, mixed):
    stack = stack_of(name)
    params, x = start(stack), batch()
    tasks = np.random.default_rng(1).permutation(np.repeat(np.arange(T), N)).astype(np.int32)
    args = (x.reshape(-1, F), tasks) if mixed else (x,)
    out, routes = run(stack, params, *args, train=True)
    actions = np.asarray(routes.decisions.actions)
    assert out.shape == (args[0].shape)
    assert actions.shape == ((1, T * N, D) if mixed else (T, N, D))
    np.testing.assert_allclose(
        out.reshape(-1, F), looped(params, x.reshape(-1, F), actions.reshape(-1, D)), atol=1e-5
    )
    if name == "one draw a task":
        assert all(len(np.unique(actions[0, tasks == task], axis=0)) == 1 for task in range(T))


@pytest.mark.parametrize("name", ROUTERS)
def test_both_layouts_give_the_same_along_the_best_routes(name):
    stack = stack_of(name)
    params, x = start(stack), batch()
    order = np.random.default_rng(2).permutation(T * N)
    tasks = np.repeat(np.arange(T, dtype=np.int32), N)[order]
    by_task, routes = run(stack, params, x)
    mixed, mixed_routes = run(stack, params, x.reshape(-1, F)[order], tasks)
    np.testing.assert_allclose(mixed, by_task.reshape(-1, F)[order], atol=1e-5)
    if routes.decisions is not None:
        actions = np.broadcast_to(routes.decisions.actions, (T, N, D)).reshape(-1, D)
        np.testing.assert_array_equal(mixed_routes.decisions.actions[0], actions[order])


def test_the_best_routes_are_those_of_the_tables():
    stack = stack_of("tabular")
    params = start(stack)
    routes = run(stack, params, batch())[1]
    expected = params["router"]["policy"]["table"].argmax(-1)
    np.testing.assert_array_equal(routes.decisions.actions[:, 0], expected)
    assert routes.exploration is None


def test_an_allocation_gives_the_mean_of_the_blocks_that_are_on():
    stack = stack_of("fixed allocation")
    params, x = start(stack), batch()
    out, routes = run(stack, params, x)
    for task, switches in enumerate(np.asarray(ROUTERS["fixed allocation"].switches)):
        state = x[task]
        for depth in range(D):
            on = np.flatnonzero(switches[depth])
            outs = [looped({"banks_0": params[f"banks_{depth}"]}, state, [[k]] * N) for k in on]
            state = np.mean(outs, axis=0) if on.size else np.zeros_like(state)
        np.testing.assert_allclose(out[task], state, atol=1e-5)
    assert routes.decisions is None


@pytest.mark.parametrize("of", ["outputs", "parameters"])
def test_a_mixture_takes_of_all_blocks_by_the_softmax_of_its_task(of):
    stack = stack_of(f"mixture of {of}")
    params, x = start(stack), batch()
    out, routes = run(stack, params, x, train=True)
    weights = np.exp(params["router"]["logits"])
    weights /= weights.sum(-1, keepdims=True)
    np.testing.assert_allclose(routes.probabilities[:, 0], weights, rtol=1e-5)
    for task in range(T):
        state = x[task]
        for depth in range(D):
            dense = jax.device_get(params[f"banks_{depth}"]["blocks"]["Dense_0"])
            own = weights[task, depth]
            if of == "parameters":
                kernel, bias = (np.tensordot(own, dense[n], 1) for n in ("kernel", "bias"))
                state = np.maximum(state @ kernel + bias, 0)
            else:
                outs = np.maximum(state @ dense["kernel"] + dense["bias"][:, None], 0)
                state = np.tensordot(own, outs, 1)
        np.testing.assert_allclose(out[task], state, atol=1e-5)


def test_mixtures_start_equal_or_where_parameters_are_mixed_apart():
    def logits(name):
        return stack_of(name).init(jax.random.key(0), batch())["params"]["router"]["logits"]

    assert not logits("mixture of outputs").any()
    assert len(np.unique(logits("mixture of parameters"))) == T * D * K


@pytest.mark.parametrize("name", ["full information", "full information, one agent"])
@pytest.mark.parametrize("mixed", [False, True])
def test_alternatives_change_one_decision_each(name, mixed):
    stack = stack_of(name)
    params, x = start(stack), batch().reshape(-1, F)
    tasks = np.repeat(np.arange(T, dtype=np.int32), N)
    args = (x, tasks) if mixed else (batch(),)
    _, routes = run(stack, params, *args, train=True)
    found = stack.apply({"params": params}, routes, method="alternatives")
    actions = ROUTERS[name].num_actions
    assert found.shape == (D, actions, *args[0].shape)
    taken = np.asarray(routes.decisions.actions).reshape(-1, D)
    for depth in range(D):
        for action in range(actions):
            changed = taken.copy()
            changed[:, depth] = action
            expected = looped(params, x, changed)
            np.testing.assert_allclose(found[depth, action].reshape(-1, F), expected, atol=1e-5)


def test_alternatives_are_of_rules_that_learn_from_them():
    stack = stack_of("tabular")
    params = start(stack)
    routes = run(stack, params, batch(), train=True)[1]
    with pytest.raises(ValueError) as caught:
        stack.apply({"params": params}, routes, method="alternatives")
    assert str(caught.value) == (
        "this router does not learn from the losses of all actions: build it with "
        "build_router('hedge', ...), or leave the alternatives out."
    )


@pytest.mark.parametrize("name", ["allocation", "mixture of outputs", "mixture of parameters"])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss_reaches_what_each_task_takes_of_the_blocks(name, mixed):
    stack = stack_of(name)
    params, x = start(stack), batch()
    args = (x.reshape(-1, F), np.repeat(np.arange(T, dtype=np.int32), N)) if mixed else (x,)

    def loss(params):
        rngs = {"router": jax.random.key(0)}
        return (stack.apply({"params": params}, *args, train=True, rngs=rngs)[0] ** 2).mean()

    gradient = jax.jit(jax.grad(loss))(params)["router"]["logits"]
    assert (np.abs(gradient).reshape(T, -1).sum(1) > 0).all()


@pytest.mark.parametrize("tasks", [[2], [1, 1, 0, 1, 1]])
def test_a_mixed_batch_need_not_hold_every_task(tasks):
    stack, tasks = stack_of("tabular"), np.array(tasks, np.int32)
    params = start(stack)
    x = np.random.default_rng(1).normal(size=(len(tasks), F)).astype(np.float32)
    out, routes = run(stack, params, x, tasks)
    best = np.asarray(params["router"]["policy"]["table"].argmax(-1))[tasks]
    np.testing.assert_array_equal(routes.decisions.actions[0], best)
    np.testing.assert_allclose(out, looped(params, x, best), atol=1e-5)


def test_training_explores_as_suits_the_rule_or_as_it_is_told():
    stack = stack_of("approximator that sees the task")
    params, x = start(stack), batch()
    assert run(stack, params, x, train=True)[1].exploration == (0.1, 0.0)
    told = run(stack, params, x, train=True, exploration=Exploration(1.0, 0.0))[1]
    assert told.exploration == (1.0, 0.0)
    # With epsilon 1 any block is drawn, with 0 only the best one.
    greedy = run(stack, params, x, train=True, exploration=Exploration(0.0, 0.0))[1]
    best = run(stack, params, x)[1]
    np.testing.assert_array_equal(greedy.decisions.actions, best.decisions.actions)
    assert (told.decisions.actions != best.decisions.actions).any()


def test_one_bank_may_serve_every_depth():
    stack = RoutedStack(DenseBlock(F), ROUTERS["tabular"], shared_bank=True, block_noise=1.0)
    params, x = start(stack), batch()
    assert {name for name in params if name.startswith("banks")} == {"banks_0"}
    out, routes = run(stack, params, x)
    actions = np.broadcast_to(routes.decisions.actions, (T, N, D)).reshape(-1, D)
    both = {"banks_0": params["banks_0"], "banks_1": params["banks_0"]}
    expected = looped(both, x.reshape(-1, F), actions)
    np.testing.assert_allclose(out.reshape(-1, F), expected, atol=1e-5)


def test_mixtures_and_alternatives_of_one_bank_are_those_of_equal_banks():
    x = batch()
    for name in ("mixture of parameters", "full information"):
        one = RoutedStack(DenseBlock(F), ROUTERS[name], shared_bank=True, block_noise=1.0)
        params = start(one)
        both = {**params, "banks_1": params["banks_0"]}
        (found, routes), (expected, _) = run(one, params, x), run(stack_of(name), both, x)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    found, expected = (
        stack.apply({"params": variables}, routes, method="alternatives")
        for stack, variables in ((one, params), (stack_of(name), both))
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_layers_may_have_blocks_of_their_own():
    stack = RoutedStack((DenseBlock(8), DenseBlock(2, activation=False)), ROUTERS["tabular"])
    out, _ = jax.eval_shape(lambda: stack.init_with_output(jax.random.key(0), batch())[0])
    assert out.shape == (T, N, 2)


class Nested(nn.Module):
    """A stack deep inside a model."""

    @nn.compact
    def __call__(self, x, tasks):
        return RoutedStack(DenseBlock(F), ROUTERS["tabular"], name="middle")(x, tasks)[0]


def test_a_stack_may_stand_anywhere_in_a_model():
    params = shapes_of(Nested(), batch()[0], np.zeros(N, np.int32))
    assert set(params["middle"]) == {"banks_0", "banks_1", "router"}


WRONG = {
    "layout": (
        stack_of("tabular"),
        (np.zeros((5, 6), np.float32),),
        "x of shape (5, 6) is not [T, n, ...] with T = 3 tasks; give `tasks`, the task of each "
        "example, for a batch [B, ...].",
    ),
    "tasks": (
        stack_of("tabular"),
        (np.zeros((5, 6), np.float32), np.zeros(4, np.int32)),
        "tasks of shape (4,) and type int32 does not go with x of shape (5, 6): give one integer "
        "for each of the 5 examples.",
    ),
    "blocks": (
        RoutedStack((DenseBlock(6),), ROUTERS["tabular"]),
        (batch(),),
        "there are 1 blocks for the 2 depths of the router; give one block for each depth, or a "
        "single one for all.",
    ),
    "pass": (
        RoutedStack(DenseBlock(4), ROUTERS["pass"]),
        (batch(),),
        "PASS needs blocks that keep the shape of their input, and the block at depth 0 makes "
        "(4,) of (6,). Use another block, or build the router with pass_action for the other "
        "depths only.",
    ),
    "mixture": (
        RoutedStack(DenseBlock(4), Mixture(T, D, K, of="weights")),
        (batch(),),
        "of = 'weights' is not one of: outputs, parameters.",
    ),
    "shared_bank": (
        RoutedStack(DenseBlock(4), ROUTERS["tabular"], shared_bank=True),
        (batch(),),
        "shared_bank needs blocks that keep the shape of their input, and the block at depth 0 "
        "makes (4,) of (6,). Use another block, or one bank for each depth.",
    ),
}
for name in ("allocation", "mixture of outputs", "mixture of parameters"):
    stack = RoutedStack(DenseBlock(4), ROUTERS[name], shared_bank=True)
    WRONG[f"shared_bank, {name}"] = (stack, (batch(),), WRONG["shared_bank"][2])


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_told(name):
    stack, args, message = WRONG[name]
    with pytest.raises(ValueError) as caught:
        shapes_of(stack, *args)
    assert str(caught.value) == message
