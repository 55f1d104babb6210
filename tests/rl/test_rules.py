"""The factors of WPL and the projection of a table, each against hand values."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from routing_jax.rl import rules

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
    scale = rules.WPL_CONVENTIONS[convention]
    value = scale(jnp.array([3.0, -3.0]), jnp.array([0.2, 0.2]))
    np.testing.assert_allclose(value, [gain, loss], rtol=1e-6)


def test_projection_clips_and_renormalises():
    # Clipped to 1, 0, 0.5; divided by 1.5.
    value = rules.clip_and_renormalise(jnp.array([1.4, -0.3, 0.5]))
    np.testing.assert_allclose(value, [2 / 3, 0, 1 / 3], rtol=1e-6)


def test_projection_of_nothing_is_uniform():
    value = rules.clip_and_renormalise(jnp.array([[-1.0, 0.0, -2.0, 0.0]]))
    np.testing.assert_array_equal(value, [[0.25] * 4])


@given(_TABLES)
def test_projection_gives_distributions(table):
    value = np.asarray(rules.clip_and_renormalise(jnp.asarray(table)))
    assert value.min() >= 0
    np.testing.assert_allclose(value.sum(-1), 1, rtol=1e-5)


@given(_TABLES)
def test_projection_keeps_the_order_of_actions(table):
    value = np.asarray(rules.clip_and_renormalise(jnp.asarray(table)))
    order = np.argsort(table, axis=-1, kind="stable")
    assert (np.diff(np.take_along_axis(value, order, -1), axis=-1) >= -1e-6).all()


@given(_TABLES)
def test_projection_leaves_distributions_alone(table):
    once = rules.clip_and_renormalise(jnp.asarray(table))
    np.testing.assert_allclose(rules.clip_and_renormalise(once), once, rtol=1e-5, atol=1e-7)
