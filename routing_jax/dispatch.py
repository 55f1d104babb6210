"""Applying a bank: each example through the block that was chosen for it.

All strategies compute the same function, and the same gradients, up to float rounding:

========== ===================================================================================
dense      every block on every example, masked; costs K times one block. The oracle.
gather     one action per task: T weight gathers and a batched product.
grouped    examples sorted by action into tiles of one block each, one weight gather per tile;
           nothing is dropped and PASS costs nothing.
========== ===================================================================================
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from routing_jax.types import Params

ApplyBlock = Callable[[Params, jax.Array], jax.Array]
"""(parameters of one block, x [m, ...]) -> [m, ...]."""

_TILE = 32
"""Examples of one tile of `grouped`: large enough for a matrix product, small enough that the
partly filled last tiles of K blocks cost little. Measured; see BUILD_NOTES.md."""


def select(
    apply_block: ApplyBlock,
    bank: Params,
    x: jax.Array,
    actions: jax.Array,
    *,
    strategy: str = "auto",
    pass_action: bool = False,
) -> jax.Array:
    """Sends each example through its chosen block.

    Args:
      apply_block: the function of one block.
      bank: stacked parameters, each leaf [K, ...].
      x: [T, n, ...].
      actions: int32 [T, n], one per example, or [T], one per task; the action K is PASS.
      strategy: "dense", "gather", "grouped", or "auto": gather for decisions per task, dense for
        K = 1, else grouped.
      pass_action: PASS may occur; the output then has the shape of `x`.

    Returns:
      [T, n, ...], `apply_block` of the chosen block; `x` itself where PASS was chosen.

    Raises:
      ValueError: `gather` with an action per example, or an unknown strategy.
    """
    num_blocks = jax.tree.leaves(bank)[0].shape[0]
    if strategy == "auto":
        strategy = _choose(num_blocks, per_task=actions.ndim == 1)
    if strategy == "gather":
        chosen = _gather(apply_block, bank, x, actions)
    elif strategy not in _FLAT_STRATEGIES:
        raise ValueError(
            f"there is no dispatch strategy {strategy!r}; those that exist: "
            f"{', '.join(('auto', 'gather', *_FLAT_STRATEGIES))}"
        )
    else:
        actions = _per_example(actions, x.shape[:2])
        flat = _FLAT_STRATEGIES[strategy](
            apply_block, bank, x.reshape(-1, *x.shape[2:]), actions.reshape(-1)
        )
        chosen = flat.reshape(*x.shape[:2], *flat.shape[1:])
    if not pass_action:
        return chosen
    passed = (actions == num_blocks).reshape(actions.shape + (1,) * (x.ndim - actions.ndim))
    return jnp.where(passed, x.astype(chosen.dtype), chosen)


def _choose(num_blocks: int, *, per_task: bool) -> str:
    if per_task:
        return "gather"
    return "dense" if num_blocks == 1 else "grouped"


def _per_example(actions: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return actions if actions.ndim == 2 else jnp.broadcast_to(actions[:, None], shape)


def _gather(apply_block: ApplyBlock, bank: Params, x: jax.Array, actions: jax.Array) -> jax.Array:
    if actions.ndim != 1:
        raise ValueError(
            "the strategy gather needs one action per task, [T]; got actions of shape "
            f"{actions.shape}. Use grouped for an action per example."
        )
    return jax.vmap(apply_block)(_take_blocks(bank, actions), x)


def _dense(apply_block: ApplyBlock, bank: Params, x: jax.Array, actions: jax.Array) -> jax.Array:
    """x [B, ...], actions [B]: all K blocks on all examples, and a masked sum over blocks."""
    everything = jax.vmap(apply_block, (0, None))(bank, x)
    mask = jnp.arange(everything.shape[0])[:, None] == actions[None, :]
    mask = mask.reshape(mask.shape + (1,) * (everything.ndim - 2))
    return jnp.where(mask, everything, jnp.zeros((), everything.dtype)).sum(0)


def _grouped(apply_block: ApplyBlock, bank: Params, x: jax.Array, actions: jax.Array) -> jax.Array:
    """x [B, ...], actions [B]: tiles of examples of one block."""
    num_blocks = jax.tree.leaves(bank)[0].shape[0]
    tiling = make_tiling(actions, num_blocks=num_blocks)
    tiles = _move_rows(x, tiling.example_of_slot, tiling.slot_of_example)
    tiles = tiles.reshape(tiling.block_of_tile.size, -1, *x.shape[1:])
    out = jax.vmap(apply_block)(_take_blocks(bank, tiling.block_of_tile), tiles)
    out = out.reshape(-1, *out.shape[2:])
    return _move_rows(out, tiling.slot_of_example, tiling.example_of_slot)


_FLAT_STRATEGIES = {"dense": _dense, "grouped": _grouped}


class Tiling(NamedTuple):
    """Where each example of a batch goes, and what each tile holds. Shapes are static."""

    slot_of_example: jax.Array
    """int32 [B]; the number of slots where the example passes and needs no slot."""
    example_of_slot: jax.Array
    """int32 [tiles * tile]; B where the slot is empty."""
    block_of_tile: jax.Array
    """int32 [tiles]; tiles behind the last used one repeat the last block on empty slots."""


def make_tiling(actions: jax.Array, *, num_blocks: int, tile: int = _TILE) -> Tiling:
    """Sorts examples by action and pads the group of each block to whole tiles.

    Args:
      actions: int32 [B], in `0 .. num_blocks`; `num_blocks` is PASS.
      num_blocks: K.
      tile: examples of one tile; a batch smaller than that makes smaller tiles.
    """
    batch = actions.size
    tile = min(tile, batch)
    tiles = (batch + min(num_blocks, batch) * (tile - 1)) // tile
    counts = jnp.zeros(num_blocks + 1, jnp.int32).at[actions].add(1)
    tiles_of_block = (counts[:num_blocks] + tile - 1) // tile
    last_tile = jnp.cumsum(tiles_of_block)
    first_slot = jnp.append((last_tile - tiles_of_block) * tile, tiles * tile)
    order = jnp.argsort(actions, stable=True).astype(jnp.int32)
    first_rank = jnp.cumsum(counts) - counts
    sorted_actions = actions[order]
    rank = jnp.arange(batch, dtype=jnp.int32) - first_rank[sorted_actions]
    is_pass = sorted_actions == num_blocks
    slot = jnp.where(is_pass, tiles * tile, first_slot[sorted_actions] + rank)
    return Tiling(
        slot_of_example=jnp.zeros(batch, jnp.int32).at[order].set(slot),
        example_of_slot=jnp.full(tiles * tile, batch, jnp.int32)
        .at[slot]
        .set(order, mode="drop", unique_indices=False),
        block_of_tile=jnp.minimum(
            jnp.searchsorted(last_tile, jnp.arange(tiles), side="right"), num_blocks - 1
        ),
    )


def _take_blocks(bank: Params, rows: jax.Array) -> Params:
    """Parameters of the blocks `rows` [R]: each leaf [R, ...]."""
    return jax.tree.map(lambda leaf: leaf[rows], bank)


@jax.custom_vjp
def _move_rows(x: jax.Array, source: jax.Array, destination: jax.Array) -> jax.Array:
    """Row i of the result is `x[source[i]]`, or zero where `source[i]` is out of range.

    `destination` is the inverse of `source`: row j of `x` goes to `destination[j]`, or nowhere
    where that is out of range. The gradient is therefore a gather too, where XLA would scatter.
    """
    del destination
    return jnp.take(x, source, axis=0, mode="fill", fill_value=0)


def _move_rows_forward(x, source, destination):
    return _move_rows(x, source, destination), (source, destination)


def _move_rows_backward(residuals, gradient):
    source, destination = residuals
    return _move_rows(gradient, destination, source), None, None


_move_rows.defvjp(_move_rows_forward, _move_rows_backward)
