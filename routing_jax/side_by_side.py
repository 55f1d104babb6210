"""Many blocks at once, on all cores of a CPU."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from routing_jax.types import Params

ApplyBlock = Callable[[Params, jax.Array], jax.Array]
"""(parameters of one block, x [m, ...]) -> [m, ...]."""

_MOST_PARTS = 16
_FEWEST_PARTS = 9
"""XLA's CPU executor shares work out to a second thread only where more than eight pieces wait."""


def apply_blocks(apply_block: ApplyBlock, bank: Params, x: jax.Array) -> jax.Array:
    """Block i on x[i], for all i: `vmap`, cut into parts where that lets them run side by side.

    On CPU, XLA runs a batched product of small matrices on one core, one matrix after the other;
    several products that do not depend on each other use all cores.

    Args:
      apply_block: the function of one block.
      bank: stacked parameters, each leaf [R, ...].
      x: [R, m, ...].

    Returns:
      [R, m, ...].
    """
    parts = _parts(bank, x)
    if parts == 1:
        return jax.vmap(apply_block)(bank, x)
    blocks = x.shape[0]
    sizes = [(i + 1) * blocks // parts - i * blocks // parts for i in range(parts)]
    leaves, tree = jax.tree.flatten(bank)
    banks = zip(*(jax.lax.split(leaf, sizes) for leaf in leaves), strict=True)
    out = [
        jax.vmap(apply_block)(tree.unflatten(part), rows)
        for part, rows in zip(banks, jax.lax.split(x, sizes), strict=True)
    ]
    return jnp.concatenate(out)


def _parts(bank: Params, x: jax.Array) -> int:
    """1 where one product is large enough to use all cores, or all together too small to share.

    A part's parameters are copied, which is small next to the product for 64 rows and more.
    """
    blocks, rows = x.shape[0], math.prod(x.shape[1:-1])
    products = rows * sum(leaf.size for leaf in jax.tree.leaves(bank)) // blocks
    worth_it = rows >= 64 and 2**18 <= products < 2**22
    if jax.default_backend() != "cpu" or blocks < _FEWEST_PARTS or not worth_it:
        return 1
    return min(blocks, _MOST_PARTS)
