"""`data.sampling` on the host, in NumPy: which images a step draws, before it is taken.

The same numbers, bit for bit, by threads that read ahead while the device computes. The generator
of the keys is that of `jax.random`, Threefry-2x32; see `routing_jax.threefry`.
"""

import numpy as np

from routing_jax.data.sampling import ROUNDS
from routing_jax.threefry import threefry
from routing_jax.types import MultiTaskData

Key = tuple[np.ndarray, np.ndarray]
"""Two words, uint32 of one shape: a key for each of so many things."""


def image_rows(
    data: MultiTaskData,
    *,
    key: np.ndarray,
    step: int,
    examples: int,
    shared: bool,
    round_robin: bool = False,
) -> np.ndarray:
    """The images of a step's batch: rows of `data.images`, int [T, n]; [1, n] where one row is all.

    Args:
      data: the training split; its images are not looked at.
      key: the words of the run's data key, uint32 [2].
      step: counted from 0.
      examples: n.
      shared: all tasks take the same images.
      round_robin: a step is of one task only, see `sampling.task_in_turn`.
    """
    numbers = np.arange(1 if shared else len(data.index))
    if round_robin:
        numbers, step = task_in_turn(key, step, num_tasks=len(data.index))
    drawn = draw(data.sizes[numbers], key=key, step=step, examples=examples, tasks=numbers)
    return np.take_along_axis(data.index[numbers], drawn, axis=1)


def task_in_turn(key: np.ndarray, step: int, *, num_tasks: int) -> tuple[np.ndarray, int]:
    """`sampling.task_in_turn`: the task, int [1], and the round."""
    own = _fold_in((key[:1], key[1:]), np.array([[num_tasks]]))
    return _stream(own, np.array([[num_tasks]]), np.array([[step]]))[0], step // num_tasks


def draw(
    sizes: np.ndarray, *, key: np.ndarray, step: int, examples: int, tasks: np.ndarray
) -> np.ndarray:
    """The examples that tasks [R] of these sizes draw at a step: int [R, n]."""
    positions = step * examples + np.arange(examples, dtype=np.int64)[None, :]
    keys = _fold_in((key[:1], key[1:]), tasks[:, None])
    return _stream(keys, sizes.astype(np.int64)[:, None], positions)


def _stream(keys: Key, sizes: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """As `sampling._stream`, for keys and sizes [R, 1] and positions [1, n]: int64 [R, n]."""
    epochs, positions = np.divmod(positions, sizes)
    first, second = (word[..., None] for word in _fold_in(keys, epochs))
    counters = np.arange(ROUNDS, dtype=np.uint32)
    left, right = threefry(first, second, np.zeros_like(counters), counters)
    return permuted(positions, sizes, left ^ right)


def _fold_in(key: Key, numbers: np.ndarray) -> Key:
    """`jax.random.fold_in` of keys with numbers below 2**32."""
    return threefry(*key, np.uint32(0), numbers.astype(np.uint32))


def permuted(positions: np.ndarray, sizes: np.ndarray, round_keys: np.ndarray) -> np.ndarray:
    """`sampling.permuted` for many positions at once.

    Args:
      positions: int64 [R, n].
      sizes: int64 [R, 1], at least 1.
      round_keys: uint32 [R, n, rounds].
    """
    # frexp gives the number of bits; it is exact for integers below 2**53.
    bits = np.frexp((np.maximum(sizes, 2) - 1).astype(np.float64))[1]
    half_bits = np.broadcast_to(((bits + 1) // 2).astype(np.uint32), positions.shape).copy()
    sizes = np.broadcast_to(sizes, positions.shape)
    found = _encrypt(positions.astype(np.uint32), half_bits, round_keys)
    outside = found >= sizes
    while outside.any():
        found[outside] = _encrypt(found[outside], half_bits[outside], round_keys[outside])
        outside = found >= sizes
    return found.astype(np.int64)


def _encrypt(values: np.ndarray, half_bits: np.ndarray, round_keys: np.ndarray) -> np.ndarray:
    mask = (np.uint32(1) << half_bits) - np.uint32(1)
    left, right = values >> half_bits, values & mask
    for number in range(round_keys.shape[-1]):
        left, right = right, left ^ (_mix(right ^ round_keys[..., number]) & mask)
    return (left << half_bits) | right


def _mix(values: np.ndarray) -> np.ndarray:
    """As in `sampling`."""
    values = (values ^ (values >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    values = (values ^ (values >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))
