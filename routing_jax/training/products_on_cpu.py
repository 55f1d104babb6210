"""Which library computes the matrix products of a compiled program on CPU.

XLA's CPU backend has two. What it takes by default for a batched product, as banks of blocks need
it, computes the K products of a bank one after the other on one core. Eigen shares each product
between the cores if it is large enough, and is slower where it is small. Products without a batch
axis use all cores in either, and are a little slower in Eigen. Convolutions, such as those of an
encoder, use more than one core in Eigen alone. As the choice is one for the whole program, most of
its arithmetic decides.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
from jax.extend.core import Jaxpr, jaxprs_in_params

from routing_jax.training.cores import num_cores

_SHARED = 1_500_000
"""Multiply-adds of one product from which Eigen is the faster; see `benchmarks.products_on_cpu`."""

EIGEN = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
"""Compiler options that leave all products to Eigen: the other library keeps sums over axes alone,
which it is some times faster at than the compiler itself."""

ALL_EIGEN = {"xla_cpu_experimental_ynn_fusion_type": ""}
"""Sums too, which is some times faster where they are over the K axis of many rows."""

_UNKNOWN = ("No such compile option", "is not a valid enum value")
"""What jaxlib says then."""


class Product(NamedTuple):
    """Matrix products of one size, or a convolution."""

    number: int
    """How many products one batched one is."""
    size: int
    """Multiply-adds of one."""
    times: int
    """How often it runs; what stands in a loop of unknown length counts once."""
    convolution: bool

    @property
    def multiply_adds(self) -> int:
        """Of all of them, all times."""
        return self.number * self.size * self.times


def compile_traced(
    traced: jax.stages.Traced, options: dict[str, str] | None = None
) -> jax.stages.Compiled:
    """Compiles what `jax.jit(...).trace(...)` gave, with the better library for its products.

    Args:
      traced: what to compile.
      options: of the compiler; None for those that `options_for` the program gives.

    A jaxlib that does not know the option, or its value, compiles as ever.
    """
    lowered = traced.lower()
    try:
        options = options_for(traced.jaxpr.jaxpr) if options is None else options
        return lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if not any(reason in str(error) for reason in _UNKNOWN):
            raise
        return lowered.compile()


def options_for(jaxpr: Jaxpr) -> dict[str, str]:
    """Compiler options for a program.

    Eigen if most arithmetic is in large batched products and convolutions; these count where there
    are more cores than devices.
    """
    if jax.default_backend() != "cpu":
        return {}
    several_cores = num_cores() > jax.local_device_count()
    arithmetic = {True: 0, False: 0}
    for product in products(jaxpr):
        batched = product.number > 1 and product.size >= _SHARED
        faster = several_cores if product.convolution else batched
        arithmetic[faster] += product.multiply_adds
    return EIGEN if arithmetic[True] > arithmetic[False] else {}


def products(jaxpr: Jaxpr) -> Iterator[Product]:
    """All matrix products and convolutions of a program."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            axes = equation.params["dimension_numbers"].rhs_spec
            size = equation.outvars[0].aval.size * (kernel.size // kernel.shape[axes[0]])
            yield Product(1, size, 1, convolution=True)
        if equation.primitive.name == "dot_general":
            (contracted, _), (batch, _) = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            number = math.prod(left[axis] for axis in batch)
            outputs = equation.outvars[0].aval.size // number
            size = outputs * math.prod(left[axis] for axis in contracted)
            yield Product(number, size, 1, convolution=False)
        for inner in jaxprs_in_params(equation.params):
            for product in products(getattr(inner, "jaxpr", inner)):
                times = product.times * equation.params.get("length", 1)
                yield product._replace(times=times)
