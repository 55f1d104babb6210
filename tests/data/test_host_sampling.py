"""What a step draws, told by the host in NumPy, is what the device draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_jax.data import host_sampling, sampling
from routing_jax.types import MultiTaskData


def data_of(sizes, *, seed=0) -> MultiTaskData:
    """Image number i is the number i; each task has other images, in no order."""
    rng, largest = np.random.default_rng(seed), max(sizes)
    index = rng.permutation(len(sizes) * largest).reshape(len(sizes), largest).astype(np.int32)
    for row, size in zip(index, sizes, strict=True):
        row[size:] = 0
    images = np.arange(index.size, dtype=np.float32)[:, None]
    return MultiTaskData(images, index, np.zeros(index.shape, np.int32), np.array(sizes, np.int32))


def on_device(data, key, step, *, examples, shared=False, round_robin=False):
    tasks = None
    if round_robin:
        tasks, step = sampling.task_in_turn(step, num_tasks=len(data.index), key=key)
    batch = sampling.draw_batch(
        data, key=key, step=step, examples=examples, shared=shared, tasks=tasks
    )
    return batch.images[..., 0].astype(jnp.int32)


draw = jax.jit(on_device, static_argnames=("examples", "shared", "round_robin"))


def assert_same_rows(data, *, seed, step, **how):
    key = jax.random.key(seed)
    expected = draw(data, key, jnp.int32(step), **how)
    words = np.asarray(jax.random.key_data(key))
    found = host_sampling.image_rows(data._replace(images=None), key=words, step=step, **how)
    np.testing.assert_array_equal(found, expected)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=3, max_size=3),
    seed=st.integers(0, 2**32 - 1),
    step=st.integers(0, 1000),
)
def test_the_host_draws_what_the_device_draws(sizes, seed, step):
    assert_same_rows(data_of([*sizes, 40]), seed=seed, step=step, examples=7, shared=False)


@pytest.mark.parametrize("how", [{"shared": True}, {"round_robin": True}])
@pytest.mark.parametrize("step", [0, 1, 17, 998])
def test_shared_images_and_tasks_in_turn(how, step):
    sizes = [20] * 5 if "shared" in how else [20, 3, 1, 16, 9]
    data = data_of(sizes)
    if "shared" in how:
        data = data._replace(index=np.tile(data.index[:1], (5, 1)))
    assert_same_rows(data, seed=3, step=step, examples=6, **{"shared": False} | how)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 65_537, 100_003])
def test_whole_epochs_of_any_size_are_permutations(size):
    """Every position of three epochs at once, as one step of 3 * size examples."""
    key = np.array([5, 2**32 - 1], np.uint32)
    drawn = host_sampling.draw(
        np.array([size]), key=key, step=0, examples=3 * size, tasks=np.array([2])
    )
    np.testing.assert_array_equal(np.sort(drawn.reshape(3, size)), [np.arange(size)] * 3)


def test_the_largest_positions_do_not_overflow():
    data = data_of([30_011])
    assert_same_rows(data, seed=1, step=2**31 // 64 - 1, examples=64, shared=False)
