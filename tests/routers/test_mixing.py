"""Mixing weights: their temperature, pure orders, and given ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.config_fields import MIXING_STARTS
from routing_jax.routers.mixing import (
    STARTS,
    FixedMixing,
    Mixing,
    alike_logits,
    one_hot_table,
    take_largest,
)

LOGITS = jnp.array([[[0.0, np.log(3.0)], [1.0, 1.0]]])  # one row, two depths, two blocks


def variables(temperature=1.0):
    return {
        "params": {"logits": LOGITS},
        "batch_stats": {"temperature": jnp.float32(temperature)},
    }


def test_weights_golden():
    weights = Mixing(1, 2, 2).apply(variables(), method="weights")
    np.testing.assert_allclose(weights, [[[0.25, 0.75], [0.5, 0.5]]], rtol=1e-6)
    # At half the temperature the odds of 3 are squared: 1 to 9.
    weights = Mixing(1, 2, 2).apply(variables(), 0.5, method="weights")
    np.testing.assert_allclose(weights[0, 0], [0.1, 0.9], rtol=1e-6)


def test_the_temperature_of_training_stays_for_evaluation():
    mixing = Mixing(1, 2, 2)
    trained, kept = mixing.apply(variables(), 0.5, method="weights", mutable=["batch_stats"])
    assert float(kept["batch_stats"]["temperature"]) == 0.5
    later = mixing.apply(variables() | kept, method="weights")
    np.testing.assert_array_equal(later, trained)


def test_all_places_start_apart_and_no_weight_is_lost():
    logits = Mixing(50, 20, 4).init(jax.random.key(0), 1.0, method="weights")["params"]["logits"]
    assert logits.shape == (50, 20, 4)
    bound = np.sqrt(6 / 5)  # Glorot's, of 1 row and 4 columns
    assert np.abs(logits).max() <= bound
    np.testing.assert_allclose(logits.std(), bound / np.sqrt(3), rtol=0.05)


def test_tasks_may_start_alike_and_depths_still_apart():
    mixing = Mixing(50, 20, 4, start=alike_logits)
    logits = mixing.init(jax.random.key(0), 1.0, method="weights")["params"]["logits"]
    np.testing.assert_array_equal(logits, np.broadcast_to(logits[:1], (50, 20, 4)))
    assert len(np.unique(logits[0])) == 80


@pytest.mark.parametrize(
    ("start", "depth", "num_blocks", "order"),
    [
        ("cycle", 5, 2, [0, 1, 0, 1, 0]),
        ("sequence", 5, 2, [0, 0, 0, 1, 1]),
        ("cycle", 4, 3, [0, 1, 2, 0]),
        ("sequence", 8, 3, [0, 0, 0, 1, 1, 1, 2, 2]),
        ("sequence", 2, 4, [0, 2]),
        ("cycle", 3, 1, [0, 0, 0]),
    ],
)
def test_an_ordered_start_is_nearly_that_order(start, depth, num_blocks, order):
    mixing = Mixing(3, depth, num_blocks, start=STARTS[start])
    weights, _ = mixing.init_with_output(jax.random.key(0), method="weights")
    # The block whose turn it is has 0.9, the others share the rest evenly.
    expected = np.full((3, depth, num_blocks), 0.1 / max(num_blocks - 1, 1))
    expected[:, np.arange(depth), order] = 0.9 if num_blocks > 1 else 1.0
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_every_start_that_is_offered_is_there():
    assert tuple(STARTS) == MIXING_STARTS


def test_the_largest_weight_counts_alone_and_all_of_them_learn():
    pure = Mixing(1, 2, 2, pure=True)

    def first(logits):
        given = variables() | {"params": {"logits": logits}}
        return pure.apply(given, method="weights")

    np.testing.assert_array_equal(first(LOGITS), [[[0, 1], [1, 0]]])  # the first of equals
    slope = jax.grad(lambda logits: first(logits)[0, 0, 1])(LOGITS)
    # That of the softmax: w (1 - w) and - w w' with w = 0.75.
    np.testing.assert_allclose(slope[0, 0], [-0.1875, 0.1875], rtol=1e-5)


def test_taking_the_largest_is_exact_for_any_weights():
    weights = jax.nn.softmax(jax.random.normal(jax.random.key(0), (100, 5)))
    found = np.asarray(take_largest(weights))
    np.testing.assert_array_equal(found.sum(-1), 1)
    np.testing.assert_array_equal(found.max(-1), 1)
    np.testing.assert_array_equal(found.argmax(-1), weights.argmax(-1))


def test_equal_routes_are_one_row():
    assert one_hot_table(((0, 1), (0, 1)), 2) == (((1, 0), (0, 1)),)
    assert one_hot_table(((0, 1), (1, 1)), 2) == (((1, 0), (0, 1)), ((0, 1), (0, 1)))
    weights = FixedMixing(one_hot_table(((0, 2),), 3)).apply({}, 0.5, method="weights")
    np.testing.assert_array_equal(weights, [[[1, 0, 0], [0, 0, 1]]])
