"""Slots of examples of one block each: where the rows of a batch go, and moving them there.

Every block has the same number of slots, its capacity: a little more than the examples it takes
where routing is even. Examples that find their block full, and those that pass, are *guests* of
blocks with empty slots: there are at least as many slots as examples, so that nothing is dropped.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Groups(NamedTuple):
    """A batch sorted by action. Shapes are static."""

    order: jax.Array
    """int32 [B], examples sorted by action, ties in the order of the batch."""
    action: jax.Array
    """int32 [B], the action at each position of that order."""
    first: jax.Array
    """int32 [K + 1], the first position of each action; PASS is the last."""
    count: jax.Array
    """int32 [K + 1], examples of each action."""


class Slots(NamedTuple):
    """Where each example of a batch stands. Shapes are static."""

    slot_of_example: jax.Array
    """int32 [B]."""
    example_of_slot: jax.Array
    """int32 [K * capacity]; B where the slot is empty."""
    slot_of_position: jax.Array
    """int32 [B], along the order of `groups`."""
    groups: Groups


def capacity(batch: int, num_blocks: int) -> int:
    """Slots of each block: the mean number of examples of even routing, and a little more.

    1.25 standard deviations: less would leave many guests even then, more is arithmetic on empty
    slots.
    """
    mean = batch / num_blocks
    wanted = math.ceil(mean + 1.25 * math.sqrt(mean))
    if wanted > 8:  # whole vectors of a matrix product
        wanted = 8 * math.ceil(wanted / 8)
    return min(wanted, batch)


def group(actions: jax.Array, *, num_blocks: int) -> Groups:
    """Sorts examples by action.

    Args:
      actions: int32 [B], in `0 .. num_blocks`; `num_blocks` is PASS.
      num_blocks: K.
    """
    order = stable_order(actions, num_blocks)
    count = jnp.zeros(num_blocks + 1, jnp.int32).at[actions].add(1)
    return Groups(order, actions[order], jnp.cumsum(count) - count, count)


def assign_slots(actions: jax.Array, *, num_blocks: int, room: int) -> Slots:
    """Gives each example a slot: of its own block as long as there is room, else as a guest.

    Args:
      actions: int32 [B], in `0 .. num_blocks`; `num_blocks` is PASS.
      num_blocks: K.
      room: slots of each block, at least B / K.
    """
    batch, groups = actions.size, group(actions, num_blocks=num_blocks)
    room_of_action = jnp.full(num_blocks + 1, room, jnp.int32).at[num_blocks].set(0)
    rank = jnp.arange(batch, dtype=jnp.int32) - groups.first[groups.action]
    guest_rank = rank - room_of_action[groups.action]
    guests = jnp.maximum(groups.count - room_of_action, 0)
    first_guest = jnp.cumsum(guests) - guests
    slot = jnp.where(
        guest_rank < 0,
        groups.action * room + rank,
        _empty_slots(groups.count[:num_blocks], room, first_guest[groups.action] + guest_rank),
    )
    return Slots(
        slot_of_example=jnp.zeros(batch, jnp.int32).at[groups.order].set(slot),
        example_of_slot=jnp.full(num_blocks * room, batch, jnp.int32).at[slot].set(groups.order),
        slot_of_position=slot,
        groups=groups,
    )


def _empty_slots(count: jax.Array, room: int, number: jax.Array) -> jax.Array:
    """The `number`-th empty slots, int32 like `number`; anything where that is no number."""
    last = jnp.cumsum(jnp.maximum(room - count, 0))
    host = (number[:, None] >= last[None, :-1]).sum(1, dtype=jnp.int32)
    return (host + 1) * room - (last[host] - number)


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


def slotted(slots: Slots) -> Layout:
    """The slots, in order."""
    return Layout(slots.slot_of_example, slots.example_of_slot)


def sorted_rows(groups: Groups) -> Layout:
    """One row an example, sorted by action."""
    batch = groups.order.size
    positions = jnp.arange(batch, dtype=jnp.int32)
    return Layout(jnp.zeros(batch, jnp.int32).at[groups.order].set(positions), groups.order)


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
