"""Blocks on slots: one product for all blocks at once, and a loop over what did not fit.

The loop takes as many turns as the routing needs, none where it is even; a loop of that kind has no
gradient of its own, so the gradient is written down here.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from routing_jax.block_groups import (
    Bank,
    Blocks,
    apply_each,
    apply_one,
    groups_of,
    in_group,
    take,
)
from routing_jax.slots import Slots

_TILE = 32
"""Guests that one turn of the loop takes, all of one block."""


def apply_to_slots(blocks: Blocks, bank: Bank, x: jax.Array, slots: Slots) -> jax.Array:
    """Sends each slot's example through the block it chose, wherever it stands.

    Args:
      blocks: the function of one block, or the groups; a gradient passes through parameters and
        examples only.
      bank: stacked parameters, each leaf [K, ...], or those of each group.
      x: rows [K * capacity, ...] in the order of the slots.
      slots: of those rows.

    Returns:
      [K * capacity, ...]; anything where a slot is empty or its example passes.
    """
    num_blocks = slots.groups.count.size - 1
    room = slots.example_of_slot.size // num_blocks
    crowds_fit = room >= slots.slot_of_example.size

    def residents(bank: Bank, x: jax.Array) -> jax.Array:
        out = apply_each(blocks, bank, x.reshape(num_blocks, room, *x.shape[1:]))
        return out.reshape(-1, *out.shape[2:])

    def forward(bank: Bank, x: jax.Array, slots: Slots):
        out, pull_back = jax.vjp(residents, bank, x)
        if not crowds_fit:
            out = _apply_to_guests(blocks, bank, x, slots, out)
        return out, (pull_back, bank, x, slots)

    def backward(residuals, gradient: jax.Array):
        pull_back, bank, x, slots = residuals
        at_home = jnp.arange(room)[None, :] < slots.groups.count[:num_blocks, None]
        mine = jnp.where(_like(at_home.reshape(-1), gradient), gradient, 0)
        gradients = pull_back(mine)
        if not crowds_fit:
            gradients = _add_guests(blocks, bank, x, slots, gradient, gradients)
        return *gradients, None

    @jax.custom_vjp
    def apply(bank: Bank, x: jax.Array, slots: Slots) -> jax.Array:
        return forward(bank, x, slots)[0]

    apply.defvjp(forward, backward)
    return apply(bank, x, slots)


def _apply_to_guests(
    blocks: Blocks, bank: Bank, x: jax.Array, slots: Slots, out: jax.Array
) -> jax.Array:
    """`out` with the rows of guests put right."""
    num_tiles, tile = _tiles_of_guests(slots)

    def turn(number: jax.Array, out: jax.Array) -> jax.Array:
        block, rows = tile(number)
        result = apply_one(blocks, bank, block, _rows(x, rows))
        return out.at[rows].set(result, mode="drop")

    return jax.lax.fori_loop(0, num_tiles, turn, out)


def _add_guests(
    blocks: Blocks,
    bank: Bank,
    x: jax.Array,
    slots: Slots,
    gradient: jax.Array,
    gradients: tuple[Bank, jax.Array],
) -> tuple[Bank, jax.Array]:
    """`gradients` of bank and x with the share of the guests."""
    num_tiles, tile = _tiles_of_guests(slots)
    groups = groups_of(blocks, bank)
    several = isinstance(blocks, tuple)

    def turn(number: jax.Array, gradients: tuple[Bank, jax.Array]) -> tuple[Bank, jax.Array]:
        block, rows = tile(number)
        of_banks = gradients[0] if several else (gradients[0],)

        def add(index: int, place: jax.Array) -> tuple[tuple[Bank, ...], jax.Array]:
            group, params = groups[index]
            _, pull_back = jax.vjp(group.apply_block, take(params, place), _rows(x, rows))
            of_block, of_x = pull_back(_rows(gradient, rows))
            of_group = jax.tree.map(
                lambda all_, one: all_.at[place].add(one), of_banks[index], of_block
            )
            return (*of_banks[:index], of_group, *of_banks[index + 1 :]), of_x

        of_banks, of_x = in_group([group for group, _ in groups], block, add)
        of_bank = of_banks if several else of_banks[0]
        return of_bank, gradients[1].at[rows].set(of_x, mode="drop")

    return jax.lax.fori_loop(0, num_tiles, turn, gradients)


def _tiles_of_guests(
    slots: Slots,
) -> tuple[jax.Array, Callable[[jax.Array], tuple[jax.Array, jax.Array]]]:
    """How many tiles the guests of all blocks fill, and their block and slots [_TILE] by number.

    The slots of a tile that is not full end with numbers that are out of range.
    """
    num_blocks = slots.groups.count.size - 1
    room = slots.example_of_slot.size // num_blocks
    batch, out_of_range = slots.slot_of_example.size, slots.example_of_slot.size
    first, count = slots.groups.first[:num_blocks], slots.groups.count[:num_blocks]
    tiles = (jnp.maximum(count - room, 0) + _TILE - 1) // _TILE
    last = jnp.cumsum(tiles)

    def tile(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        block = (last <= number).sum(dtype=jnp.int32)
        start = first[block] + room + (number - last[block] + tiles[block]) * _TILE
        positions = start + jnp.arange(_TILE, dtype=jnp.int32)
        rows = slots.slot_of_position[jnp.minimum(positions, batch - 1)]
        return block, jnp.where(positions < first[block] + count[block], rows, out_of_range)

    return last[-1], tile


def _rows(x: jax.Array, rows: jax.Array) -> jax.Array:
    """Rows of `x`, zero where their number is out of range."""
    return jnp.take(x, rows, axis=0, mode="fill", fill_value=0)


def _like(mask: jax.Array, x: jax.Array) -> jax.Array:
    """`mask` [rows] with the rank of `x` [rows, ...]."""
    return mask.reshape(mask.shape + (1,) * (x.ndim - 1))
