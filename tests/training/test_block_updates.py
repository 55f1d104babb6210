"""Blocks that nobody took stay where they are; popular ones take larger steps, or do not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from routing_jax.routers.policies import TabularPolicy
from routing_jax.routers.router import Router
from routing_jax.training import loop, step
from routing_jax.training.block_updates import (
    divide_by_use,
    expected_use,
    mask_unused_blocks,
    used_blocks,
)
from routing_jax.training.optimizers import make_optimizer
from routing_jax.training.run import make_run
from routing_jax.training.state import Routing, hyperparams
from routing_jax.types import Decisions, Exploration, Trajectory


@pytest.fixture(autouse=True)
def standard_promotion():
    """The bias correction of `optax.adam` raises a float to the power of an integer."""
    with jax.numpy_dtype_promotion("standard"):
        yield


PARAMS = {
    "encoder": {"kernel": jnp.ones(2)},
    "banks_0": {"blocks": {"bias": jnp.ones(3), "kernel": jnp.ones((3, 2, 2))}},
}


def gradients_of(used, size):
    """Of the encoder, and of the blocks in `used`."""
    mask = jnp.isin(jnp.arange(3), jnp.asarray(used))
    return {
        "encoder": {"kernel": jnp.full(2, size)},
        "banks_0": {
            "blocks": {
                "bias": jnp.zeros(3),
                "kernel": jnp.where(mask[:, None, None], jnp.full((3, 2, 2), size), 0),
            }
        },
    }


def stepped(optimizer, sequence):
    """Parameters and state after a sequence of gradients, and those before the last."""

    @jax.jit
    def step(params, state, gradients):
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    now = before = (PARAMS, optimizer.init(PARAMS))
    for gradients in sequence:
        before, now = now, step(*now, gradients)
    return now, before


def test_used_blocks():
    used = used_blocks(gradients_of([0, 2], 1.0))
    np.testing.assert_array_equal(used["banks_0"]["blocks"]["kernel"].ravel(), [1, 0, 1])
    # A block is used as a whole: its bias counts although the bias's own gradient is zero.
    np.testing.assert_array_equal(used["banks_0"]["blocks"]["bias"], [1, 0, 1])
    assert used["encoder"]["kernel"]


OPTIMIZERS = [optax.adam(0.1), optax.sgd(0.1, momentum=0.9)]
SEQUENCE = [gradients_of([0, 1], 1.0), gradients_of([0, 1], 0.5), gradients_of([0, 2], -2.0)]


@pytest.mark.parametrize("inner", OPTIMIZERS, ids=["adam", "momentum"])
def test_an_unused_block_and_its_moments_stay(inner):
    now, before = stepped(mask_unused_blocks(inner), SEQUENCE)
    per_block = [leaf for leaf in jax.tree.leaves(now) if leaf.shape[:1] == (3,)]
    per_block_before = [leaf for leaf in jax.tree.leaves(before) if leaf.shape[:1] == (3,)]
    assert len(per_block) >= 4  # parameters and at least one moment of each
    for leaf, leaf_before in zip(per_block, per_block_before, strict=True):
        np.testing.assert_array_equal(leaf[1], leaf_before[1])
    assert (now[0]["banks_0"]["blocks"]["kernel"][1] != 1).all()  # it had learnt before


@pytest.mark.parametrize("inner", OPTIMIZERS, ids=["adam", "momentum"])
def test_a_block_in_use_and_all_other_parameters_get_exactly_the_inner_update(inner):
    masked, plain = stepped(mask_unused_blocks(inner), SEQUENCE)[0], stepped(inner, SEQUENCE)[0]
    jax.tree.map(
        lambda mine, other: (
            np.testing.assert_array_equal(mine[:1], other[:1])
            if mine.shape[:1] == (3,)
            else np.testing.assert_array_equal(mine, other)
        ),
        masked,
        plain,
    )
    # Without the mask the second block moves on, which is what the mask is for.
    kernels = [params["banks_0"]["blocks"]["kernel"][1] for params, _ in (masked, plain)]
    assert (kernels[0] != kernels[1]).all()


@pytest.mark.parametrize(
    ("name", "momentum", "unused_blocks", "moves"),
    [
        ("adam", 0.9, "keep", False),
        ("adam", 0.9, "drift", True),
        ("sgd", 0.9, "keep", False),
        ("sgd", 0.9, "drift", True),
        ("sgd", 0.0, "drift", False),  # it has no memory that could move a block
    ],
)
def test_the_configuration_chooses(tiny_config, name, momentum, unused_blocks, moves):
    config = tiny_config(
        optimizer__name=name, optimizer__momentum=momentum, optimizer__unused_blocks=unused_blocks
    )
    params = {**PARAMS, "router": {"policy": {"table": jnp.full((1, 1, 2), 0.5)}}}
    trajectory = Trajectory(
        Decisions(jnp.array([[[1]]]), jnp.array([[0]])),
        rewards=jnp.zeros((1, 1, 1)),
        final_reward=jnp.ones((1, 1)),
        weights=jnp.ones((1, 1)),
    )
    router = Router((0,), TabularPolicy(1, 1, 2), ((True, True),))
    optimizer = make_optimizer(config, router, hyperparams(config), total_steps=10)
    state = optimizer.init(params)
    for used in ([0, 1], [0]):
        gradients = {**gradients_of(used, 1.0), "router": params["router"]}
        updates, state = optimizer.update(gradients, state, params, trajectory=trajectory)
    kernel = updates["banks_0"]["blocks"]["kernel"]
    assert bool((kernel[1] != 0).all()) == moves
    assert (kernel[0] != 0).all()


def test_expected_use():
    # Two tasks, two depths of one bank of two blocks, and PASS. Mean over tasks: 0.3 and 0.6 at the
    # first depth, 0.5 and 0.05 at the second; over depths 0.4 and 0.325.
    probabilities = jnp.array(
        [[[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]], [[0.1, 0.9, 0.0], [0.0, 0.1, 0.9]]]
    )
    (use,) = expected_use(probabilities, (0, 0), (2,), decisions=100)
    np.testing.assert_allclose(use, [0.4, 0.325], rtol=1e-6)
    # A bank for each depth; at the second a block has the use of one of ten decisions at least.
    first, second = expected_use(probabilities, (0, 1), (2, 2), decisions=10)
    np.testing.assert_allclose(first, [0.3, 0.6], rtol=1e-6)
    np.testing.assert_allclose(second, [0.5, 0.1], rtol=1e-6)


def test_blocks_of_even_use_step_as_ever_however_few_decisions_there_are():
    even = jnp.full((2, 1, 20), 1 / 20)
    (use,) = expected_use(even, (0,), (20,), decisions=2)
    np.testing.assert_allclose(use * 20, np.ones(20), rtol=1e-6)


def test_gradients_are_divided_by_use():
    # Of three blocks the first takes half of the examples: 3 * 0.5 = 1.5 times an even share.
    gradients = gradients_of([0, 1, 2], 3.0)
    divide = divide_by_use()
    use = (jnp.array([1 / 2, 1 / 3, 1 / 6]),)
    divided, _ = divide.update(gradients, divide.init(PARAMS), PARAMS, use=use)
    kernel = divided["banks_0"]["blocks"]["kernel"]
    np.testing.assert_allclose(kernel[:, 0, 0], [2, 3, 6], rtol=1e-6)
    np.testing.assert_array_equal(divided["encoder"]["kernel"], gradients["encoder"]["kernel"])


def one_step(config, tasks):
    """What a run's first step adds to the parameters."""
    run, train = make_run(config, tasks), loop.to_device(tasks.train)
    start = jax.jit(run.program.init)(run.hyper, train)
    after = jax.jit(run.program.step)(start, run.hyper, train)
    return jax.tree.map(lambda new, old: np.asarray(new - old), after.params, start.params)


def asked_in_a_step(config, tasks, monkeypatch):
    """The arguments of `expected_use` in a step of a run."""
    asked = []

    def remember(*arguments, **options):
        asked.append((arguments, options))
        return expected_use(*arguments, **options)

    monkeypatch.setattr(step, "expected_use", remember)
    run, train = make_run(config, tasks), loop.to_device(tasks.train)
    start = jax.eval_shape(run.program.init, run.hyper, train)
    jax.eval_shape(run.program.step, start, run.hyper, train)
    return asked


@pytest.mark.parametrize(
    ("settings", "decisions"),
    [
        ({}, 10 * 8),
        ({"router__decision_per": "task"}, 10),
        ({"training__round_robin": True, "data__share_images": False}, 10 * 8),
    ],
)
def test_the_use_is_of_all_tasks(tiny_config, digits, monkeypatch, settings, decisions):
    config = tiny_config(**settings, optimizer__block_steps="by_use")
    ((arguments, options),) = asked_in_a_step(config, digits, monkeypatch)
    probabilities, bank_of_depth, num_blocks = arguments
    assert (probabilities.shape, bank_of_depth, num_blocks) == ((10, 2, 4), (0, 1), [4, 4])
    assert options == {"decisions": decisions}


def test_decisions_drawn_at_random_count_as_use(tiny_config, digits):
    """Value rules take the best action but for epsilon: here block 0 of four, and 0.2 of all."""
    config = tiny_config(
        router__rule="q_learning", router__epsilon=0.2, optimizer__block_steps="by_use"
    )
    run = make_run(config, digits)
    model = run.program.model(run.hyper)
    greedy = jnp.zeros((10, 2, 4)).at[..., 0].set(1.0)
    use = step._use(config, model, Routing(greedy, jnp.zeros(2)), Exploration(epsilon=0.2))
    np.testing.assert_allclose(use[0], [0.85, 0.05, 0.05, 0.05], rtol=1e-6)


def test_a_run_divides_by_the_use_of_its_routes(tiny_config, digits):
    """Seven tasks of ten share block 0, three block 1: 1.4 and 0.6 times an even share."""
    settings = {
        "router__policy": "fixed",
        "router__routes": " ".join(["0-0"] * 7 + ["1-1"] * 3),
        "model__num_blocks": None,
        "optimizer__momentum": 0.0,
    }
    summed = one_step(tiny_config(**settings), digits)
    divided = one_step(tiny_config(**settings, optimizer__block_steps="by_use"), digits)
    for bank in ("banks_0", "banks_1"):
        kernels = [of[bank]["blocks"]["Dense_0"]["kernel"] for of in (summed, divided)]
        for block, use in enumerate((1.4, 0.6)):
            np.testing.assert_allclose(kernels[1][block], kernels[0][block] / use, atol=1e-6)
            assert np.abs(kernels[0][block]).max() > 1e-4


def test_a_router_that_waits_leaves_the_blocks_alone_to_learn(tiny_config, digits):
    changed = one_step(tiny_config(router__learns_from=0.5), digits)
    assert not any(leaf.any() for leaf in jax.tree.leaves(changed["router"]))
    assert changed["banks_0"]["blocks"]["Dense_0"]["kernel"].any()
    changed = one_step(tiny_config(), digits)
    assert any(leaf.any() for leaf in jax.tree.leaves(changed["router"]))
