"""Batches drawn on the device, without replacement, as a pure function of (key, step).

An epoch of a task is a pseudo-random permutation of its examples that is evaluated point by point
(a Feistel network with cycle walking). Nothing is stored and nothing is sorted, so any step of any
run can be drawn at once: a resumed run and a cell of a sweep see the same data as an uninterrupted
single run.
"""

import jax
import jax.numpy as jnp

from routing_jax.data.labels import is_labelled
from routing_jax.types import Batch, MultiTaskData, ReadAhead

ROUNDS = 6
"""Feistel rounds; four suffice in theory for a random-looking permutation, two are for safety."""


def draw_batch(
    data: MultiTaskData,
    *,
    key: jax.Array,
    step: jax.Array,
    examples: int,
    shared: bool,
    tasks: jax.Array | None = None,
    turn: jax.Array | None = None,
) -> Batch:
    """Draws the batch of `step`: the next `examples` of each task.

    Each task runs through a permutation of its own examples and then through another one, so every
    example of a task comes exactly once per epoch of that task, and small tasks wrap.

    Args:
      data: the training split.
      key: the run's data key.
      step: int32 scalar, counted from 0; `step * examples` must stay below 2**31.
      examples: n, examples of each task.
      shared: all tasks take the same images; their rows of `data.index` must be equal.
      tasks: int32 [R], the tasks to draw of, not shared; None for all T. What a task draws depends
        on its number alone.
      turn: int32 scalar, the step of the run, by which images that were read ahead are found; None
        where it is `step`.

    Returns:
      A batch with images [T, n, ...], or [1, n, ...] if `shared`; weights tell which examples have
      a label.
    """
    positions = step * examples + jnp.arange(examples, dtype=jnp.int32)
    rows = 1 if shared else data.index.shape[0]
    numbers = jnp.arange(rows)
    if tasks is not None:
        data, rows, numbers = _of_tasks(data, tasks), len(tasks), tasks
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
    drawn = jax.vmap(_stream, (0, 0, None))(keys, data.sizes[:rows], positions)
    if isinstance(data.images, ReadAhead):
        images = data.images.of(step if turn is None else turn)
    else:
        images = data.images[jnp.take_along_axis(data.index[:rows], drawn, axis=1)]
    drawn = jnp.broadcast_to(drawn, (data.index.shape[0], examples))
    labels = jnp.take_along_axis(data.labels, drawn, axis=1)
    labelled = is_labelled(labels)
    return Batch(
        images,
        jnp.where(labelled, labels, jnp.zeros_like(labels)),
        labelled.astype(jnp.float32),
        data.classes,
    )


def task_in_turn(step: jax.Array, *, num_tasks: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whose turn it is where each step is of one task, and how often all have had theirs.

    Every round goes through all tasks in an order of its own.

    Args:
      step: int32 scalar, counted from 0.
      num_tasks: T.
      key: the run's data key.

    Returns:
      The task, int32 [1], and the round, int32 scalar.
    """
    own = jax.random.fold_in(key, num_tasks)  # a number that no task has
    return _stream(own, jnp.int32(num_tasks), step[None]), step // num_tasks


def _of_tasks(data: MultiTaskData, tasks: jax.Array) -> MultiTaskData:
    """The data of some tasks, int32 [R]."""
    classes = None if data.classes is None else data.classes[tasks]
    return data._replace(
        index=data.index[tasks], labels=data.labels[tasks], sizes=data.sizes[tasks], classes=classes
    )


def _stream(key: jax.Array, size: jax.Array, positions: jax.Array) -> jax.Array:
    """Examples at `positions` of an endless stream of permutations of `size` examples."""
    epochs = positions // size
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, epochs)
    seeds = jax.vmap(lambda epoch_key: jax.random.bits(epoch_key, (ROUNDS,), jnp.uint32))(keys)
    return jax.vmap(permuted, (0, None, 0))(positions % size, size, seeds)


def permuted(position: jax.Array, size: jax.Array, round_keys: jax.Array) -> jax.Array:
    """Image of `position` under a pseudo-random permutation of `0 .. size-1`.

    A balanced Feistel network permutes the smallest square power of two that holds `size`; values
    that fall outside are sent through it again until they fall inside (Black and Rogaway, "Ciphers
    with Arbitrary Finite Domains", 2002), which is again a permutation.

    Args:
      position: int32 scalar in `0 .. size-1`.
      size: int32 scalar, at least 1.
      round_keys: uint32 [rounds].

    Returns:
      int32 scalar in `0 .. size-1`.
    """
    largest = jnp.maximum(size.astype(jnp.uint32), 2) - 1
    half_bits = (33 - jax.lax.clz(largest)) // 2
    mask = (jnp.uint32(1) << half_bits) - 1

    def encrypt(value: jax.Array) -> jax.Array:
        left, right = value >> half_bits, value & mask
        for round_key in round_keys:
            left, right = right, left ^ (_mix(right ^ round_key) & mask)
        return (left << half_bits) | right

    def outside(value: jax.Array) -> jax.Array:
        return value >= size.astype(jnp.uint32)

    once = encrypt(position.astype(jnp.uint32))
    return jax.lax.while_loop(outside, encrypt, once).astype(jnp.int32)


def _mix(value: jax.Array) -> jax.Array:
    """A 32-bit integer hash (the finalizer of MurmurHash3)."""
    value = (value ^ (value >> 16)) * jnp.uint32(0x85EBCA6B)
    value = (value ^ (value >> 13)) * jnp.uint32(0xC2B2AE35)
    return value ^ (value >> 16)
