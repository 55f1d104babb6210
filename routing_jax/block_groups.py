"""Banks of unlike blocks: groups of like blocks, each stacked on an axis of its own.

Functions here take the blocks of a bank either as the function of one block and the parameters
stacked on one K axis, or as tuples with one `Group` and one stacked tree for each group. The blocks
of all groups are numbered through: K is the sum of the groups' sizes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.types import Params

ApplyBlock = Callable[[Params, jax.Array], jax.Array]
"""(parameters of one block, x [m, ...]) -> [m, ...]."""
ApplyAll = Callable[[Params, jax.Array], jax.Array]
"""(stacked parameters, x [m, ...]) -> [K, m, ...], every block on the same rows."""


class Group(NamedTuple):
    """Like blocks of a bank."""

    apply_block: ApplyBlock
    """The function of one block."""
    size: int
    """How many there are."""
    apply_all: ApplyAll | None = None
    """All of them on the same rows, where there is a faster way than a `vmap`."""


Blocks = ApplyBlock | tuple[Group, ...]
Bank = Params | tuple[Params, ...]
"""Stacked parameters, of one group or for each group; a block without parameters has an empty tree.
"""
Result = TypeVar("Result")


def groups_of(blocks: Blocks, bank: Bank) -> tuple[tuple[Group, Params], ...]:
    """The groups of a bank, each with its stacked parameters."""
    if isinstance(blocks, tuple):
        return tuple(zip(blocks, bank, strict=True))
    return ((Group(blocks, jax.tree.leaves(bank)[0].shape[0]), bank),)


def num_blocks(blocks: Blocks, bank: Bank) -> int:
    """K."""
    return sum(group.size for group, _ in groups_of(blocks, bank))


def apply_all(group: Group, params: Params, x: jax.Array) -> jax.Array:
    """Every block of a group on every row of x [m, ...]: [K of the group, m, ...]."""
    if group.size == 1 or not jax.tree.leaves(params):
        one = group.apply_block(take(params, 0), x)  # a `vmap` would make it slower
        return jnp.broadcast_to(one[None], (group.size, *one.shape))
    if group.apply_all is not None:
        return group.apply_all(params, x)
    return jax.vmap(group.apply_block, (0, None))(params, x)


def apply_everything(blocks: Blocks, bank: Bank, x: jax.Array) -> jax.Array:
    """Every block on every row of x [m, ...]: [K, m, ...]."""
    parts = [apply_all(group, params, x) for group, params in groups_of(blocks, bank)]
    return jnp.concatenate(parts) if len(parts) > 1 else parts[0]


def apply_each(blocks: Blocks, bank: Bank, x: jax.Array) -> jax.Array:
    """Each block on rows of its own, x [K, m, ...]: [K, m, ...]."""
    outputs, first = [], 0
    for group, params in groups_of(blocks, bank):
        rows, first = x[first : first + group.size], first + group.size
        outputs.append(jax.vmap(group.apply_block)(params, rows))
    return jnp.concatenate(outputs) if len(outputs) > 1 else outputs[0]


def apply_one(blocks: Blocks, bank: Bank, number: jax.Array, x: jax.Array) -> jax.Array:
    """The block of that number (int32 scalar) on x [m, ...]."""
    groups = groups_of(blocks, bank)

    def apply(index: int, place: jax.Array) -> jax.Array:
        group, params = groups[index]
        return group.apply_block(take(params, place), x)

    return in_group([group for group, _ in groups], number, apply)


def apply_first(groups: Sequence[tuple[Group, Params]], x: jax.Array) -> jax.Array:
    """The first block on rows x [m, ...]; for the shape, which all blocks give."""
    group, params = groups[0]
    return group.apply_block(take(params, 0), x)


def in_group(
    groups: list[Group], number: jax.Array, do: Callable[[int, jax.Array], Result]
) -> Result:
    """Does something with the block of a number, in its group.

    Args:
      groups: of the bank.
      number: int32 scalar in `0 .. K-1`.
      do: takes the number of the group and the place of the block in it.

    Returns:
      What `do` returns for that group; it has to be of the same shapes for all.
    """
    if len(groups) == 1:
        return do(0, number)
    first = np.cumsum([0, *(group.size for group in groups)])
    branches = [lambda n, i=i: do(i, n - int(first[i])) for i in range(len(groups))]
    mine = (number >= first[1:].astype(np.int32)).sum(dtype=jnp.int32)
    return jax.lax.switch(mine, branches, number)


def take(params: Params, place: jax.Array | int) -> Params:
    """The parameters of one block out of the stacked ones of its group."""
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_index_in_dim(leaf, place, keepdims=False), params
    )
