"""Streamed images: the batches, the evaluation and the results are those of memory."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streamed_sets import streamed

from routing_jax.data.own import task_set
from routing_jax.data.sampling import draw_batch, task_in_turn
from routing_jax.training import loop, memory
from routing_jax.training import streamed as streaming
from routing_jax.training.run import make_run
from routing_jax.training.state import make_keys
from routing_jax.training.streamed import Feed, Position
from routing_jax.training.streamed_evaluation import StreamedEvaluation

WAYS = {
    "shared": {},
    "own images": {"data__share_images": False},
    "in turn": {"data__share_images": False, "training__round_robin": True},
}


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of five steps of the largest batches here: 10 tasks, 8 images of 64 bytes."""
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 5 * 10 * 8 * 64)
    monkeypatch.setattr(streaming, "_MOST_STEPS", 5)


@pytest.fixture(scope="module")
def uneven():
    """Three tasks with other images each, 30 to 700 of them, and two to four classes."""
    rng = np.random.default_rng(0)

    def examples(count, classes):
        images = rng.integers(0, 256, (count, 8, 8, 1)).astype(np.uint8)
        return images, np.arange(count) % classes

    sizes = {"a": (30, 2), "b": (200, 4), "c": (90, 3)}
    train = {name: examples(*size) for name, size in sizes.items()}
    test = {name: examples(700 // size[1], size[1]) for name, size in sizes.items()}
    return task_set("uneven", train=train, test=test)


def drawing(run):
    """Draws the batch of a step, with the images given for those of the training split."""
    config, train = run.program.config, run.tasks.train
    labels = jax.tree.map(jnp.asarray, train._replace(images=None))
    key = make_keys(run.hyper.seed).data

    @jax.jit
    def draw(images, step):
        tasks, number = None, step
        if config.training.round_robin:
            tasks, number = task_in_turn(step, num_tasks=run.tasks.num_tasks, key=key)
        return draw_batch(
            labels._replace(images=images),
            key=key,
            step=number,
            examples=run.examples_per_task,
            shared=config.data.share_images,
            tasks=tasks,
            turn=step,
        )

    return draw


def close_after(feed, steps):
    """The chunks of some steps; the feed's threads end with them."""
    chunks = [feed.at(step) for step in steps]
    feed.close()
    return chunks


@pytest.mark.parametrize("way", WAYS)
def test_batches_are_exactly_those_of_memory(tiny_config, digits, small_chunks, way):
    held = make_run(tiny_config(**WAYS[way]), digits)
    run = make_run(tiny_config(**WAYS[way]), streamed(digits))
    steps = range(run.schedule.total)  # 12: the last chunk is not full
    draw, draw_held = drawing(run), drawing(held)
    for step, chunk in zip(steps, close_after(Feed(run, step=0), steps), strict=True):
        assert (chunk.first, chunk.stop) == (step // 5 * 5, step // 5 * 5 + 5)
        found = draw(chunk.images, jnp.int32(step))
        expected = draw_held(digits.train.images, jnp.int32(step))
        for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(mine, theirs, strict=True)


def test_a_feed_goes_on_where_another_was(tiny_config, digits, small_chunks):
    run = make_run(tiny_config(), streamed(digits))
    whole = close_after(Feed(run, step=0), range(12))
    stopped = Feed(run, step=0)
    for step in range(8):
        stopped.at(step)
    position = Position(**json.loads(json.dumps(stopped.position._asdict())))
    stopped.close()
    for feed in (Feed(run, step=8, position=position), Feed(run, step=8)):
        for step, chunk in zip(range(8, 12), close_after(feed, range(8, 12)), strict=True):
            found, expected = (c.images.of(jnp.int32(step)) for c in (chunk, whole[step]))
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("own", [False, True])
def test_an_evaluation_in_parts_is_that_of_the_whole(tiny_config, digits, uneven, own):
    tasks = uneven if own else digits
    # An encoder that is not light looks at all images first where they are in memory.
    config = tiny_config(data__share_images=not own, model__encoder="stem" if own else "flatten")
    held, run = make_run(config, tasks), make_run(config, streamed(tasks))
    state = held.init(held.hyper, loop.to_device(tasks.train))
    expected, found = held.evaluate(state), run.evaluate(state)
    assert len(StreamedEvaluation(run, run.tasks.test)._valid) > 1
    np.testing.assert_array_equal(found.greedy, expected.greedy)
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_a_network_begins_with_the_images_that_it_begins_with_in_memory(tiny_config, digits):
    for way in WAYS.values():
        held, run = (make_run(tiny_config(**way), x) for x in (digits, streamed(digits)))
        first = loop.to_init(run, loop.to_device(run.tasks.train)).images
        expected = draw_batch(
            digits.train,
            key=make_keys(held.hyper.seed).data,
            step=jnp.int32(0),
            examples=1,
            shared=held.program.config.data.share_images,
        )
        np.testing.assert_array_equal(first.of(jnp.int32(0)), expected.images)
        assert loop.abstract_state(run) == loop.abstract_state(held)


def test_memory_needed_does_not_grow_with_the_images(tiny_config, digits, small_chunks):
    run = make_run(tiny_config(data__share_images=False), streamed(digits))
    labels = sum(
        x.nbytes for split in (digits.train, digits.test) for x in split[1:] if x is not None
    )
    for look in (memory.glance, memory.estimate):
        assert look(run).data == 3 * (5 * 10 * 8 * 64) + labels
