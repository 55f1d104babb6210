"""The shifted slices against the backend's convolution, and the cheap pooling against Flax's."""

import functools

import flax.linen as nn
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from routing_jax import convolution
from routing_jax.convolution import Conv, Conv3x3, conv
from routing_jax.models.encoders import ConvEncoder
from routing_jax.pooling import halve, halve_by_mean
from routing_jax.training.products_on_cpu import EIGEN

SHAPES = st.tuples(*(st.integers(1, 5) for _ in range(5)))  # B, height, width, channels, features
METHODS = [functools.partial(conv, method=method) for method in ("slices", "product", "native")]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def values_and_gradients(functions, *args):
    """Of each function the value, and the gradients of its sum weighted by fixed random numbers."""

    @jax.jit
    def run(*args):
        pairs = [jax.vjp(function, *args) for function in functions]
        return [(value, pull(jnp.asarray(normal(9, *value.shape)))) for value, pull in pairs]

    return run(*args)


def assert_close(found, expected, *, atol=2e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), found, expected)


def test_golden():
    # A 2x2 image, zero outside. The kernel takes 1 x the centre, 10 x the right neighbour and
    # 100 x the neighbour below: 1 + 20 + 300, 2 + 0 + 400, 3 + 40 + 0, 4.
    image = jnp.array([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None]
    kernel = jnp.array([[0, 0, 0], [0, 1, 10], [0, 100, 0]], jnp.float32)[:, :, None, None]
    expected = np.array([[321, 402], [43, 4]])[None, :, :, None]
    for method in ("slices", "product", "native", "auto"):
        np.testing.assert_array_equal(conv(image, kernel, method=method), expected)


@hypothesis.settings(max_examples=6)
@hypothesis.given(SHAPES)
def test_all_ways_are_equal_in_value_and_gradients(shape):
    batch, height, width, channels, features = shape
    x, kernel = normal(0, batch, height, width, channels), normal(1, 3, 3, channels, features)
    *ours, native = values_and_gradients(METHODS, x, kernel)
    assert native[0].shape == (batch, height, width, features)
    for found in ours:
        assert_close(found, native)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("sides", [(1, 1), (5, 5), (1, 7), (7, 3)])
def test_kernels_of_any_odd_sides_equal_the_native_convolution(sides, padding):
    x, kernel = normal(0, 2, 8, 9, 3), normal(1, *sides, 3, 2)
    methods = [functools.partial(method, padding=padding) for method in METHODS]
    *ours, native = values_and_gradients(methods, x, kernel)
    lost = [side - 1 if padding == "valid" else 0 for side in sides]
    for found in ours:
        assert found[0].shape == (2, 8 - lost[0], 9 - lost[1], 2)
        assert_close(found, native)


def test_a_stride_golden():
    # Six columns, kernel 1, 10, 100 with stride 2; "same" puts the odd zero behind:
    # 1 + 20 + 300, 3 + 40 + 500, 5 + 60 + 0.
    image = jnp.arange(1.0, 7.0).reshape(1, 1, 6, 1)
    kernel = jnp.array([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1)
    for method in METHODS:
        found = method(image, kernel, stride=2).reshape(-1)
        np.testing.assert_array_equal(found, [321, 543, 65])


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("sides", "size"),
    [((3, 3), (8, 7)), ((5, 5), (9, 9)), ((7, 7), (7, 8)), ((7, 1), (9, 8)), ((1, 1), (5, 6))],
)
def test_strides_equal_the_native_convolution(sides, size, padding):
    x, kernel = normal(0, 2, *size, 3), normal(1, *sides, 3, 2)
    methods = [functools.partial(method, padding=padding, stride=2) for method in METHODS]
    *ours, native = values_and_gradients(methods, x, kernel)
    for found in ours:
        assert_close(found, native, atol=5e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_all_ways_are_equal_under_vmap_over_kernels(stride):
    x, kernels = normal(0, 2, 6, 5, 3), normal(1, 4, 3, 3, 3, 2)
    methods = [functools.partial(method, stride=stride) for method in METHODS]
    all_kernels = [jax.vmap(method, (None, 0)) for method in methods]
    *ours, native = values_and_gradients(all_kernels, x, kernels)
    assert native[0].shape == (4, 2, *((6, 5) if stride == 1 else (3, 3)), 2)
    for found in ours:
        assert_close(found, native)


def test_slices_learn_the_same_inside_a_loop_as_the_native_convolution_outside():
    x, target, start = normal(0, 2, 5, 4, 2), normal(1, 2, 5, 4, 3), normal(2, 3, 3, 2, 3)

    def step(kernel, method):
        def loss(kernel):
            return ((conv(x, kernel, method=method) - target) ** 2).mean()

        return kernel - 0.1 * jax.grad(loss)(kernel)

    looped = jax.jit(
        lambda kernel: jax.lax.fori_loop(0, 3, lambda _, k: step(k, "slices"), kernel)
    )(start)
    native_step = jax.jit(functools.partial(step, method="native"))
    expected = start
    for _ in range(3):
        expected = native_step(expected)
    np.testing.assert_allclose(looped, expected, atol=1e-5)


def test_auto_takes_slices_on_cpu_where_the_backends_own_is_slow_and_nowhere_else(monkeypatch):
    def convolutions(backend, function, *args):
        """How many convolutions of the backend's own a program has."""
        monkeypatch.setattr(jax, "default_backend", lambda: backend)
        traced = jax.make_jaxpr(lambda *args: function(*args))(*args)  # not out of a cache
        return str(traced).count("conv_general_dilated[")

    def loss(x, kernel):
        return (conv(x, kernel) ** 2).sum()

    x, kernels = normal(0, 2, 4, 4, 2), normal(1, 3, 3, 3, 2, 2)
    gradient = jax.grad(loss, (0, 1))
    # The output and the gradient of the input; that of the kernel only where it is not slow.
    assert convolutions("cpu", gradient, x, kernels[0]) == 2
    assert convolutions("gpu", gradient, x, kernels[0]) == 3
    many = jax.vmap(gradient, (None, 0))
    assert convolutions("cpu", many, x, kernels) == 0
    # Many small maps are multiplied by one matrix; large or few ones are not.
    large = normal(2, 5, 5, 2, 2)
    assert convolutions("cpu", gradient, normal(0, 64, 4, 4, 2), large) == 0
    assert convolutions("cpu", gradient, normal(0, 64, 8, 8, 2), large) == 2
    assert convolutions("cpu", gradient, normal(0, 63, 4, 4, 2), large) == 2
    # Examples in two axes are examples.
    assert convolutions("cpu", jax.vmap(conv, (0, None)), x[None], kernels[0]) == 1


def test_the_gradient_of_a_kernel_is_the_same_in_parts(monkeypatch):
    x, kernel = normal(0, 6, 5, 4, 2), normal(1, 3, 3, 2, 3)
    whole = values_and_gradients(METHODS[:1], x, kernel)
    monkeypatch.setattr(convolution, "_NUMBERS_AT_ONCE", 5 * 4 * 18)  # one example; else three
    assert_close(values_and_gradients(METHODS[:1], x, kernel), whole)


@pytest.mark.parametrize("width", [6, 7])
@pytest.mark.parametrize("sides", [(3, 3), (5, 5), (1, 5), (3, 1), (1, 1)])
@pytest.mark.parametrize(("channels", "features"), [(1, 28), (2, 24)])
def test_few_channels_and_many_features_equal_the_native_convolution(
    channels, features, sides, width
):
    # Where the width is even, the gradient of the kernel takes two places together.
    x, kernel = normal(0, 4, 5, width, channels), normal(1, *sides, channels, features)
    for method in METHODS[:-1]:
        assert_close(*values_and_gradients([method, METHODS[-1]], x, kernel), atol=5e-5)


def test_the_layer_is_a_convolution_without_bias():
    x = normal(0, 2, 5, 5, 3)
    variables = Conv3x3(4).init(jax.random.key(1), x)
    assert jax.tree.map(jnp.shape, variables) == {"params": {"kernel": (3, 3, 3, 4)}}
    flax_layer = nn.Conv(4, (3, 3), use_bias=False)
    np.testing.assert_allclose(
        Conv3x3(4).apply(variables, x), flax_layer.apply(variables, x), atol=1e-5
    )


def test_the_layer_with_bias_is_the_one_of_flax():
    x = normal(0, 2, 6, 5, 3)
    variables = {"params": {"kernel": normal(1, 1, 7, 3, 4), "bias": normal(2, 4)}}
    flax_layer = nn.Conv(4, (1, 7), strides=2)
    found = Conv(4, (1, 7), stride=2).apply(variables, x)
    np.testing.assert_allclose(found, flax_layer.apply(variables, x), atol=2e-5)


def test_the_layer_starts_with_the_spread_of_he():
    kernel = Conv3x3(64).init(jax.random.key(0), jnp.zeros((1, 3, 3, 64)))["params"]["kernel"]
    # 36,864 draws: the sample deviation is within 2 % by more than five of its standard errors.
    assert float(kernel.std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def test_the_layer_computes_in_its_number_format_and_keeps_float32_parameters():
    layer = Conv3x3(4, jnp.bfloat16)
    x = normal(0, 1, 4, 4, 2)
    variables = layer.init(jax.random.key(1), x)
    assert variables["params"]["kernel"].dtype == jnp.float32
    assert layer.apply(variables, x).dtype == jnp.bfloat16


def test_halving_golden():
    # Windows {1, 2, 5, 6} and {3, 4, 7, 8} of a 3x5 image; its last row and column are cropped.
    image = jnp.array([[1.0, 2, 3, 4, 99], [5, 6, 7, 8, 99], [99, 99, 99, 99, 99]])
    np.testing.assert_array_equal(halve(image[None, :, :, None]), [[[[6], [8]]]])


@hypothesis.settings(max_examples=6)
@hypothesis.given(st.tuples(st.integers(1, 3), *(st.integers(2, 9) for _ in range(2))))
def test_halving_equals_max_pooling_in_value_and_gradient(shape):
    x = normal(0, *shape, 2)  # no two values are equal, so the gradients are defined
    ours, pooled = values_and_gradients([halve, lambda x: nn.max_pool(x, (2, 2), (2, 2))], x)
    jax.tree.map(np.testing.assert_array_equal, ours, pooled)


def test_halving_by_mean_golden():
    # Windows {1, 2, 5, 6} and {3, 4, 7, 8}; the last row and column are cropped.
    image = jnp.array([[1.0, 2, 3, 4, 99], [5, 6, 7, 8, 99], [99, 99, 99, 99, 99]])
    np.testing.assert_array_equal(halve_by_mean(image[None, :, :, None]), [[[[3.5], [5.5]]]])


def test_halving_gives_the_gradient_to_the_first_of_equal_maxima():
    gradient = jax.grad(lambda x: halve(x).sum())(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[1, 0], [0, 0]])


@pytest.mark.slow
def test_a_compiled_encoder_loses_no_gradient_at_its_pooling():
    # Compiled, the normalised map is computed in several places, each with its own rounding: where
    # pooling asks there which entry equals the maximum, most windows have none.
    images = np.random.default_rng(0).integers(0, 256, (32, 28, 28, 1)).astype(np.uint8)
    encoder, weights = ConvEncoder(), normal(1, 32, 288)
    variables = jax.jit(functools.partial(encoder.init, train=False))(jax.random.key(0), images)

    def loss(params, images, weights):
        variables_now = {**variables, "params": params}
        x, _ = encoder.apply(variables_now, images, train=True, mutable=["batch_stats"])
        return (jnp.tanh(x) * weights).sum()

    arguments = (variables["params"], images, weights)
    with jax.disable_jit():
        step_by_step = jax.tree.leaves(jax.grad(loss)(*arguments))
    lowered = jax.jit(jax.grad(loss)).lower(*arguments)
    for options in ({}, EIGEN):
        compiled = jax.tree.leaves(lowered.compile(compiler_options=options)(*arguments))
        for found, expected in zip(compiled, step_by_step, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
