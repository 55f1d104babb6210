"""Banks of unlike blocks against one block at a time: every strategy, mixtures, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.block_groups import Group
from routing_jax.dispatch import Stage, route, select
from routing_jax.mixtures import mix_active, mix_outputs

FEATURES = 3


def dense(params, x):
    return jnp.tanh(x @ params["weight"] + params["bias"][None])


def scaled(params, x):
    return x * params["scale"][None]


def identity(params, x):
    del params
    return x


GROUPS = (Group(dense, 2), Group(identity, 1), Group(scaled, 1))
"""Blocks 0 and 1 are alike; 2 has no parameters."""
BLOCKS = 4


def problem(seed, *shape):
    """The stacked parameters of the groups and inputs [*shape, features], NumPy."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    bank = (
        {"weight": normal(2, FEATURES, FEATURES), "bias": normal(2, FEATURES)},
        {},
        {"scale": normal(1, FEATURES)},
    )
    return bank, normal(*shape, FEATURES)


def masked(bank, x, actions):
    """Every block on all of x [T, n, F], and of each example what it chose; the action 4 passes."""
    outputs = [
        jnp.tanh(x @ bank[0]["weight"][k] + bank[0]["bias"][k][None, None]) for k in range(2)
    ]
    outputs += [x, x * bank[2]["scale"][0][None, None], x]
    return sum(
        jnp.where((actions == k)[..., None], out, jnp.zeros_like(out))
        for k, out in enumerate(outputs)
    )


def with_gradients(function, bank, x):
    """The value, and the gradients of its weighted sum."""
    weights = np.random.default_rng(9).normal(size=x.shape).astype(np.float32)

    def loss(bank, x):
        out = function(bank, x)
        return (out * weights).sum(), out

    run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (_, out), gradients = run(bank, x)
    return out, gradients


def assert_close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected)


ROUTES = {
    "mixed": lambda rng, shape: rng.integers(0, BLOCKS, shape),
    "crowded": lambda rng, shape: np.where(rng.random(shape) < 0.9, 1, 3),  # guests in all slots
    "passing": lambda rng, shape: rng.integers(2, BLOCKS + 1, shape),
}


@pytest.mark.parametrize("strategy", ["dense", "grouped", "auto"])
@pytest.mark.parametrize("routes", ROUTES)
def test_per_example(strategy, routes):
    bank, x = problem(0, 2, 25)
    actions = ROUTES[routes](np.random.default_rng(1), (2, 25)).astype(np.int32)
    run = jax.jit(
        functools.partial(select, GROUPS, strategy=strategy, pass_action=routes == "passing")
    )
    found = with_gradients(lambda bank, x: run(bank, x, actions), bank, x)
    assert_close(found, with_gradients(lambda bank, x: masked(bank, x, actions), bank, x))


@pytest.mark.parametrize("strategy", ["gather", "dense", "grouped", "auto"])
def test_per_task(strategy):
    bank, x = problem(1, 6, 3)
    actions = np.array([0, 1, 2, 3, 1, 4], np.int32)
    run = jax.jit(functools.partial(select, GROUPS, strategy=strategy, pass_action=True))
    found = with_gradients(lambda bank, x: run(bank, x, actions), bank, x)
    each = np.repeat(actions[:, None], 3, axis=1)
    assert_close(found, with_gradients(lambda bank, x: masked(bank, x, each), bank, x))


@pytest.mark.parametrize("strategy", ["gather", "dense", "grouped"])
def test_what_stands_behind_a_layer_is_applied_once_to_every_row(strategy):
    bank, x = problem(2, 3, 5)
    stages = [Stage(GROUPS, lambda _: bank, finish=lambda rows: 2 * rows)] * 2
    actions = np.array([[0, 2], [3, 1], [2, 2]], np.int32)
    found = jax.jit(lambda x: route(stages, x, actions, strategy=strategy))(x)
    expected = x
    for depth in range(2):
        each = np.repeat(actions[:, depth, None], 5, axis=1)
        expected = 2 * masked(bank, expected, each)
    assert_close(found, expected)


@pytest.mark.parametrize("mix", [mix_outputs, mix_active])
def test_mixtures(mix):
    bank, x = problem(3, 3, 4)
    weights = np.array([[0.5, 0, 0.25, 0], [0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4]], np.float32)

    def by_hand(bank, x):
        outputs = [masked(bank, x, np.full((3, 4), k)) for k in range(BLOCKS)]
        return jnp.einsum("ktnf,tk->tnf", jnp.stack(outputs), weights)

    run = jax.jit(functools.partial(mix, GROUPS))
    found = with_gradients(lambda bank, x: run(bank, x, weights), bank, x)
    assert_close(found, with_gradients(by_hand, bank, x))


def test_blocks_that_are_off_are_not_computed():
    seen = []

    def noted(params, x):
        jax.debug.callback(lambda: seen.append(1))
        return scaled(params, x)

    groups = (Group(identity, 1), Group(noted, 2))
    bank = ({}, {"scale": np.ones((2, FEATURES), np.float32)})
    weights = np.array([[1, 0, 0], [0.5, 0, 0.5]], np.float32)
    x = problem(4, 2, 3)[1]
    out = jax.jit(functools.partial(mix_active, groups))(bank, x, weights)
    np.testing.assert_allclose(out, x)
    jax.effects_barrier()
    assert len(seen) == 1  # one block for one task
