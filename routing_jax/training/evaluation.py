"""Evaluation: greedy routes, every image encoded once for all tasks."""

from typing import NamedTuple

import jax

from routing_jax.data.labels import is_counted
from routing_jax.models.routing_network import RoutingNetwork
from routing_jax.objectives import Objective, offered
from routing_jax.types import MultiTaskData, Params

_IMAGES_AT_ONCE = 250
"""Images of one encoder pass, so that the peak of memory does not grow with the test set."""
_EXAMPLES_AT_ONCE = 1000
"""Examples of each task of one pass through the routed layers."""


class Evaluation(NamedTuple):
    """Results on one split."""

    metrics: dict[str, jax.Array]
    """float32 [T] each, by name; see `objectives`."""
    routing: jax.Array
    """float32 [T, D, A], routing probabilities."""
    greedy: jax.Array
    """int32 [T, D], greedy actions."""


def evaluate(
    model: RoutingNetwork,
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
    greedy = model.apply(variables, method="greedy")
    answers = _answers(model, variables, data, greedy, objective)
    counted = is_counted(data.labels, data.sizes)
    return Evaluation(
        metrics=objective.test_metrics(answers, data.labels, counted, num_classes=num_classes),
        routing=model.apply(variables, method="routing"),
        greedy=greedy,
    )


def policy_entropy(routing: jax.Array) -> jax.Array:
    """Entropy in nats of distributions [..., A]: float32 [...]."""
    return jax.scipy.special.entr(routing).sum(-1)


def _answers(
    model: RoutingNetwork,
    variables: dict[str, Params],
    data: MultiTaskData,
    greedy: jax.Array,
    objective: Objective,
) -> jax.Array:
    """Predicted classes or numbers, [T, N], along one route per task."""

    def encode(image: jax.Array) -> jax.Array:
        return model.apply(variables, image[None], train=False, method="encode")[0]

    features = jax.lax.map(encode, data.images, batch_size=_IMAGES_AT_ONCE)

    def predict(rows: jax.Array) -> jax.Array:
        logits = model.apply(variables, features[rows][:, None], greedy, method="route")
        return objective.predict(offered(logits, data.classes)[:, 0])

    return jax.lax.map(predict, data.index.T, batch_size=_EXAMPLES_AT_ONCE).T
