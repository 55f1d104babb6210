"""Batches without replacement, as a pure function of (key, step)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.data.sampling import draw_batch, permuted
from routing_jax.types import MultiTaskData


def python_permuted(position, size, round_keys):
    """The same Feistel network with cycle walking, in plain integers."""
    bits = max(size - 1, 1).bit_length()
    half = (bits + 1) // 2
    mask = 2**half - 1

    def mix(value):
        value = ((value ^ (value >> 16)) * 0x85EBCA6B) % 2**32
        value = ((value ^ (value >> 13)) * 0xC2B2AE35) % 2**32
        return value ^ (value >> 16)

    value = position
    while True:
        left, right = value >> half, value & mask
        for key in round_keys:
            left, right = right, left ^ (mix(right ^ key) & mask)
        value = (left << half) | right
        if value < size:
            return value


permute = jax.jit(jax.vmap(permuted, (0, None, None)))


def round_keys(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, 6, dtype=np.uint32)


def test_every_size_up_to_300_is_permuted():
    for size in range(1, 301):
        # Positions behind the size repeat earlier ones, so that all sizes share a shape.
        positions = np.arange(300, dtype=np.int32) % size
        out = np.asarray(permute(positions, jnp.int32(size), round_keys(size)))
        np.testing.assert_array_equal(np.sort(out[:size]), np.arange(size), err_msg=str(size))


@pytest.mark.parametrize("size", [1023, 1024, 1025, 60_000, 65_536, 65_537, 100_003])
def test_large_sizes_are_permuted(size):
    out = np.asarray(permute(np.arange(size, dtype=np.int32), jnp.int32(size), round_keys(0)))
    np.testing.assert_array_equal(np.sort(out), np.arange(size))
    # Nothing is left of the order: the correlation of independent numbers has deviation
    # 1 / sqrt(size), at most 0.032.
    assert abs(np.corrcoef(out, np.arange(size))[0, 1]) < 0.13
    assert abs(np.corrcoef(out[:-1], out[1:])[0, 1]) < 0.13


def test_the_largest_size_does_not_overflow():
    size = 2**31 - 1
    positions = np.array([0, 1, size // 2, size - 2, size - 1], np.int32)
    out = permute(positions, jnp.int32(size), round_keys(0))
    expected = [python_permuted(int(p), size, round_keys(0).tolist()) for p in positions]
    np.testing.assert_array_equal(out, expected)


def test_equality_with_plain_integers():
    for size in (1, 2, 3, 5, 16, 17, 255, 256, 257):
        positions = np.arange(300, dtype=np.int32) % size
        out = permute(positions, jnp.int32(size), round_keys(size))
        keys = round_keys(size).tolist()
        expected = [python_permuted(int(p), size, keys) for p in positions]
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("size", [3, 10, 37])
def test_every_example_is_as_likely_at_every_position(size):
    seeds = 4000
    keys = np.random.default_rng(1).integers(0, 2**32, (seeds, 6), dtype=np.uint32)
    over_keys = jax.jit(jax.vmap(jax.vmap(permuted, (0, None, None)), (None, None, 0)))
    out = np.asarray(over_keys(jnp.arange(size, dtype=jnp.int32), jnp.int32(size), keys))
    counts = np.stack([(out == example).sum(0) for example in range(size)])
    expected = seeds / size
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    # A doubly stochastic table has (size - 1)**2 degrees of freedom; five deviations above.
    freedom = (size - 1) ** 2
    assert chi_squared < freedom + 5 * (2 * freedom) ** 0.5


# Batches. Image number i holds i; example e of task t is image 20 t + e, with the label e.

SIZES = (20, 7, 3)


def own_images() -> MultiTaskData:
    index = np.zeros((3, 20), np.int32)
    labels = np.zeros((3, 20), np.int32)
    for task, size in enumerate(SIZES):
        index[task, :size] = 20 * task + np.arange(size)
        labels[task, :size] = np.arange(size)
    return MultiTaskData(
        jnp.arange(60, dtype=jnp.uint8)[:, None, None, None], index, labels, np.int32(SIZES)
    )


draw = jax.jit(draw_batch, static_argnames=("examples", "shared"))


def stream(data, steps, *, seed=0, examples=5, shared=False):
    """The examples of each task in the order drawn, [T, steps * n], by labels and by images."""
    drawn = [
        draw(data, key=jax.random.key(seed), step=jnp.int32(i), examples=examples, shared=shared)
        for i in range(steps)
    ]
    labels = np.concatenate([batch.labels for batch in drawn], axis=1)
    images = np.concatenate([batch.images[..., 0, 0, 0] for batch in drawn], axis=1)
    return labels, images.astype(np.int32)


def test_each_task_sees_each_of_its_examples_once_per_epoch_of_its_own():
    labels, images = stream(own_images(), 16)  # 80 examples of each task
    np.testing.assert_array_equal(images, labels + 20 * np.arange(3)[:, None])
    for task, size in enumerate(SIZES):
        epochs = labels[task][: 80 // size * size].reshape(-1, size)
        np.testing.assert_array_equal(
            np.sort(epochs, axis=1), np.broadcast_to(np.arange(size), epochs.shape)
        )
    # In four steps, an epoch of the largest task, the task of 7 examples wraps almost thrice.
    counts = np.bincount(labels[1, :20], minlength=7)
    assert set(counts) <= {2, 3}


def test_epochs_and_tasks_and_seeds_differ_in_their_order():
    labels, _ = stream(own_images(), 16)
    epochs = {tuple(epoch) for epoch in labels[0].reshape(4, 20)}
    assert len(epochs) == 4
    other, _ = stream(own_images(), 16, seed=1)
    assert (labels[0] != other[0]).any()
    same_size = own_images()._replace(sizes=np.int32([20, 20, 20]))
    _, images = stream(same_size._replace(index=np.tile(np.arange(20, dtype=np.int32), (3, 1))), 4)
    assert len({tuple(row) for row in images}) == 3


def test_a_batch_larger_than_a_task_wraps_inside():
    labels, _ = stream(own_images(), 1, examples=50)
    np.testing.assert_array_equal(np.sort(labels[2][:48].reshape(16, 3)), [[0, 1, 2]] * 16)


def test_a_step_does_not_depend_on_the_steps_before():
    data = own_images()
    run, _ = stream(data, 8)
    for step in (7, 0, 3):
        alone = draw(data, key=jax.random.key(0), step=jnp.int32(step), examples=5, shared=False)
        np.testing.assert_array_equal(alone.labels, run[:, 5 * step : 5 * step + 5])


def test_the_stream_does_not_depend_on_the_batch_size():
    data = own_images()
    np.testing.assert_array_equal(stream(data, 10, examples=4)[0], stream(data, 8, examples=5)[0])


def test_shared_images_are_drawn_once_and_every_task_labels_them():
    count, tasks = 11, 4
    labels = np.random.default_rng(0).integers(0, 9, (tasks, count)).astype(np.int32)
    index = np.tile(np.arange(count, dtype=np.int32)[::-1], (tasks, 1))  # example e is image 10 - e
    pixels = jnp.arange(count, dtype=jnp.uint8)[:, None, None, None]
    data = MultiTaskData(pixels, index, labels, np.full(tasks, count, np.int32))
    batch = draw(data, key=jax.random.key(0), step=jnp.int32(0), examples=6, shared=True)
    assert batch.images.shape == (1, 6, 1, 1, 1)
    assert batch.images.dtype == jnp.uint8
    shown = 10 - np.asarray(batch.images).reshape(6).astype(np.int32)
    np.testing.assert_array_equal(batch.labels, labels[:, shown])
    _, images = stream(data, 11, examples=3, shared=True)  # three epochs
    np.testing.assert_array_equal(np.sort(images.reshape(3, 11)), [np.arange(11)] * 3)


def test_drawing_works_under_vmap_over_keys_as_a_sweep_needs_it():
    data, keys = own_images(), jax.random.split(jax.random.key(3), 3)

    def labels(key):
        return draw_batch(data, key=key, step=jnp.int32(5), examples=5, shared=False).labels

    together = jax.jit(jax.vmap(labels))(keys)
    for cell in range(3):
        np.testing.assert_array_equal(together[cell], jax.jit(labels)(keys[cell]))
