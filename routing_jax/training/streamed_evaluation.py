"""Evaluating on images that are streamed: some examples of each task at a time."""

import math
from functools import cached_property
from typing import TYPE_CHECKING

import jax
import numpy as np

from routing_jax.data.streaming import Reader
from routing_jax.mesh import DATA
from routing_jax.training import sharding
from routing_jax.training.evaluation import Answers, Evaluation
from routing_jax.training.state import Hyperparams, TrainState
from routing_jax.types import MultiTaskData

if TYPE_CHECKING:
    from routing_jax.training.loop import Run

_EXAMPLES_AT_ONCE = 512
"""Of all tasks together; at least one of each."""


class StreamedEvaluation:
    """The evaluation of states on a split whose images are streamed.

    Args:
      run: the run.
      data: the split.
    """

    def __init__(self, run: "Run", data: MultiTaskData) -> None:
        self._run, self._labels = run, data._replace(images=None)
        tasks, examples = data.index.shape
        alike = (data.index == data.index[:1]).all() and (data.sizes == data.sizes[0]).all()
        devices = run.mesh.shape[DATA]
        size = math.ceil(min(max(_EXAMPLES_AT_ONCE // tasks, 1), examples) / devices) * devices
        self._parts = math.ceil(examples / size)
        padding = self._parts * size - examples
        rows = np.pad(data.index[: 1 if alike else tasks], ((0, 0), (0, padding)))
        valid = np.arange(self._parts * size)[None] < data.sizes[:, None]
        self._rows, self._valid = (np.split(x, self._parts, axis=1) for x in (rows, valid))
        self._images = data.images
        self._split = sharding.Split(
            run.mesh, (*self._rows[0].shape, *data.images.shape[1:]), axis=1
        )

    def __call__(self, state: TrainState, hyper: Hyperparams) -> Evaluation:
        """The evaluation of a state, as NumPy arrays."""
        reader = Reader(
            self._images,
            lambda part: self._rows[part][:, self._split.columns],
            start=0,
            stop=self._parts,
            at_once=1,
            make=lambda _, images: self._split.to_devices(images[0]),
        )
        try:
            with jax.set_mesh(self._run.mesh):
                found = [
                    sharding.to_host(
                        self._answer(state, hyper, next(reader), valid, self._labels.classes)
                    )
                    for valid in self._valid
                ]
        finally:
            reader.close()
        predicted = np.concatenate([part.predicted for part in found], axis=1)
        sums = (sum(getattr(part, name) for part in found) for name in ("probabilities", "taken"))
        answers = Answers(predicted[:, : self._labels.index.shape[1]], *sums)
        return sharding.to_host(jax.jit(self._run.program.conclude)(answers, self._labels))

    def nothing(self, state: TrainState, hyper: Hyperparams) -> Evaluation:
        """Zeros of the shapes of an evaluation."""
        rows, valid = self._rows[0], self._valid[0]
        images = jax.ShapeDtypeStruct((*rows.shape, *self._images.shape[1:]), np.uint8)
        answers = jax.eval_shape(
            self._run.program.answer, state, hyper, images, valid, self._labels.classes
        )
        of_all = (*self._labels.index.shape, *answers.predicted.shape[2:])
        predicted = jax.ShapeDtypeStruct(of_all, answers.predicted.dtype)
        found = jax.eval_shape(
            self._run.program.conclude, answers._replace(predicted=predicted), self._labels
        )
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), found)

    @cached_property
    def _answer(self) -> jax.stages.Wrapped:
        """Compiled with its first part."""

        def answer(*arguments: object) -> Answers:
            return sharding.constrain(
                self._run.program.answer(*arguments), self._run.mesh, sharding.WHOLE
            )

        return jax.jit(answer)
