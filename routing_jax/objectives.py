"""Objectives: what tasks ask for, as loss, final reward and metrics of labelled examples.

An example that has no label for a task (weight 0) gives no loss, no reward and no gradient, and
counts in no metric. The loss of a batch is the mean over the tasks of the mean over the labelled
examples of each task; a task without any adds zero, and the others weigh what they always weigh.
Classes that a task does not have are never predicted and have no part in its loss.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from routing_jax.rl import rewards
from routing_jax.types import Batch

PerExample = Callable[[jax.Array, jax.Array], jax.Array]
"""From outputs [..., C] and labels [...] to a value [...] for each example."""


@dataclass(frozen=True)
class Objective:
    """What is learned, rewarded and measured.

    Attributes:
      losses: what the blocks minimise.
      final_rewards: by the name of `reward.final`.
      train_metrics: measured on the batches of training, by name.
      predict: from outputs [..., C] to answers [...].
      test_metrics: see `classification_metrics`; the first one stands for all where there is room
        for one only.
      recalls: see `recalls`; None where answers are no classes.
    """

    losses: PerExample
    final_rewards: Mapping[str, PerExample]
    train_metrics: Mapping[str, PerExample]
    predict: Callable[[jax.Array], jax.Array]
    test_metrics: Callable[..., dict[str, jax.Array]]
    recalls: Callable[..., jax.Array] | None = None

    def loss(self, outputs: jax.Array, batch: Batch, rivals: jax.Array | None = None) -> jax.Array:
        """The loss of a batch with outputs [T, n, C]: a scalar; `rivals` as in `Routed`."""
        outputs = offered(outputs, batch.classes)
        if rivals is not None:
            # A softmax over all classes cannot tell many from one with their log-sum-exp.
            outputs = jnp.concatenate([outputs, rivals[..., None]], axis=-1)
        return mean_over_tasks(self.losses(outputs, batch.labels), batch.weights)

    def final_reward(self, name: str, outputs: jax.Array, batch: Batch) -> jax.Array:
        """The reward of each answer, 0 where there is no label: float32 [T, n]."""
        reward = self.final_rewards[name](offered(outputs, batch.classes), batch.labels)
        return reward * batch.weights

    def metrics(self, outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        """The training metrics of a batch, scalars; averaged as the loss is."""
        outputs = offered(outputs, batch.classes)
        return {
            name: mean_over_tasks(metric(outputs, batch.labels), batch.weights)
            for name, metric in self.train_metrics.items()
        }

    def no_metrics(self) -> dict[str, jax.Array]:
        """Zeros in the shape of `metrics`."""
        return {name: jnp.zeros(()) for name in self.train_metrics}


def offered(outputs: jax.Array, classes: jax.Array | None) -> jax.Array:
    """Outputs [T, n, C] with minus infinity for the classes that a task does not have.

    Args:
      outputs: logits.
      classes: int32 [T]; None where every task has all.
    """
    if classes is None:
        return outputs
    exists = jnp.arange(outputs.shape[-1])[None, None, :] < classes[:, None, None]
    return jnp.where(exists, outputs, -jnp.inf)


def mean_over_tasks(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Mean over the T tasks of the mean over each one's labelled examples; zero for one without.

    Args:
      values: [T, n], finite also where there is no label.
      weights: float32 [T, n], 0 or 1.
    """
    labelled = jnp.maximum(weights.sum(1, keepdims=True), 1)
    # Exactly 1 for an example of a wholly labelled task, so that the plain mean is left.
    share = weights * (weights.shape[1] / labelled)
    return (share * values).mean()


def share_of_tasks(weights: jax.Array) -> jax.Array:
    """The share of tasks that have a labelled example in weights [T, n]: a scalar."""
    return (weights > 0).any(1).astype(jnp.float32).mean()


def classification_metrics(
    answers: jax.Array, labels: jax.Array, counted: jax.Array, *, num_classes: int
) -> dict[str, jax.Array]:
    """Accuracy, and balanced accuracy: the mean of the recalls of the classes that occur.

    Args:
      answers: [T, N].
      labels: [T, N].
      counted: bool [T, N], where there is an example with a label.
      num_classes: C.

    Returns:
      float32 [T] each; NaN for a task without a label.
    """
    correct, total = _by_class(answers, labels, counted, num_classes)
    recall = correct / jnp.maximum(total, 1)
    return {
        "accuracy": correct.sum(1) / total.sum(1),
        "balanced_accuracy": recall.sum(1) / (total > 0).sum(1).astype(jnp.float32),
    }


def recalls(
    answers: jax.Array, labels: jax.Array, counted: jax.Array, *, num_classes: int
) -> jax.Array:
    """The share of the examples of each class that is answered rightly, float32 [T, C].

    NaN for a class without examples; arguments as in `classification_metrics`.
    """
    correct, total = _by_class(answers, labels, counted, num_classes)
    return correct / total


def _by_class(
    answers: jax.Array, labels: jax.Array, counted: jax.Array, num_classes: int
) -> tuple[jax.Array, jax.Array]:
    """How many examples of each class are answered rightly, and how many there are: [T, C]."""
    of_class = jax.nn.one_hot(labels, num_classes, dtype=bool) & counted[..., None]
    correct = of_class & (answers == labels)[..., None]
    return correct.sum(1).astype(jnp.float32), of_class.sum(1).astype(jnp.float32)


def regression_metrics(
    answers: jax.Array, labels: jax.Array, counted: jax.Array, *, num_classes: int
) -> dict[str, jax.Array]:
    """The mean squared error; arguments as in `classification_metrics`."""
    del num_classes
    errors = jnp.where(counted, jnp.square(answers - labels), 0)
    return {"mse": errors.sum(1) / counted.sum(1).astype(jnp.float32)}


def _accuracy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    return (outputs.argmax(-1) == labels).astype(jnp.float32)


def _value(outputs: jax.Array) -> jax.Array:
    return outputs[..., 0]


def _squared_error(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.square(_value(outputs) - labels)


OBJECTIVES: dict[str, Objective] = {
    "classification": Objective(
        losses=optax.softmax_cross_entropy_with_integer_labels,
        final_rewards=rewards.FINAL_REWARDS,
        train_metrics={"accuracy": _accuracy},
        predict=lambda outputs: outputs.argmax(-1),
        test_metrics=classification_metrics,
        recalls=recalls,
    ),
    "regression": Objective(
        losses=_squared_error,
        final_rewards={"negative_loss": lambda outputs, labels: -_squared_error(outputs, labels)},
        train_metrics={},
        predict=_value,
        test_metrics=regression_metrics,
    ),
}
"""By the name that a task set gives; see `data.tasks`."""
