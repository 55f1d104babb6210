"""Training on images that are streamed: a chunk of steps at a time.

While one chunk is computed the next one is read and moved to the devices. Each process reads the
part of n that its devices hold; labels, rows and sizes are small and stay on every device.
"""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from routing_jax.data import host_sampling
from routing_jax.data.stored_images import StoredImages
from routing_jax.data.streaming import Reader
from routing_jax.errors import UserError
from routing_jax.threefry import is_standard
from routing_jax.training import sharding
from routing_jax.training.evaluation import Evaluation
from routing_jax.training.state import Hyperparams, TrainState, make_keys
from routing_jax.types import MultiTaskData, ReadAhead

if TYPE_CHECKING:
    from routing_jax.training.loop import Run
    from routing_jax.training.program import SegmentReport

CHUNK_BYTES = 32 * 2**20
"""Images of a chunk, at most, unless those of one step are more."""
_MOST_STEPS = 64
CHUNKS_HELD = 3
"""On the devices at once: one in use, one ready, one that waits to be."""


def is_streamed(data: MultiTaskData) -> bool:
    """Whether the images of a split are read while training goes on."""
    return isinstance(data.images, StoredImages)


def chunk_shape(run: "Run") -> tuple[int, ...]:
    """The shape of a chunk of training images, [steps, T, n, height, width, channels]."""
    one_row = run.program.config.data.share_images or run.program.config.training.round_robin
    rows = 1 if one_row else run.tasks.num_tasks
    step = (rows, run.examples_per_task, *run.tasks.image_shape)
    steps = min(_MOST_STEPS, CHUNK_BYTES // math.prod(step), run.schedule.total)
    return (max(1, steps), *step)


def shapes_of(data: MultiTaskData) -> MultiTaskData:
    """A split for tracing alone: of streamed images, shape and type."""
    if not is_streamed(data):
        return data
    images = jax.ShapeDtypeStruct(data.images.shape, data.images.dtype)
    return data._replace(images=images)


def chunk_like(run: "Run", labels: MultiTaskData) -> MultiTaskData:
    """`labels` with the shape and place of a chunk for its images, to trace with."""
    shape = chunk_shape(run)
    where = sharding.Split(run.mesh, shape, axis=2).sharding
    images = jax.ShapeDtypeStruct(shape, np.uint8, sharding=where)
    return labels._replace(images=ReadAhead(images, np.int32(0)))


def first_images(run: "Run") -> ReadAhead:
    """The first example of each task, by which a network is initialised."""
    shared, train = run.program.config.data.share_images, run.tasks.train
    rows = host_sampling.image_rows(train, key=_key(run), step=0, examples=1, shared=shared)
    return sharding.place(ReadAhead(train.images.read(rows)[None], np.int32(0)), run.mesh)


class Position(NamedTuple):
    """Where the reading of a run's images is; JSON can hold it."""

    first: int
    """The step that the reader began with."""
    state: dict[str, Any]
    """Of Grain's iterator, in front of the chunk in use."""


class Chunk(NamedTuple):
    """The images of some steps, on the devices."""

    first: int
    stop: int
    """Behind its last step."""
    images: ReadAhead


class Feed:
    """The chunks of a run, one after the other.

    Args:
      run: the run.
      step: the step to begin with.
      position: of the checkpoint of this step; None where it has none.
    """

    def __init__(self, run: "Run", *, step: int, position: Position | None = None) -> None:
        config, train = run.program.config, run.tasks.train
        shape = chunk_shape(run)
        split, key = sharding.Split(run.mesh, shape, axis=2), _key(run)
        self._first = step if position is None else position.first

        def rows(number: int) -> np.ndarray:
            drawn = host_sampling.image_rows(
                train,
                key=key,
                step=number,
                examples=run.examples_per_task,
                shared=config.data.share_images,
                round_robin=config.training.round_robin,
            )
            return drawn[:, split.columns]

        def make(first: int, images: np.ndarray) -> Chunk:
            on_devices = ReadAhead(split.to_devices(images), np.int32(first))
            return Chunk(first, first + shape[0], on_devices)

        self._reader = Reader(
            train.images,
            rows,
            start=self._first,
            stop=run.schedule.total,
            at_once=shape[0],
            make=make,
            state=None if position is None else position.state,
        )
        self._before = self._reader.state
        self._chunk: Chunk | None = None

    def at(self, step: int) -> Chunk:
        """The chunk that holds this step; waits until it is there. Steps never go back."""
        while self._chunk is None or step >= self._chunk.stop:
            self._before = self._reader.state
            self._chunk = next(self._reader)
        return self._chunk

    @property
    def position(self) -> Position:
        """Where another feed goes on."""
        return Position(self._first, self._before)

    def close(self) -> None:
        """Ends its threads."""
        self._reader.close()


class Segments:
    """The segments of a run whose images are streamed, as an `loop.Advance`.

    Args:
      feed: the images.
      compiled: takes the state, the hyperparameters, the labels with a chunk of images, an
        evaluation, a number of steps, and whether the evaluation is of this step.
      hyper: the traced values, on the devices.
      labels: the training split, on the devices; its images are None.
      evaluate: evaluates a state; gives an evaluation on the devices.
      nothing: stands for the evaluation where there is none.
      step: the step to begin with.
      waited: receives the seconds of each wait for images.
    """

    def __init__(
        self,
        feed: Feed,
        compiled: Callable[..., tuple[TrainState, "SegmentReport"]],
        *,
        hyper: Hyperparams,
        labels: MultiTaskData,
        evaluate: Callable[[TrainState], Evaluation],
        nothing: Evaluation,
        step: int,
        waited: Callable[[float], None],
    ) -> None:
        self._feed, self._compiled, self._hyper, self._labels = feed, compiled, hyper, labels
        self._evaluate, self._nothing = evaluate, nothing
        self._step, self._waited = step, waited

    @property
    def position(self) -> Position:
        """Where the reading is, for a checkpoint."""
        return self._feed.position

    def close(self) -> None:
        """Ends the reading."""
        self._feed.close()

    def __call__(
        self, state: TrainState, *, steps: int = 0, evaluate: bool = False
    ) -> tuple[TrainState, "SegmentReport", float]:
        """See `loop.Advance`; there is a step before any evaluation."""
        began, report = time.perf_counter(), None
        while steps:
            chunk = self._next_chunk()
            length = min(steps, chunk.stop - self._step)
            state, report = self._take(state, chunk, self._nothing, length, evaluate=False)
            self._step, steps = self._step + length, steps - length
        if evaluate:
            chunk, found = self._feed.at(self._step - 1), self._evaluate(state)
            state, report = self._take(state, chunk, found, 0, evaluate=True)
        return state, sharding.to_host(report), time.perf_counter() - began

    def _next_chunk(self) -> Chunk:
        began = time.perf_counter()
        chunk = self._feed.at(self._step)
        self._waited(time.perf_counter() - began)
        return chunk

    def _take(
        self, state: TrainState, chunk: Chunk, found: Evaluation, steps: int, *, evaluate: bool
    ) -> tuple[TrainState, "SegmentReport"]:
        """Waits for the result, so that no more chunks are held than `CHUNKS_HELD`."""
        data = self._labels._replace(images=chunk.images)
        flags = np.int32(steps), np.bool_(evaluate)
        return jax.block_until_ready(self._compiled(state, self._hyper, data, found, *flags))


def _key(run: "Run") -> np.ndarray:
    """The words of the run's data key."""
    key = make_keys(run.hyper.seed).data
    if not is_standard(key):
        raise UserError(
            "data.input = stream draws by JAX's default generator: unset JAX_DEFAULT_PRNG_IMPL and "
            "JAX_THREEFRY_PARTITIONABLE, or set data.input to memory."
        )
    return np.asarray(jax.random.key_data(key))
