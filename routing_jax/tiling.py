"""Tiles of examples of one block each: where the rows of a batch go, and moving them there."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_TILE = 32
"""Examples of one tile: large enough for a matrix product, small enough that the partly filled last
tiles of K blocks cost little. Measured; see BUILD_NOTES.md."""


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
    order = stable_order(actions, num_blocks)
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


def stable_order(actions: jax.Array, num_blocks: int) -> jax.Array:
    """The stable order that sorts actions: int32 [B]."""
    batch = actions.size
    if (num_blocks + 1) * batch >= 2**31:
        return jnp.argsort(actions, stable=True).astype(jnp.int32)
    # One array of distinct keys sorts several times as fast as keys with a payload.
    return jnp.sort(actions * batch + jnp.arange(batch, dtype=jnp.int32), stable=False) % batch


class Layout(NamedTuple):
    """Where the examples of a batch stand among rows. Shapes are static."""

    row_of_example: jax.Array
    """int32 [B]; the number of rows for an example that stands nowhere."""
    example_of_row: jax.Array
    """int32 [rows]; B for an empty row."""


def in_order(batch: int) -> Layout:
    """One row an example, in order."""
    rows = jnp.arange(batch, dtype=jnp.int32)
    return Layout(rows, rows)


def tiled(tiling: Tiling, *, pass_rows: bool) -> Layout:
    """The slots of a tiling; with `pass_rows`, B more rows, one for each example that may pass."""
    if not pass_rows:
        return Layout(tiling.slot_of_example, tiling.example_of_slot)
    slots, batch = tiling.example_of_slot.size, tiling.slot_of_example.size
    examples = jnp.arange(batch, dtype=jnp.int32)
    passes = tiling.slot_of_example == slots
    return Layout(
        jnp.where(passes, slots + examples, tiling.slot_of_example),
        jnp.concatenate([tiling.example_of_slot, jnp.where(passes, examples, batch)]),
    )


def move(x: jax.Array, before: Layout, after: Layout) -> jax.Array:
    """Moves rows [rows before, ...] from one layout to another; empty rows become zero."""
    return _move_rows(x, _compose(after, before), _compose(before, after))


def _compose(of: Layout, to: Layout) -> jax.Array:
    """The row of `to` of each row of `of`; out of range where that row is empty."""
    rows = to.example_of_row.size
    return jnp.take(to.row_of_example, of.example_of_row, mode="fill", fill_value=rows)


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
