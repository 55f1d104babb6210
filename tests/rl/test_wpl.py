"""The factors of WPL and the projection of a table, each against hand values."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from routing_jax.rl import wpl

_TABLES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6),
    elements=st.floats(-2, 3, width=32),
)


@pytest.mark.parametrize(
    ("convention", "gain", "loss"),
    # At pi = 0.2: a gain of 3 becomes 3 * 0.2 or 3 * 0.8; a loss of -3, -3 * 0.8 or -3 * 0.2.
    [("routing_networks", 0.6, -2.4), ("abdallah_lesser", 2.4, -0.6)],
)
def test_wpl_conventions_are_each_other_turned_round(convention, gain, loss):
    scale = wpl.WPL_CONVENTIONS[convention]
    value = scale(jnp.array([3.0, -3.0]), jnp.array([0.2, 0.2]))
    np.testing.assert_allclose(value, [gain, loss], rtol=1e-6)


def test_projection_clips_and_renormalises():
    # Clipped to 1, 0, 0.5; divided by 1.5.
    value = wpl.clip_and_renormalise(jnp.array([1.4, -0.3, 0.5]))
    np.testing.assert_allclose(value, [2 / 3, 0, 1 / 3], rtol=1e-6)


def test_projection_of_nothing_is_uniform():
    value = wpl.clip_and_renormalise(jnp.array([[-1.0, 0.0, -2.0, 0.0]]))
    np.testing.assert_array_equal(value, [[0.25] * 4])


@given(_TABLES)
def test_projection_gives_distributions(table):
    value = np.asarray(wpl.clip_and_renormalise(jnp.asarray(table)))
    assert value.min() >= 0
    np.testing.assert_allclose(value.sum(-1), 1, rtol=1e-5)


@given(_TABLES)
def test_projection_keeps_the_order_of_actions(table):
    value = np.asarray(wpl.clip_and_renormalise(jnp.asarray(table)))
    order = np.argsort(table, axis=-1, kind="stable")
    assert (np.diff(np.take_along_axis(value, order, -1), axis=-1) >= -1e-6).all()


@given(_TABLES)
def test_projection_leaves_distributions_alone(table):
    once = wpl.clip_and_renormalise(jnp.asarray(table))
    np.testing.assert_allclose(wpl.clip_and_renormalise(once), once, rtol=1e-5, atol=1e-7)


def test_a_floor_and_actions_that_are_not_offered():
    # Clipped to (0.9, 0, 0.3); above the floor of 0.1: (0.8, 0, -) of 0.8; 0.8 is shared out.
    allowed = jnp.array([True, True, False])
    value = wpl.clip_and_renormalise(jnp.array([0.9, -0.2, 0.3]), 0.1, allowed)
    np.testing.assert_allclose(value, [0.9, 0.1, 0.0], rtol=1e-6)


def test_projection_of_nothing_is_uniform_over_what_is_offered():
    allowed = jnp.array([True, False, True])
    value = wpl.clip_and_renormalise(jnp.array([-1.0, 0.7, 0.0]), 0.2, allowed)
    np.testing.assert_allclose(value, [0.5, 0.0, 0.5], rtol=1e-6)


@given(_TABLES, st.floats(0, 1), st.integers(0, 2**31 - 1))
def test_a_floor_holds(table, share, seed):
    allowed = np.random.default_rng(seed).random(table.shape[-1]) < 0.6
    allowed[0] = True
    floor = share / allowed.sum()
    value = np.asarray(
        wpl.clip_and_renormalise(jnp.asarray(table), float(floor), jnp.asarray(allowed))
    )
    assert (value[..., ~allowed] == 0).all()
    assert (value[..., allowed] >= floor - 1e-6).all()
    np.testing.assert_allclose(value.sum(-1), 1, rtol=1e-5)
    again = wpl.clip_and_renormalise(jnp.asarray(value), float(floor), jnp.asarray(allowed))
    np.testing.assert_allclose(again, value, atol=2e-6)
