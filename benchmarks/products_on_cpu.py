"""The products of a bank by either library of XLA's CPU backend: what its choice rests on.

    python -m benchmarks.products_on_cpu [--quick]

For some numbers of blocks, rows of a block and widths: the product of rows and kernels, its
gradient of the rows, and of the kernels as `routing_jax.products` writes it, each by the library
that batched products get by default and by Eigen (see `routing_jax.training.products_on_cpu`);
beside them one product of as many rows with a single kernel. All are timed in a compiled loop.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.timing import Run, interleaved, print_line, spread
from routing_jax.products import dot_general
from routing_jax.training.products_on_cpu import EIGEN

_SMALL = 1e-9
"""Ties a result to the next turn's input, so that the compiler cannot take it out of the loop."""
ONE = "one large product"


class Size(NamedTuple):
    """Of a bank's product."""

    num_blocks: int
    rows: int
    """Of one block."""
    width: int

    @property
    def gigaflop(self) -> float:
        """Of all blocks."""
        return 2e-9 * self.num_blocks * self.rows * self.width**2


SIZES = [
    *(Size(10, 32, width) for width in (64, 128)),
    *(Size(10, 112, width) for width in (64, 128, 512)),
    Size(10, 256, 128),
    *(Size(20, 56, width) for width in (128, 512)),
    *(Size(40, 32, width) for width in (128, 512)),
    Size(160, 16, 128),
]


def sides(size: Size) -> dict[str, Run]:
    """Each product with each library."""
    keys = jax.random.split(jax.random.key(0), 3)
    x, upstream = (
        jax.random.normal(key, (size.num_blocks, size.rows, size.width)) for key in keys[:2]
    )
    kernels = jax.random.normal(keys[2], (size.num_blocks, size.width, size.width))

    def product(x: jax.Array, kernels: jax.Array) -> jax.Array:
        numbers = (((1,), (0,)), ((), ()))
        return jax.vmap(lambda rows, kernel: dot_general(rows, kernel, numbers))(x, kernels)

    def of_rows(upstream: jax.Array) -> jax.Array:
        return jax.vjp(lambda x: product(x, kernels), x)[1](upstream)[0]

    def of_kernels(upstream: jax.Array) -> jax.Array:
        return jax.vjp(lambda kernels: product(x, kernels), kernels)[1](upstream)[0]

    all_rows = x.reshape(-1, size.width)
    found = {ONE: _looped(lambda rows: rows @ kernels[0], all_rows, {})}
    for library, options in (("default", {}), ("Eigen", EIGEN)):
        found[f"products, {library}"] = _looped(lambda x: product(x, kernels), x, options)
        found[f"gradient of rows, {library}"] = _looped(of_rows, upstream, options)
        found[f"gradient of kernels, {library}"] = _looped(of_kernels, upstream, options)
    return found


def _looped(compute: Callable[[jax.Array], jax.Array], start: jax.Array, options: dict) -> Run:
    def turn(_: jax.Array, x: jax.Array) -> jax.Array:
        result = compute(x)
        return x + _SMALL * (result if result.shape == x.shape else result[:1, :1, :1])

    loop = jax.jit(
        lambda turns, x: jax.lax.fori_loop(0, turns, turn, x), compiler_options=options or None
    )
    return lambda turns: loop(jnp.int32(turns), start)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures every size and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one size, within 50 s")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds a size")
    options = parser.parse_args(arguments)
    for size in SIZES[3:4] if options.quick else SIZES:
        times = interleaved(sides(size), rounds=options.rounds)
        for name, milliseconds in times.items():
            ratios = [one / mine for mine, one in zip(milliseconds, times[ONE], strict=True)]
            figures = {
                "milliseconds": spread(milliseconds),
                "gigaflop_per_second": spread([1000 * size.gigaflop / ms for ms in milliseconds]),
                "ratio": spread(ratios) | {"to": f"speed of {ONE}"},
            }
            settings = size._asdict() | {"batch": size.num_blocks * size.rows}
            print_line("products_on_cpu", name, settings | {"cores": os.cpu_count()}, figures)


if __name__ == "__main__":
    main()
