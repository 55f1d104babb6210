"""Networks whose blocks are switched on and off for each task."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.errors import UserError
from routing_jax.models.factory import DataShape, make_model
from routing_jax.routers.allocation import FixedAllocation
from routing_jax.types import Exploration

SHAPE = DataShape(num_tasks=3, num_classes=2, image=(2, 3, 1))
GUMBEL = {
    "model__name": "gumbel_matrix",
    "model__head": "own",
    "model__num_blocks": 4,
    "model__depth": 2,
    "router__rule": "gumbel_softmax",
}
FIXED = GUMBEL | {"router__policy": "fixed", "router__rule": "wpl"}
MNIST = {
    "model__encoder": "pixels",
    "model__block": "valid_conv",
    "model__num_blocks": 4,
    "model__depth": 3,
    "model__width": 4,
}


def switched(built, switches):
    """The model with given switches [T, D, K], and its variables."""
    fixed = FixedAllocation(tuple(tuple(map(tuple, task)) for task in np.asarray(switches)))
    params = {name: value for name, value in built.variables["params"].items() if name != "router"}
    return built.model.clone(router=fixed), {"params": params}


def by_hand(params, x, switches, task, *, mean=True):
    """One task's logits, block by block."""
    for depth in range(2):
        blocks = params[f"banks_{depth}"]["blocks"]["Dense_0"]
        outputs = [
            np.maximum(x @ blocks["kernel"][k] + blocks["bias"][k], 0)
            for k in range(4)
            if switches[task][depth][k]
        ]
        x = sum(outputs, np.zeros((x.shape[0], 6))) / (max(len(outputs), 1) if mean else 1)
    head = params["head"]["blocks"]["Dense_0"]
    return x @ head["kernel"][task] + head["bias"][task]


SWITCHES = [
    [[1, 1, 0, 1], [0, 0, 1, 0]],
    [[0, 0, 0, 1], [1, 1, 1, 1]],
    [[1, 0, 1, 0], [0, 0, 0, 0]],  # nothing at the second depth: the head sees zeros
]


@pytest.mark.parametrize("exploration", [None, Exploration()], ids=["evaluation", "training"])
@pytest.mark.parametrize("merge", ["mean", "sum"])
def test_each_task_has_its_blocks_and_its_head(build, exploration, merge):
    model, variables = switched(build(SHAPE, **GUMBEL), SWITCHES)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 6)), jnp.float32)
    keys = {"router": jax.random.key(0)}
    routed = model.clone(merge=merge).apply(variables, x, exploration, method="route", rngs=keys)
    params = jax.tree.map(np.asarray, variables["params"])
    for task in range(3):
        expected = by_hand(params, np.asarray(x[task]), SWITCHES, task, mean=merge == "mean")
        np.testing.assert_allclose(routed.logits[task], expected, rtol=1e-4, atol=1e-5)
    assert routed.decisions is None
    np.testing.assert_array_equal(routed.probabilities, np.asarray(SWITCHES)[:, None])


def test_probabilities_are_for_reading_and_the_allocation_for_learning(build):
    built = build(SHAPE, **GUMBEL)
    x = jnp.ones((3, 2, 6))

    def total(params, field):
        routed = built.model.apply({"params": params}, x, method="route")
        return getattr(routed, field).sum()

    for field, learns in (("probabilities", False), ("allocation", True)):
        slope = jax.grad(total)(built.variables["params"], field)["router"]["logits"]
        assert bool((slope != 0).any()) == learns


def test_the_loss_reaches_switches_that_are_off(build):
    built = build(SHAPE, **GUMBEL)
    images = jnp.asarray(np.random.default_rng(1).integers(0, 255, (3, 4, 2, 3, 1)), jnp.uint8)

    def loss(params):
        routed = built.model.apply(
            {"params": params},
            images,
            exploration=Exploration(temperature=1.0),
            rngs={"router": jax.random.key(3)},
        )
        return (routed.logits**2).mean()

    slope = jax.grad(loss)(built.variables["params"])["router"]["logits"]
    assert (slope[:, 1] != 0).all()  # the last depth: all blocks of it are computed


@pytest.mark.parametrize(
    ("routes", "blocks", "expected"),
    [
        ("own", None, [[[1, 0, 0]] * 2, [[0, 1, 0]] * 2, [[0, 0, 1]] * 2]),
        ("all", 2, [[[1, 1]] * 2] * 3),
        ("0-1 0-0 1-0", None, [[[1, 0], [0, 1]], [[1, 0], [1, 0]], [[0, 1], [1, 0]]]),
    ],
)
def test_given_switches(build, routes, blocks, expected):
    built = build(SHAPE, **FIXED | {"router__routes": routes, "model__num_blocks": blocks})
    assert "router" not in built.variables["params"]
    routed = built.model.apply(built.variables, jnp.ones((3, 1, 6)), method="route")
    np.testing.assert_array_equal(routed.probabilities[:, 0], expected)


def test_the_mnist_network_has_as_many_parameters_as_the_paper(build):
    # 4 blocks of 5x5x1x4 + 4, and twice 4 of 3x3x4x4 + 4: 416 + 592 + 592 = 1,600, as A3 says;
    # heads of 3x3x4 = 36 features for 10 classes: 370 a task; switches 2 x 3 x 4 a task.
    shape = DataShape(4, 10, (28, 28, 1))
    built = build(shape, **GUMBEL | MNIST)
    sizes = {
        name: sum(leaf.size for leaf in jax.tree.leaves(part))
        for name, part in built.variables["params"].items()
    }
    assert sum(size for name, size in sizes.items() if "bank" in name) == 1600
    assert sizes["head"] == 4 * 370
    assert sizes["router"] == 4 * 24


def test_maps_that_are_too_small_are_refused(model_config):
    config = model_config(**GUMBEL | MNIST)
    with pytest.raises(UserError) as caught:
        make_model(config, DataShape(4, 10, (8, 8, 1)), block_noise=1.0)
    assert str(caught.value) == (
        "model.block: the convolution of depth 2 takes maps of at least 3x3, and the one before it "
        "leaves 2x2: use a smaller model.depth, larger images, or model.block=conv, which pads."
    )


def test_dropout_drops_in_training_only(build):
    plain, dropping = (
        build(SHAPE, **FIXED | {"router__routes": "all", "model__dropout": share})
        for share in (0.0, 0.5)
    )
    x = jnp.ones((3, 50, 6))
    keys = {"router": jax.random.key(0)}

    def logits(built, exploration):
        routed = built.model.apply(plain.variables, x, exploration, method="route", rngs=keys)
        return np.asarray(routed.logits)

    np.testing.assert_array_equal(logits(dropping, None), logits(plain, None))
    dropped, whole = logits(dropping, Exploration()), logits(plain, Exploration())
    assert (dropped.std(1) > 0).all()
    # What is kept is doubled, so the mean stays: 300 features, half of them gone.
    head = plain.variables["params"]["head"]["blocks"]["Dense_0"]["bias"]
    np.testing.assert_allclose(
        (dropped - head[:, None]).mean(1), (whole - head[:, None]).mean(1), rtol=0.5, atol=0.5
    )


@pytest.mark.parametrize("name", ["routing_network", "soft_mixture"])
def test_other_systems_take_a_head_too(build, name):
    changes = {"model__name": name, "model__head": "own", "model__depth": 2}
    built = build(SHAPE, **changes)
    assert len(built.model.bank_of_depth) == 2
    bank = built.variables["params"]["banks_1"]["blocks"]["Dense_0"]["kernel"]
    head = built.variables["params"]["head"]["blocks"]["Dense_0"]["kernel"]
    assert bank.shape == (2, 6, 6)
    assert head.shape == (3, 6, 2)
    assert built.model.apply(built.variables, jnp.ones((3, 4, 6)), method="route").logits.shape == (
        3,
        4,
        2,
    )
