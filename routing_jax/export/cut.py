"""What is cut out of a trained network: parameters, and the function that takes them.

A cut is for one task, or for all of them without the blocks that none uses. Blocks are kept by the
routes that evaluation takes, the best ones.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.types import Params

Layers = Callable[[Params, jax.Array, jax.Array], jax.Array]
"""Parameters, representations [n, ...] and the tasks of the examples, int32 [n], to [n, ...]."""


class Cut(NamedTuple):
    """The routed layers of a network, as far as they are kept."""

    params: Params
    layers: Layers
    kept: tuple[tuple[int, ...], ...]
    """The numbers of the blocks that are kept at each depth, in the full model."""
    note: str
    """What became of the router."""


def kept_rows(kept: Sequence[int]) -> np.ndarray:
    """The rows to keep of a bank, at least one."""
    return np.array(sorted(kept) or [0], np.int32)


def take(bank: Params, rows: np.ndarray | int) -> Params:
    """Those blocks of a bank (parameters with a leading K axis)."""
    return jax.tree.map(lambda leaf: leaf[rows], bank)


def take_each(bank: Params, rows: jax.Array) -> Params:
    """The block of each example: rows int32 [n], each leaf [n, ...]."""
    return jax.tree.map(lambda leaf: jnp.take(leaf, rows, axis=0), bank)


def banks_of(params: Params) -> list[Params]:
    """The stacked parameters of the banks of a model, in their order."""
    count = sum(name.startswith("banks_") for name in params)
    return [params[f"banks_{index}"]["blocks"] for index in range(count)]


def numbers(kept: Sequence[int]) -> tuple[int, ...]:
    """Block numbers as plain integers, in their order."""
    return tuple(sorted(int(block) for block in kept))
