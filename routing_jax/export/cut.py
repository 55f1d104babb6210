"""What is cut out of a trained network: parameters, and the function that takes them.

A cut is for one task, or for all of them without the blocks that none uses. Blocks are kept by the
routes that evaluation takes, the best ones.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax import block_groups
from routing_jax.blocks import Bank, MixedBank
from routing_jax.models.network import MultiTaskNetwork
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


def banks_of(model: MultiTaskNetwork, params: Params) -> list[block_groups.Bank]:
    """The stacked parameters of the banks of a model; of a bank of unlike blocks a tree a group."""
    stacked = []
    for index, bank in enumerate(model.banks):
        own = params.get(f"banks_{index}", {})
        if isinstance(bank, MixedBank):
            groups = [own.get(f"groups_{group}", {}) for group in range(len(bank.groups))]
            stacked.append(tuple(group.get("blocks", {}) for group in groups))
        else:
            stacked.append(own["blocks"])
    return stacked


def part_of(
    bank: Bank, stacked: block_groups.Bank, rows: np.ndarray
) -> tuple[block_groups.Blocks, block_groups.Bank]:
    """Those blocks of a bank, as `dispatch` takes them: functions and stacked parameters."""
    if not isinstance(bank, MixedBank):
        return bank.apply_block, take(stacked, rows)
    parts, first = [], 0
    for group, params in zip(bank.groups, stacked, strict=True):
        own = rows[(rows >= first) & (rows < first + group.num_blocks)] - first
        if own.size:
            kept = group.group._replace(size=len(own))
            parts.append((kept, take(params, own)))
        first += group.num_blocks
    return tuple(group for group, _ in parts), tuple(params for _, params in parts)


def one_of(
    bank: Bank, stacked: block_groups.Bank, number: int
) -> tuple[block_groups.ApplyBlock, Params]:
    """One block of a bank: its function and its parameters."""
    blocks, params = part_of(bank, stacked, np.array([number]))
    ((group, own),) = block_groups.groups_of(blocks, params)
    return group.apply_block, take(own, 0)


def norms_of(model: MultiTaskNetwork, params: Params) -> list[Params]:
    """The parameters of what stands behind each layer; none where nothing does."""
    return [params[f"norms_{depth}"] for depth in range(len(model.norms))]


def finish(model: MultiTaskNetwork, norms: list[Params], depth: int, x: jax.Array) -> jax.Array:
    """x [n, ...] with what stands behind a layer."""
    return model.norms[depth].apply({"params": norms[depth]}, x) if model.norms else x


def numbers(kept: Sequence[int]) -> tuple[int, ...]:
    """Block numbers as plain integers, in their order."""
    return tuple(sorted(int(block) for block in kept))
