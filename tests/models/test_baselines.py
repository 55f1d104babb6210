"""Baselines of the routing network: fixed routes, and how many parameters each system has."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.errors import UserError
from routing_jax.models.factory import DataShape, make_model
from routing_jax.objectives import OBJECTIVES
from routing_jax.types import Batch, Exploration

SHAPE = DataShape(3, 2, (2, 3, 1))


def fixed(routes, **values):
    return {"router__policy": "fixed", "router__routes": routes, "model__num_blocks": None} | values


def train_pass(built, images):
    return jax.jit(lambda v, x: built.model.apply(v, x, exploration=Exploration()))(
        built.variables, images
    )


def random_images(tasks=3, examples=4):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (tasks, examples, *SHAPE.image), dtype=np.uint8)


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ("own", [[0, 0, 0], [1, 1, 1], [2, 2, 2]]),
        ("own_last", [[0, 0, 0], [0, 0, 1], [0, 0, 2]]),
        ("shared", [[0, 0, 0]] * 3),
        ("0-2-0 1-1-0 0-0-1", [[0, 2, 0], [1, 1, 0], [0, 0, 1]]),
    ],
)
def test_fixed_routes_are_the_routing_network_along_them(build, routes, expected):
    built = build(SHAPE, **fixed(routes))
    images = random_images()
    routed = train_pass(built, images)
    np.testing.assert_array_equal(
        routed.decisions.actions, np.repeat(expected, 4, 0).reshape(3, 4, 3)
    )
    # A learned network of as many blocks, with the same blocks in front, along the same routes.
    learned = build(SHAPE, model__num_blocks=3)
    params = learned.variables["params"]
    for name, bank in built.variables["params"].items():
        params[name] = jax.tree.map(
            lambda mine, other: jnp.asarray(other).at[: len(mine)].set(mine), bank, params[name]
        )
    x = images.reshape(3, 4, 6).astype(np.float32) / 255
    actions = np.asarray(expected, np.int32)[:, None]
    followed = learned.model.apply(learned.variables, x, actions, method="follow")
    np.testing.assert_allclose(routed.logits, followed, atol=1e-5)
    assert "router" not in built.variables["params"]
    assert built.model.learned_router is None


def test_task_specific_networks_are_separate_networks(build):
    built = build(SHAPE, **fixed("own"))
    images = random_images()
    routed = train_pass(built, images)
    params = jax.device_get(built.variables["params"])
    for task in range(3):
        x = images[task].reshape(4, 6) / 255
        for depth in range(3):
            dense = params[f"banks_{depth}"]["blocks"]["Dense_0"]
            x = x @ dense["kernel"][task] + dense["bias"][task]
            x = np.maximum(x, 0) if depth < 2 else x
        np.testing.assert_allclose(routed.logits[task], x, atol=1e-5)

    def answers_of_two(images):
        return built.model.apply(built.variables, images, exploration=Exploration()).logits[1:]

    changed = images.copy()
    changed[0] = 255 - changed[0]
    np.testing.assert_array_equal(answers_of_two(images), answers_of_two(changed))


def test_random_routes_differ_by_seed_and_by_nothing_else(model_config):
    config = model_config(**fixed("random", model__num_blocks=5))

    def routes(seed):
        model = make_model(config, DataShape(20, 2, (2, 3, 1)), block_noise=1.0, seed=seed)
        assert [bank.num_blocks for bank in model.banks] == [5, 5, 5]
        return np.asarray(model.router.policy.routes)

    first, again, other = routes(0), routes(0), routes(1)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first.min(), first.max()) == (0, 4)


# MNIST-like images of 28x28 leave 3 * 3 * 32 = 288 features; 10 tasks of 2 classes, width 128.
ENCODER = (9 * 1 * 32 + 3 * 9 * 32 * 32) + 4 * 2 * 32
HIDDEN = (288 * 128 + 128) + (128 * 128 + 128)
LOGITS = 128 * 2 + 2


@pytest.mark.parametrize(
    ("values", "number"),
    [
        ({}, ENCODER + 10 * (HIDDEN + LOGITS) + 10 * 3 * 10),
        (fixed("own"), ENCODER + 10 * (HIDDEN + LOGITS)),
        (fixed("own_last"), ENCODER + HIDDEN + 10 * LOGITS),
        (fixed("shared"), ENCODER + HIDDEN + LOGITS),
        (fixed("random"), ENCODER + 10 * (HIDDEN + LOGITS)),
        (
            fixed(" ".join(f"{task // 5}-{task // 5}-{task}" for task in range(10))),
            ENCODER + 2 * HIDDEN + 10 * LOGITS,
        ),
        ({"model__name": "cross_stitch"}, ENCODER + 10 * (HIDDEN + LOGITS) + 2 * 10 * 10),
        ({"model__name": "soft_mixture"}, ENCODER + 10 * (HIDDEN + LOGITS) + 10 * 3 * 10),
        ({"model__name": "joint_classifier"}, ENCODER + HIDDEN + 10 * LOGITS),
    ],
    ids=str,
)
def test_the_number_of_parameters_is_the_sum_by_hand(model_config, values, number):
    default = {"model__encoder": "conv4", "model__num_blocks": None, "model__width": 128}
    model = make_model(
        model_config(**(default | values)), DataShape(10, 2, (28, 28, 1)), block_noise=0.1
    )
    keys = {"params": jax.random.key(0), "router": jax.random.key(0)}
    shapes = jax.eval_shape(
        lambda images: model.init(keys, images, exploration=Exploration()),
        jax.ShapeDtypeStruct((10, 1, 28, 28, 1), "uint8"),
    )
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"])) == number


@pytest.mark.parametrize(
    ("routes", "found"),
    [("0-0-0 1-1-1", "2 routes through 3"), ("0-0 1-1-1 0-0", "3 routes through 2, 3")],
)
def test_a_table_that_does_not_fit_is_refused(model_config, routes, found):
    with pytest.raises(UserError) as caught:
        make_model(model_config(**fixed(routes)), SHAPE, block_noise=1.0)
    assert str(caught.value) == (
        f"router.routes holds {found} layers; give each of the 3 tasks one through 3."
    )


def test_fixed_networks_can_be_static_arguments(build):
    assert hash(build(SHAPE, **fixed("own")).model) == hash(build(SHAPE, **fixed("own")).model)


def test_a_joint_classifier_is_a_softmax_over_the_classes_of_all_tasks(build):
    built = build(SHAPE, model__name="joint_classifier", model__num_blocks=None)
    images = random_images()
    routed = train_pass(built, images)
    params = jax.device_get(built.variables["params"])
    x = images.reshape(12, 6) / 255
    for depth in range(2):
        dense = params[f"banks_{depth}"]["blocks"]["Dense_0"]
        assert len(dense["kernel"]) == 1  # one trunk
        x = np.maximum(x @ dense["kernel"][0] + dense["bias"][0], 0)
    last = params["banks_2"]["blocks"]["Dense_0"]
    everyone = np.concatenate([x @ last["kernel"][t] + last["bias"][t] for t in range(3)], axis=1)
    labels = np.array([[0, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 1]])
    log_probs = everyone - np.log(np.exp(everyone).sum(1, keepdims=True))
    classes = (labels + 2 * np.arange(3)[:, None]).ravel()
    batch = Batch(images, jnp.asarray(labels), jnp.ones((3, 4)))
    loss = OBJECTIVES["classification"].loss(routed.logits, batch, routed.rivals)
    assert float(loss) == pytest.approx(-log_probs[np.arange(12), classes].mean(), abs=1e-5)
    # What is answered are the classes of the example's own task.
    own = everyone.reshape(3, 4, 3, 2)[np.arange(3), :, np.arange(3)]
    np.testing.assert_allclose(routed.logits, own, atol=1e-5)
