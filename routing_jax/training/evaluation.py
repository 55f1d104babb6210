"""Evaluation: the best routes, every image encoded once for all tasks where that pays."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from routing_jax import mesh
from routing_jax.data.labels import is_counted
from routing_jax.models.network import MultiTaskNetwork
from routing_jax.objectives import Objective, offered
from routing_jax.types import MultiTaskData, Params

_IMAGES_AT_ONCE = 250
"""Images of one encoder pass, so that the peak of memory does not grow with the test set."""
_EXAMPLES_AT_ONCE = 1000
"""Examples of each task of one pass through the routed layers, at most."""
_NUMBERS_AT_ONCE = {"cpu": 4_000_000}
"""Numbers that such a pass reads: maps are large, and a block may widen them some times over."""
_NUMBERS_ELSEWHERE = 2**28


class Evaluation(NamedTuple):
    """Results on one split."""

    metrics: dict[str, jax.Array]
    """float32 [T] each, by name; see `objectives`."""
    routing: jax.Array
    """float32 [T, D, A], routing probabilities, mean over the examples of a task."""
    taken: jax.Array
    """float32 [T, D, A], the share of a task's examples that take each action; of mixtures its
    weight."""
    recalls: jax.Array | None = None
    """float32 [T, C], see `objectives.recalls`; None where answers are no classes."""

    @property
    def greedy(self) -> jax.Array:
        """int32 [T, D], the action that most examples of a task take, the first of equals; of
        mixtures that with the largest weight."""
        return self.taken.argmax(-1).astype("int32")


def evaluate(
    model: MultiTaskNetwork,
    variables: dict[str, Params],
    data: MultiTaskData,
    *,
    num_classes: int,
    objective: Objective,
) -> Evaluation:
    """Evaluates a model on all examples of a split that have a label.

    Args:
      model: the network.
      variables: its parameters and running averages.
      data: the split.
      num_classes: C.
      objective: of the tasks.
    """
    answers = _answers(model, variables, data, objective)
    return conclude(answers, data, num_classes=num_classes, objective=objective)


class Answers(NamedTuple):
    """What a model says to a split, or to a part of it."""

    predicted: jax.Array
    """Classes or numbers, [T, N]."""
    probabilities: jax.Array
    """float32 [T, D, A], sums over the examples of each task."""
    taken: jax.Array
    """float32 [T, D, A], how many examples took each action."""


def conclude(
    answers: Answers, data: MultiTaskData, *, num_classes: int, objective: Objective
) -> Evaluation:
    """The evaluation of the answers to a whole split, whose images are not looked at."""
    sizes = data.sizes.astype(jnp.float32)[:, None, None]
    judged = (answers.predicted, data.labels, is_counted(data.labels, data.sizes))
    of_class = objective.recalls
    return Evaluation(
        metrics=objective.test_metrics(*judged, num_classes=num_classes),
        routing=answers.probabilities / sizes,
        taken=answers.taken / sizes,
        recalls=None if of_class is None else of_class(*judged, num_classes=num_classes),
    )


def answer_images(
    model: MultiTaskNetwork,
    variables: dict[str, Params],
    images: jax.Array,
    valid: jax.Array,
    *,
    classes: jax.Array | None,
    objective: Objective,
) -> Answers:
    """The answers to some examples of a split.

    Args:
      model: the network.
      variables: its parameters and running averages.
      images: uint8 [T, m, ...], or [1, m, ...] where all tasks have the same.
      valid: bool [T, m], where there is an example.
      classes: int32 [T], see `MultiTaskData`.
      objective: of the tasks.
    """
    x = mesh.on_rows(partial(_encode, model, variables), images)
    x = jnp.broadcast_to(x, (valid.shape[0], *x.shape[1:]))
    return _answer(model, variables, x, valid, classes, objective)


def _encode(model: MultiTaskNetwork, variables: dict[str, Params], images: jax.Array) -> jax.Array:
    return model.apply(variables, images, train=False, method="encode")


def _answer(
    model: MultiTaskNetwork,
    variables: dict[str, Params],
    x: jax.Array,
    valid: jax.Array,
    classes: jax.Array | None,
    objective: Objective,
) -> Answers:
    """The answers to representations [T, m, ...] where they are `valid` (bool [T, m])."""
    routed = model.apply(variables, x, method="route")
    weights = valid.astype(jnp.float32)[..., None, None]
    taken = routed.probabilities  # of a mixture, all actions by their weights
    if routed.decisions is not None:
        taken = jax.nn.one_hot(routed.decisions.actions, taken.shape[-1])
    return Answers(
        objective.predict(offered(routed.logits, classes)),
        (weights * routed.probabilities).sum(1),
        (weights * taken).sum(1),
    )


def _answers(
    model: MultiTaskNetwork,
    variables: dict[str, Params],
    data: MultiTaskData,
    objective: Objective,
) -> Answers:
    encode = partial(_encode, model)

    def encode_all(variables: dict[str, Params], images: jax.Array) -> jax.Array:
        def one(image: jax.Array) -> jax.Array:
            return encode(variables, image[None])[0]

        return jax.lax.map(one, images[0], batch_size=_IMAGES_AT_ONCE)[None]

    shape = jax.eval_shape(encode, variables, data.images[:1]).shape[1:]
    if not model.encoder.light:
        encoded = mesh.by_examples(encode_all, variables, data.images[None])[0]

    def represent(rows: jax.Array) -> jax.Array:
        if not model.encoder.light:
            return encoded[rows]
        return mesh.on_rows(partial(encode, variables), data.images[rows])

    def answer(chunk: tuple[jax.Array, jax.Array]) -> Answers:
        rows, valid = chunk  # [T, m]
        return _answer(model, variables, represent(rows), valid, data.classes, objective)

    answers = jax.lax.map(answer, _chunks(data, numbers=math.prod(shape)))
    predicted = jnp.moveaxis(answers.predicted, 0, 1).reshape(data.index.shape[0], -1)
    return Answers(
        predicted[:, : data.index.shape[1]], answers.probabilities.sum(0), answers.taken.sum(0)
    )


def _chunks(data: MultiTaskData, *, numbers: int) -> tuple[jax.Array, jax.Array]:
    """Rows of images and whether they are examples, [chunks, T, m] each; zeros at the end.

    Args:
      data: the split.
      numbers: that a representation has.
    """
    tasks, examples = data.index.shape
    room = _NUMBERS_AT_ONCE.get(jax.default_backend(), _NUMBERS_ELSEWHERE) // (tasks * numbers)
    chunks = math.ceil(examples / min(max(room, 1), _EXAMPLES_AT_ONCE))
    devices = mesh.axis_size(mesh.DATA)
    size = math.ceil(examples / chunks / devices) * devices
    valid = jnp.arange(chunks * size)[None, :] < data.sizes[:, None]
    rows = jnp.pad(data.index, ((0, 0), (0, chunks * size - examples)))
    return tuple(jnp.moveaxis(array.reshape(tasks, chunks, size), 1, 0) for array in (rows, valid))
