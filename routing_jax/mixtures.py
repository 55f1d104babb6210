"""Mixtures of the blocks of a bank: of their outputs, or of their parameters.

Functions here take a bank as `block_groups` does. On a mesh each device mixes its own examples; see
`mesh.by_examples`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax import block_groups, mesh
from routing_jax.block_groups import ApplyBlock, Bank, Blocks, Group
from routing_jax.types import Params

Tree = Any
"""An array, or a tree of arrays."""
TASKS = "tasks"
"""Name of the axis that `mix_parameters` maps a block over: a block may average over it."""


def mix_outputs(apply_block: Blocks, bank: Bank, x: jax.Array, weights: jax.Array) -> jax.Array:
    """Runs every block on every example and adds up the outputs by the weights of the task.

    Args:
      apply_block: the function of one block, or the groups of a bank.
      bank: stacked parameters, each leaf [K, ...], or those of each group.
      x: [T, n, ...].
      weights: float32 [T, K].

    Returns:
      [T, n, ...].
    """

    def of_examples(common: tuple[Bank, jax.Array], x: jax.Array) -> jax.Array:
        bank, weights = common
        rows = x.reshape(-1, *x.shape[2:])
        parts, first = [], 0
        for group, params in block_groups.groups_of(apply_block, bank):
            outputs = block_groups.apply_all(group, params, rows)
            own, first = weights[:, first : first + group.size], first + group.size
            parts.append(mix(outputs.reshape(-1, *x.shape[:2], *outputs.shape[2:]), own))
        return sum(parts[1:], parts[0])

    return mesh.by_examples(of_examples, (bank, weights), x)


def mix_active(
    apply_block: Blocks,
    bank: Bank,
    x: jax.Array,
    weights: jax.Array,
    *,
    computed: jax.Array | None = None,
) -> jax.Array:
    """`mix_outputs` that runs only the blocks whose weight for a task is not zero.

    Tasks and blocks take turns, so this pays where many weights are zero and tasks have many
    examples, as in evaluation; under a `vmap` over weights every block is run after all.

    Args:
      apply_block: the function of one block, or the groups of a bank.
      bank: stacked parameters, each leaf [K, ...], or those of each group.
      x: [T, n, ...].
      weights: float32 [T, K].
      computed: bool [T, K], the blocks to run, others having weight zero; by default those of
        weight not zero, which leaves a weight of zero without a gradient.

    Returns:
      [T, n, ...].
    """
    computed = weights != 0 if computed is None else computed

    def of_examples(common: tuple[Bank, jax.Array, jax.Array], x: jax.Array) -> jax.Array:
        bank, *of_tasks = common
        groups = block_groups.groups_of(apply_block, bank)
        return jax.lax.map(lambda task: _mix_task(groups, *task), (x, *of_tasks))

    return mesh.by_examples(of_examples, (bank, weights, computed), x)


def _mix_task(
    groups: Sequence[tuple[Group, Params]],
    rows: jax.Array,
    weights: jax.Array,
    computed: jax.Array,
) -> jax.Array:
    """`mix_active` of one task: rows [n, ...], weights and computed [K]."""
    first = np.cumsum([0, *(group.size for group, _ in groups)])
    one = jax.eval_shape(lambda x: block_groups.apply_first(groups, x), rows)
    total = jnp.zeros(one.shape, one.dtype)
    for (group, params), start in zip(groups, first, strict=False):
        own = slice(start, start + group.size)
        blocks = (weights[own], computed[own], params)
        total = _add_active(total, group.apply_block, blocks, rows)
    return total


def _add_active(
    total: jax.Array,
    apply_block: ApplyBlock,
    blocks: tuple[jax.Array, jax.Array, Params],
    x: jax.Array,
) -> jax.Array:
    """Adds the blocks of a group that are to run, one after the other.

    Args:
      total: to add to, of the shape of a block's output.
      apply_block: the function of one block.
      blocks: weights, whether to run, and stacked parameters, each with the group's K first.
      x: [m, ...].
    """

    def add(total: jax.Array, block: tuple[jax.Array, jax.Array, Params]) -> tuple[jax.Array, None]:
        weight, runs, params = block
        added = jax.lax.cond(
            runs,
            lambda: total + weight.astype(total.dtype) * apply_block(params, x),
            lambda: total,
        )
        return added, None

    return jax.lax.scan(add, total, blocks)[0]


def mix_parameters(
    apply_block: Callable[[Params, Tree], Tree], bank: Params, x: Tree, weights: jax.Array
) -> Tree:
    """Runs one block for each task, whose parameters are a mixture of those of all blocks.

    It costs one block whatever K is. Where the blocks are not linear in their parameters, this is
    not the mixture of their outputs.

    Args:
      apply_block: the function of one block, of what one task has; for each task it runs under a
        `vmap` of the name `TASKS`.
      bank: stacked parameters, each leaf [K, ...].
      x: [T, n, ...], or a tree of arrays with the axis T first.
      weights: float32 [T, K], or [1, K] where all tasks mix alike, whose products are then one.

    Returns:
      What `apply_block` gives, with the axis T first.
    """
    mixed = mixed_blocks(bank, weights)
    if weights.shape[0] > 1:
        return jax.vmap(apply_block, axis_name=TASKS)(mixed, x)
    return jax.vmap(apply_block, (None, 0), axis_name=TASKS)(block_groups.take(mixed, 0), x)


def mixed_blocks(bank: Params, weights: jax.Array) -> Params:
    """The mixtures as a bank of T blocks: leaves [K, ...], weights [T, K] to leaves [T, ...]."""
    return jax.tree.map(lambda leaf: _mix_leaf(leaf, weights), bank)


def _mix_leaf(leaf: jax.Array, weights: jax.Array) -> jax.Array:
    """Parameters [K, ...] to [T, ...]; a pure order gives them back as they are."""
    rows = weights.astype(leaf.dtype), leaf.reshape(leaf.shape[0], -1)
    return jnp.matmul(*rows, precision="highest").reshape(-1, *leaf.shape[1:])


def mix(outputs: jax.Array, weights: jax.Array) -> jax.Array:
    """Adds up outputs [K, T, n, ...] by the weights [T, K] of the task: [T, n, ...]."""
    return jnp.einsum("ktn...,tk->tn...", outputs, weights.astype(outputs.dtype))
