"""The shifted slices against the backend's grouped convolution, and pixels folded into channels."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from routing_jax.depthwise import DepthwiseConv3x3, depthwise_conv, space_to_depth

METHODS = [functools.partial(depthwise_conv, method=method) for method in ("slices", "native")]
SHAPES = st.tuples(*(st.integers(1, 5) for _ in range(4)))  # B, height, width, channels


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def both(methods, x, kernel):
    """Of each method the value, and its gradients weighted by fixed random numbers."""

    @jax.jit
    def run(x, kernel):
        pairs = [jax.vjp(method, x, kernel) for method in methods]
        return [(value, pull(jnp.asarray(normal(9, *value.shape)))) for value, pull in pairs]

    return run(x, kernel)


def assert_equal_methods(found):
    slices, native = found
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), slices, native)


def test_golden():
    # Two channels of a 2x2 image, zero outside. The first kernel takes 1 x the centre, 10 x the
    # right neighbour and 100 x the one below: 1 + 20 + 300, 2 + 400, 3 + 40, 4. The second doubles.
    image = jnp.array([[[1.0, 5.0], [2.0, 6.0]], [[3.0, 7.0], [4.0, 8.0]]])[None]
    first = [[0, 0, 0], [0, 1, 10], [0, 100, 0]]
    second = [[0, 0, 0], [0, 2, 0], [0, 0, 0]]
    kernel = jnp.stack([jnp.array(first), jnp.array(second)], axis=-1).astype(jnp.float32)
    expected = np.array([[[321, 10], [402, 12]], [[43, 14], [4, 16]]])[None]
    for method in ("slices", "native", "auto"):
        np.testing.assert_array_equal(depthwise_conv(image, kernel, method=method), expected)


@hypothesis.settings(max_examples=5)
@hypothesis.given(SHAPES)
def test_slices_equal_the_grouped_convolution_in_value_and_gradients(shape):
    assert_equal_methods(both(METHODS, normal(0, *shape), normal(1, 3, 3, shape[-1])))


@pytest.mark.parametrize("sides", [(1, 1), (5, 3)])
def test_kernels_of_other_odd_sides(sides):
    assert_equal_methods(both(METHODS, normal(0, 2, 6, 7, 3), normal(1, *sides, 3)))


def test_a_kernel_for_each_task():
    methods = [jax.vmap(method) for method in METHODS]
    assert_equal_methods(both(methods, normal(0, 4, 2, 5, 6, 3), normal(1, 4, 3, 3, 3)))


def test_the_start_keeps_the_spread_behind_relu():
    x = jnp.zeros((1, 2, 2, 5000))
    kernel = DepthwiseConv3x3().init(jax.random.key(0), x)["params"]["kernel"]
    assert kernel.shape == (3, 3, 5000)
    # He: variance 2 over the nine places that an output sees.
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / 9), rtol=0.02)


def test_squares_become_channels():
    # Rows 0 1 2 3 / 4 5 6 7 of one channel: the squares are 0 1 4 5 and 2 3 6 7.
    image = jnp.arange(8.0).reshape(1, 2, 4, 1)
    np.testing.assert_array_equal(
        space_to_depth(image, 2), np.array([[0, 1, 4, 5], [2, 3, 6, 7]]).reshape(1, 1, 2, 4)
    )


def test_a_product_over_squares_is_a_convolution_whose_stride_is_its_side():
    image, kernel = normal(0, 2, 6, 9, 2), normal(1, 3, 3, 2, 4)
    expected = jax.lax.conv_general_dilated(
        image, kernel, (3, 3), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    found = space_to_depth(image, 3) @ kernel.reshape(-1, 4)
    np.testing.assert_allclose(found, expected, atol=1e-5)
