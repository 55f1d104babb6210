"""Evaluation: greedy routes, every image encoded once for all tasks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from routing_jax.models.routing_network import RoutingNetwork
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
    """float32 [T, D, A], routing probabilities."""
    greedy: jax.Array
    """int32 [T, D], greedy actions."""


def evaluate(
    model: RoutingNetwork, variables: dict[str, Params], data: MultiTaskData, *, num_classes: int
) -> Evaluation:
    """Evaluates a model on all examples of a split.

    Args:
      model: the network.
      variables: its parameters and running averages.
      data: the split.
      num_classes: C.
    """
    greedy = model.apply(variables, method="greedy")
    right = _predictions(model, variables, data, greedy) == data.labels
    valid = jnp.arange(data.labels.shape[1])[None, :] < data.sizes[:, None]
    of_class = jax.nn.one_hot(data.labels, num_classes, dtype=bool) & valid[..., None]
    total = of_class.sum(1).astype(jnp.float32)
    correct = (of_class & right[..., None]).sum(1).astype(jnp.float32)
    recall = correct / jnp.maximum(total, 1)
    return Evaluation(
        accuracy=correct.sum(1) / total.sum(1),
        balanced_accuracy=recall.sum(1) / (total > 0).sum(1).astype(jnp.float32),
        routing=model.apply(variables, method="routing"),
        greedy=greedy,
    )


def policy_entropy(routing: jax.Array) -> jax.Array:
    """Entropy in nats of distributions [..., A]: float32 [...]."""
    return jax.scipy.special.entr(routing).sum(-1)


def _predictions(
    model: RoutingNetwork, variables: dict[str, Params], data: MultiTaskData, greedy: jax.Array
) -> jax.Array:
    """Predicted classes, int32 [T, N], along one route per task."""

    def encode(image: jax.Array) -> jax.Array:
        return model.apply(variables, image[None], train=False, method="encode")[0]

    features = jax.lax.map(encode, data.images, batch_size=_IMAGES_AT_ONCE)

    def predict(rows: jax.Array) -> jax.Array:
        logits = model.apply(variables, features[rows][:, None], greedy, method="route")
        return logits[:, 0].argmax(-1)

    return jax.lax.map(predict, data.index.T, batch_size=_EXAMPLES_AT_ONCE).T
