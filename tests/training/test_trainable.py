"""Parts of a network that train, and those that stay bit for bit as they were."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saved_runs import some_network
from small_compositional import SMALL_COMPOSITIONAL

from routing_jax.data import loading
from routing_jax.errors import UserError
from routing_jax.training import loop
from routing_jax.training.products_on_cpu import products
from routing_jax.training.run import make_run
from routing_jax.training.state import by_path
from routing_jax.training.step import variables_of
from routing_jax.training.trainable import numbers, part_of
from routing_jax.types import Exploration

COMPOSITIONAL = SMALL_COMPOSITIONAL | {
    "data__share_images": False,
    "data__num_tasks": 2,
    "training__examples_per_task": 4,
    "optimizer__momentum": 0.9,
    "optimizer__l2": 0.1,
}
WPL = {"model__head": "own", "optimizer__l2": 0.1}


@pytest.fixture(scope="module")
def before_and_after(tiny_config):
    """The variables of a small network before and after three steps, by path."""

    def take(system, trainable, steps=3):
        config = tiny_config(**system, training__trainable=trainable)
        run = make_run(config, loading.load(config.data, say=lambda _: None))
        train = loop.to_device(run.tasks.train)
        start = run.init(run.hyper, train)
        before = jax.device_get(variables_of(start))
        segment = jax.jit(run.program.segment)
        data = (run.hyper, train, loop.to_device(run.tasks.test))
        after, _ = segment(start, *data, jnp.int32(steps), jnp.asarray(False))
        return by_path(before), by_path(jax.device_get(variables_of(after)))

    return take


def part(name):
    collection, *path = name.split(".")
    return "statistics" if collection == "batch_stats" else part_of(tuple(path))


@pytest.mark.parametrize(
    ("system", "trainable"),
    [
        (COMPOSITIONAL, "head,mixing"),
        (COMPOSITIONAL, "normalisation,statistics"),
        (WPL, "head"),
    ],
)
def test_what_is_named_moves_and_all_else_keeps_its_bits(before_and_after, system, trainable):
    before, after = before_and_after(system, trainable)
    assert before.keys() == after.keys()
    moved = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    named = {name for name in before if part(name) in trainable.split(",")}
    assert {part(name) for name in moved} == set(trainable.split(","))
    assert moved <= named
    # All but perhaps a bias, or the temperature, which is 1 throughout.
    assert all(name.endswith(("bias", "temperature")) for name in named - moved)


def test_what_is_frozen_has_no_moments(tiny_config):
    config = tiny_config(**COMPOSITIONAL, training__trainable="head")
    state = loop.abstract_state(make_run(config, loading.load(config.data, say=lambda _: None)))
    moments = sum(leaf.size for leaf in jax.tree.leaves(state.optimizer) if leaf.size > 1)
    # Momentum, for two heads of 256 x 2 + 2.
    assert moments == numbers("head", state.params) == 2 * (256 * 2 + 2)


def test_no_gradient_is_computed_of_what_is_frozen(tiny_config):
    def multiply_adds(trainable):
        config = tiny_config(**COMPOSITIONAL, training__trainable=trainable)
        run = make_run(config, loading.load(config.data, say=lambda _: None))
        train = loop.to_device(run.tasks.train)
        traced = jax.jit(run.program.step).trace(run.init(run.hyper, train), run.hyper, train)
        return sum(product.multiply_adds for product in products(traced.jaxpr.jaxpr))

    # Of all: forward, of inputs and of kernels. Mixing weights need the latter two of all blocks.
    head, route, everything = map(multiply_adds, ("head", "head,mixing", "all"))
    assert head < 0.6 * everything
    assert head < route < everything


def test_with_frozen_averages_no_answer_of_a_training_pass_depends_on_the_batch(tiny_config):
    config = tiny_config(**COMPOSITIONAL, training__trainable="head")
    run = make_run(config, loading.load(config.data, say=lambda _: None))
    state = run.init(run.hyper, loop.to_device(run.tasks.train))
    model = run.program.model(run.hyper)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 5, 8, 8, 1)), jnp.uint8)

    def logits(of):
        out, _ = model.apply(
            variables_of(state),
            of,
            exploration=Exploration(jnp.float32(0), jnp.float32(1)),
            rngs={"router": jax.random.key(0)},
            mutable=["batch_stats"],
        )
        return out.logits

    np.testing.assert_allclose(logits(images)[:, :1], logits(images[:, :1]), rtol=1e-4, atol=1e-5)


SWITCHES = {
    "model__name": "gumbel_matrix",
    "router__rule": "gumbel_softmax",
    "router__optimizer": "adam",
}


@pytest.mark.parametrize("system", [{}, SWITCHES])
def test_where_no_router_learns_training_takes_the_best_routes(tiny_config, digits, system):
    images = jnp.asarray(digits.test.images[None, :20])

    def routed(trainable):
        """Logits of a training pass by the key of what it draws."""
        more = {"model__head": "own", "training__trainable": trainable}
        config = tiny_config(**system, **more)
        run, variables = make_run(config, digits), variables_of(some_network(config, digits))
        model, exploration = run.program.model(run.hyper), Exploration(0.0, 1.0)
        call = partial(model.apply, variables, images, exploration=exploration)
        return jax.jit(lambda key: call(rngs={"router": key}).logits)

    keys = jax.random.split(jax.random.key(0))
    head, both = routed("head"), routed("head,mixing")
    np.testing.assert_array_equal(head(keys[0]), head(keys[1]))
    assert (both(keys[0]) != both(keys[1])).any()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("head.blocks.Dense_0.kernel", "head"),
        ("router.logits", "mixing"),
        ("router.policy.banks_0.blocks.Dense_0.kernel", "mixing"),
        ("mix_1", "mixing"),
        ("banks_0.blocks.BatchNorm_0.scale", "normalisation"),
        ("banks_0.groups_0.blocks.NormRelu_0.GroupNorm_0.bias", "normalisation"),
        ("norms_1.GroupNorm_0.scale", "normalisation"),
        ("encoder.BatchNorm_0.scale", "normalisation"),
        ("encoder.Conv3x3_0.kernel", "encoder"),
        ("adapter.Dense_0.bias", "adapter"),
        ("banks_1.blocks.Dense_0.kernel", "blocks"),
    ],
)
def test_the_part_of_a_parameter(path, expected):
    assert part_of(tuple(path.split("."))) == expected


def test_a_part_that_the_network_does_not_have(tiny_config, digits):
    config = tiny_config(training__trainable="blocks,head")
    with pytest.raises(UserError) as error:
        loop.abstract_state(make_run(config, digits))
    assert str(error.value) == (
        "training.trainable = blocks,head: this network has no head; what it has: mixing, blocks."
    )
