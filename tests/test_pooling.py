"""Pooling by shifted slices against hand values and Flax's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.pooling import max_pool, mean_pool

ROW = np.array([4.0, 1, 2, 8, 5], np.float32).reshape(1, 1, 5, 1)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("pool", "stride", "expected"),
    [
        (max_pool, 1, [4, 4, 8, 8, 8]),
        (max_pool, 2, [4, 8, 8]),  # windows around the first, third and fifth
        # Of the two or three values that are there: 5/2, 7/3, 11/3, 15/3, 13/2.
        (mean_pool, 1, [5 / 2, 7 / 3, 11 / 3, 5, 13 / 2]),
        (mean_pool, 2, [5 / 2, 11 / 3, 13 / 2]),
    ],
)
def test_golden(pool, stride, expected):
    found = pool(ROW, side=3, stride=stride)
    np.testing.assert_allclose(found.reshape(-1), expected, rtol=1e-6)


@pytest.mark.parametrize("window", [(3, 1), (3, 2), (2, 2)])
@pytest.mark.parametrize("shape", [(2, 5, 8), (1, 1, 2)])
def test_values_and_gradients_are_those_of_flax(shape, window):
    side, stride = window
    x = normal(*shape, 2)  # no two values are equal, so the gradients are defined
    windows = {"window_shape": (side, side), "strides": (stride, stride), "padding": "SAME"}
    functions = [
        lambda x: max_pool(x, side=side, stride=stride),
        lambda x: nn.max_pool(x, **windows),
        lambda x: mean_pool(x, side=side, stride=stride),
        lambda x: nn.avg_pool(x, **windows, count_include_pad=False),
    ]

    @jax.jit
    def run(x):
        pairs = [jax.vjp(function, x) for function in functions]
        return [(value, *pull(normal(*value.shape))) for value, pull in pairs]

    largest, expected_largest, mean, expected_mean = run(x)
    for found, expected in ((largest, expected_largest), (mean, expected_mean)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


def test_the_number_format_stays():
    for pool in (max_pool, mean_pool):
        assert pool(jnp.ones((1, 3, 3, 1), jnp.bfloat16), side=3, stride=2).dtype == jnp.bfloat16
