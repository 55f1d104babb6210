"""The routing network against a plain loop over tasks, examples and depths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from routing_jax.models.factory import DataShape
from routing_jax.types import Exploration

SHAPE = DataShape(3, 2, (2, 3, 1))


def random_images(tasks, examples, image=SHAPE.image, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (tasks, examples, *image), dtype=np.uint8)


def train_pass(built, images, *, seed=0, variables=None):
    """(Routed, updated collections) of a training pass."""
    return _train_pass(built.model, variables or built.variables, images, seed)


@functools.partial(jax.jit, static_argnums=0)
def _train_pass(model, variables, images, seed):
    return model.apply(
        variables,
        images,
        exploration=Exploration(),
        rngs={"router": jax.random.key(seed)},
        mutable=["batch_stats"],
    )


@functools.partial(jax.jit, static_argnums=0)
def follow(model, variables, x, actions):
    return model.apply(variables, x, actions, method="follow")


def looped(built, images, actions):
    """Logits [T, n, C] of flattened images, one example after the other."""
    params = jax.device_get(built.variables["params"])
    depth = len(built.model.bank_of_depth)
    out = np.zeros((*actions.shape[:2], SHAPE.num_classes))
    for task, example in np.ndindex(actions.shape[:2]):
        x = images[task, example].reshape(-1) / 255
        for layer, bank in enumerate(built.model.bank_of_depth):
            dense = params[f"banks_{bank}"]["blocks"]["Dense_0"]
            action = actions[task, example, layer]
            if action == len(dense["kernel"]):
                continue
            x = x @ dense["kernel"][action] + dense["bias"][action]
            x = np.maximum(x, 0) if layer < depth - 1 else x
        out[task, example] = x
    return out


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"dispatch__strategy": "dense"},
        {"router__pass_action": True, "model__depth": 4},
        {"model__bank": "shared", "model__depth": 4, "router__pass_action": True},
        {"router__decision_per": "task", "router__pass_action": True},
        {"router__agent": "single", "model__num_blocks": 1},
    ],
    ids=str,
)
def test_the_network_equals_a_loop_over_examples_along_its_own_decisions(build, values):
    built = build(**values)
    images = random_images(3, 20)
    routed, _ = train_pass(built, images)
    assert routed.logits.shape == (3, 20, 2)
    assert routed.logits.dtype == jnp.float32
    actions = np.asarray(routed.decisions.actions)
    assert actions.shape == (3, 20, len(built.model.bank_of_depth))
    if values.get("router__pass_action"):
        assert (actions == 2).any()
    np.testing.assert_allclose(routed.logits, looped(built, images, actions), atol=1e-5)


def test_follow_takes_actions_per_task_or_per_example(build):
    built = build()
    x = random_images(3, 4).reshape(3, 4, 6).astype(np.float32) / 255
    per_task = np.array([[[0, 1, 1]], [[1, 1, 0]], [[0, 0, 0]]], np.int32)
    per_example = np.broadcast_to(per_task, (3, 4, 3))
    routes = [
        follow(built.model, built.variables, x, actions) for actions in (per_task, per_example)
    ]
    np.testing.assert_allclose(routes[0], routes[1], atol=1e-5)
    np.testing.assert_allclose(
        routes[0], looped(built, random_images(3, 4), per_example), atol=1e-5
    )


@pytest.mark.parametrize("encoder", ["flatten", "conv4"])
def test_shared_images_equal_the_same_images_given_to_each_task(build, encoder):
    shape = DataShape(3, 2, (8, 8, 1))
    built = build(shape, model__encoder=encoder)
    shared = random_images(1, 5, shape.image)
    once, once_stats = train_pass(built, shared)
    each, each_stats = train_pass(built, np.repeat(shared, 3, axis=0))
    np.testing.assert_array_equal(once.decisions.actions, each.decisions.actions)
    assert once.logits.shape == each.logits.shape == (3, 5, 2)
    np.testing.assert_allclose(once.logits, each.logits, atol=2e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), once_stats, each_stats)


def test_shared_images_give_the_gradients_of_the_same_images_given_to_each_task(build):
    built = build()
    shared = random_images(1, 5)
    labels = np.random.default_rng(1).integers(0, 2, (3, 5)).astype(np.int32)

    def loss(params, images):
        routed, _ = train_pass(built, images, variables={"params": params})
        return optax.softmax_cross_entropy_with_integer_labels(routed.logits, labels).mean()

    gradient = jax.jit(jax.grad(loss))
    once, each = (
        gradient(built.variables["params"], images)
        for images in (shared, np.repeat(shared, 3, axis=0))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), once, each)
    # The loss does not reach the policy; reinforcement learning does.
    np.testing.assert_array_equal(once["router"]["policy"]["table"], np.zeros((3, 3, 2)))


def test_a_shared_bank_gets_the_gradients_of_all_its_depths(build):
    built = build(model__bank="shared", model__num_blocks=1, model__depth=3, model__width=6)
    assert built.model.bank_of_depth == (0, 0, 1)
    apart = build(model__num_blocks=1, model__depth=3, model__width=6)
    params = built.variables["params"]
    copied = params | {"banks_1": params["banks_0"], "banks_2": params["banks_1"]}
    x = random_images(3, 4).reshape(3, 4, 6).astype(np.float32) / 255

    def gradient(model, params):
        actions = np.zeros((3, 4, 3), np.int32)
        return jax.grad(lambda params: follow(model, {"params": params}, x, actions).sum())(params)

    shared, separate = gradient(built.model, params), gradient(apart.model, copied)
    both = jax.tree.map(jnp.add, separate["banks_0"], separate["banks_1"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), shared["banks_0"], both)
    assert float(jnp.abs(both["blocks"]["Dense_0"]["kernel"]).max()) > 0.1


def test_batch_statistics_are_updated_by_training_only(build):
    shape = DataShape(3, 2, (8, 8, 1))
    built = build(shape, model__encoder="conv4")
    images = random_images(3, 4, shape.image)
    before = built.variables["batch_stats"]
    _, updated = train_pass(built, images)
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), updated["batch_stats"], before)
    assert all(jax.tree.leaves(changed))
    _, evaluated = built.model.apply(
        built.variables, images[0], train=False, method="encode", mutable=["batch_stats"]
    )
    jax.tree.map(np.testing.assert_array_equal, evaluated["batch_stats"], before)


def test_initialising_leaves_the_batch_statistics_at_their_start(build):
    shape = DataShape(3, 2, (8, 8, 1))
    model = build(shape, model__encoder="conv4").model
    keys = {"params": jax.random.key(0), "router": jax.random.key(0)}
    stats = jax.jit(
        lambda images: model.init(keys, images, exploration=Exploration())["batch_stats"]
    )(random_images(3, 4, shape.image))
    for norm in stats["encoder"].values():
        np.testing.assert_array_equal(norm["mean"], np.zeros(3))
        np.testing.assert_array_equal(norm["var"], np.ones(3))


@pytest.mark.parametrize("strategy", ["grouped", "gather"])
def test_bfloat16_computes_close_to_float32_and_gives_float32_logits(build, strategy):
    values = {"dispatch__strategy": strategy, "router__pass_action": True}
    if strategy == "gather":
        values["router__decision_per"] = "task"
    half, full = build(model__dtype="bfloat16", **values), build(**values)
    jax.tree.map(np.testing.assert_array_equal, half.variables, full.variables)
    images = random_images(3, 20)

    def loss(params, model):
        routed, _ = _train_pass(model, {"params": params}, images, 0)
        return (routed.logits**2).mean(), routed.logits

    run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    (_, logits), gradient = run(half.variables["params"], half.model)
    (_, exact), exact_gradient = run(full.variables["params"], full.model)
    assert logits.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(gradient))
    assert (logits != exact).any()  # it was not computed in float32
    assert (logits != logits.astype(jnp.bfloat16).astype(jnp.float32)).any()  # but for the logits
    np.testing.assert_allclose(logits, exact, atol=0.05)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=0.05), gradient, exact_gradient)


def test_routing_and_greedy_are_those_of_the_router(build):
    built = build(router__pass_action=True)
    x = random_images(3, 4).reshape(3, 4, 6).astype(np.float32) / 255
    routed = built.model.apply(built.variables, x, method="route")
    expected = [[1 / 3, 1 / 3, 1 / 3]] * 2 + [[1 / 2, 1 / 2, 0]]  # 6-6, 6-6, 6-2
    shape = (3, 1, 3, 3)  # one distribution serves all examples of a task
    np.testing.assert_allclose(routed.probabilities, np.broadcast_to(expected, shape), rtol=1e-6)
    np.testing.assert_array_equal(routed.decisions.actions, np.zeros((3, 4, 3)))


def test_the_key_of_the_router_decides_the_routes(build):
    built = build()
    images = random_images(3, 20)
    first, again, other = (train_pass(built, images, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.decisions.actions, again.decisions.actions)
    np.testing.assert_array_equal(first.logits, again.logits)
    assert (first.decisions.actions != other.decisions.actions).any()


@pytest.mark.parametrize("values", [{}, {"model__width": 6, "router__pass_action": True}], ids=str)
def test_alternatives_change_one_decision_each(build, values):
    built = build(SHAPE, model__num_blocks=3, router__rule="hedge", **values)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3, 4, 6)).astype(np.float32)
    actions = rng.integers(0, 3, (3, 4, 3)).astype(np.int32)
    found = jax.jit(lambda v, x, actions: built.model.apply(v, x, actions, method="alternatives"))(
        built.variables, x, actions
    )
    allowed = np.array(built.model.router.allowed)
    for depth, action in np.argwhere(allowed):
        changed = actions.copy()
        changed[..., depth] = action
        expected = follow(built.model, built.variables, x, changed)
        np.testing.assert_allclose(found[depth, action], expected, atol=1e-5)
    assert found.shape == (*allowed.shape, 3, 4, 2)
