"""Evaluation: the best routes, every image encoded once for all tasks."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from routing_jax.models.network import MultiTaskNetwork
from routing_jax.types import MultiTaskData, Params

_IMAGES_AT_ONCE = 250
"""Images of one encoder pass, so that the peak of memory does not grow with the test set."""
_EXAMPLES_AT_ONCE = 1000
"""Examples of each task of one pass through the routed layers."""


class Evaluation(NamedTuple):
    """Results on one split."""

    accuracy: jax.Array
    """float32 [T]."""
    balanced_accuracy: jax.Array
    """float32 [T], the mean over the classes that occur of the recall."""
    routing: jax.Array
    """float32 [T, D, A], routing probabilities, mean over the examples of a task."""
    greedy: jax.Array
    """int32 [T, D], the action that most examples of a task take, the first of equals; of mixtures
    that with the largest weight."""


def evaluate(
    model: MultiTaskNetwork, variables: dict[str, Params], data: MultiTaskData, *, num_classes: int
) -> Evaluation:
    """Evaluates a model on all examples of a split.

    Args:
      model: the network.
      variables: its parameters and running averages.
      data: the split.
      num_classes: C.
    """
    answers = _answers(model, variables, data)
    valid = jnp.arange(data.labels.shape[1])[None, :] < data.sizes[:, None]
    of_class = jax.nn.one_hot(data.labels, num_classes, dtype=bool) & valid[..., None]
    total = of_class.sum(1).astype(jnp.float32)
    right = answers.classes == data.labels
    correct = (of_class & right[..., None]).sum(1).astype(jnp.float32)
    recall = correct / jnp.maximum(total, 1)
    sizes = data.sizes.astype(jnp.float32)[:, None, None]
    return Evaluation(
        accuracy=correct.sum(1) / total.sum(1),
        balanced_accuracy=recall.sum(1) / (total > 0).sum(1).astype(jnp.float32),
        routing=answers.probabilities / sizes,
        greedy=answers.taken.argmax(-1).astype(jnp.int32),
    )


class _Answers(NamedTuple):
    """What a model says to a split."""

    classes: jax.Array
    """int32 [T, N], predicted."""
    probabilities: jax.Array
    """float32 [T, D, A], sums over the examples of each task."""
    taken: jax.Array
    """float32 [T, D, A], how many examples took each action."""


def _answers(
    model: MultiTaskNetwork, variables: dict[str, Params], data: MultiTaskData
) -> _Answers:
    def encode(image: jax.Array) -> jax.Array:
        return model.apply(variables, image[None], train=False, method="encode")[0]

    features = jax.lax.map(encode, data.images, batch_size=_IMAGES_AT_ONCE)

    def answer(chunk: tuple[jax.Array, jax.Array]) -> _Answers:
        rows, valid = chunk  # [T, m]
        routed = model.apply(variables, features[rows], method="route")
        weights = valid.astype(jnp.float32)[..., None, None]
        taken = routed.probabilities  # of a mixture, all actions by their weights
        if routed.decisions is not None:
            taken = jax.nn.one_hot(routed.decisions.actions, taken.shape[-1])
        return _Answers(
            routed.logits.argmax(-1),
            (weights * routed.probabilities).sum(1),
            (weights * taken).sum(1),
        )

    answers = jax.lax.map(answer, _chunks(data))
    classes = jnp.moveaxis(answers.classes, 0, 1).reshape(data.index.shape[0], -1)
    return _Answers(
        classes[:, : data.index.shape[1]], answers.probabilities.sum(0), answers.taken.sum(0)
    )


def _chunks(data: MultiTaskData) -> tuple[jax.Array, jax.Array]:
    """Rows of images and whether they are examples, [chunks, T, m] each; zeros at the end."""
    tasks, examples = data.index.shape
    chunks = math.ceil(examples / _EXAMPLES_AT_ONCE)
    size = math.ceil(examples / chunks)
    valid = jnp.arange(chunks * size)[None, :] < data.sizes[:, None]
    rows = jnp.pad(data.index, ((0, 0), (0, chunks * size - examples)))
    return tuple(jnp.moveaxis(array.reshape(tasks, chunks, size), 1, 0) for array in (rows, valid))
