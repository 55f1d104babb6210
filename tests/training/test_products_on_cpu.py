"""Large batched products and, on several cores, convolutions go to Eigen; results agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.convolution import conv
from routing_jax.training import products_on_cpu
from routing_jax.training.products_on_cpu import EIGEN, compile_traced, options_for


def product(number: int, rows: int, width: int):
    """`number` products of [rows, width] and [width, width] inside a loop, and their operands."""

    def program(x, kernels):
        return jax.lax.fori_loop(0, 2, lambda _, x: jnp.tanh(x @ kernels), x)

    x = jnp.linspace(-1, 1, number * rows * width).reshape(number, rows, width)
    kernels = jnp.linspace(-1, 1, number * width * width).reshape(number, width, width)
    return program, (x, kernels)


@pytest.mark.parametrize(
    ("number", "rows", "width", "options"),
    [
        (3, 120, 128, EIGEN),  # 120 x 128 x 128 = 1.97 million multiply-adds each
        (3, 32, 128, {}),  # 0.5 million
        (1, 500, 128, {}),  # 8 million, but alone
    ],
)
def test_the_choice_looks_at_one_product_of_a_batch(number, rows, width, options):
    program, operands = product(number, rows, width)
    assert options_for(jax.jit(program).trace(*operands).jaxpr.jaxpr) == options


@pytest.mark.parametrize(
    ("other", "options"),
    [
        # 2 x 128**3 = 4.2 million in large ones against
        ((8, 64, 64), EIGEN),  # 8 x 64**3 = 2.1
        ((32, 64, 64), {}),  # 32 x 64**3 = 8.4
        ((128, 128), EIGEN),  # 2.1 without a batch axis
        ((256, 256), {}),  # 16.8
    ],
)
def test_most_of_the_arithmetic_decides(other, options):
    def program(large, other):
        return large @ large, other @ other

    arrays = jnp.zeros((2, 128, 128)), jnp.zeros(other)
    assert options_for(jax.jit(program).trace(*arrays).jaxpr.jaxpr) == options


def on_cores(monkeypatch, count):
    """As if each device of this process were so many cores."""
    monkeypatch.setattr(products_on_cpu, "num_cores", lambda: count * jax.local_device_count())


@pytest.mark.parametrize(("cores", "options"), [(1, {}), (2, EIGEN)])
def test_convolutions_share_the_cores_of_a_device(cores, options, monkeypatch):
    on_cores(monkeypatch, cores)
    traced = jax.jit(conv).trace(jnp.zeros((2, 16, 16, 16)), jnp.zeros((3, 3, 16, 16)))
    assert options_for(traced.jaxpr.jaxpr) == options


@pytest.mark.parametrize(("side", "options"), [(3, EIGEN), (5, {})])
def test_convolutions_and_what_loops_repeat_count_too(side, options, monkeypatch):
    on_cores(monkeypatch, 1)

    # Two of 128**3 against 2 x 16 x 16 x 16 x 16 x side**2: 4.2 million against 1.2 or 3.3, and as
    # much again for each gradient, that of the kernel example by example.
    def program(large, x, kernel):
        def loss(x, kernel):
            return (conv(x, kernel, method="slices") ** 2).sum()

        return large @ large, jax.grad(loss, (0, 1))(x, kernel)

    arrays = jnp.zeros((2, 128, 128)), jnp.zeros((2, 16, 16, 16)), jnp.zeros((side, side, 16, 16))
    assert options_for(jax.jit(program).trace(*arrays).jaxpr.jaxpr) == options


def test_accelerators_choose_for_themselves(monkeypatch):
    program, operands = product(3, 120, 128)
    jaxpr = jax.jit(program).trace(*operands).jaxpr.jaxpr
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert options_for(jaxpr) == {}


@pytest.mark.parametrize(
    "options",
    [
        EIGEN,
        {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_OF_THE_FUTURE"},
        {"xla_cpu_of_the_future": ""},
    ],
)
def test_the_result_is_that_of_any_compilation(options, monkeypatch):
    monkeypatch.setattr(products_on_cpu, "EIGEN", options)
    program, operands = product(3, 120, 128)
    compiled = compile_traced(jax.jit(program).trace(*operands))
    np.testing.assert_allclose(compiled(*operands), program(*operands), rtol=1e-5, atol=1e-5)


def test_other_errors_of_the_compiler_are_passed_on():
    class Broken:
        jaxpr = jax.jit(jnp.sin).trace(1.0).jaxpr

        def lower(self):
            return self

        def compile(self, **options):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")

    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        compile_traced(Broken())
