"""Losses, rewards and metrics with missing labels and classes: hand values, and plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_jax.config_fields import FINAL_REWARDS
from routing_jax.objectives import OBJECTIVES, mean_over_tasks, offered, recalls, share_of_tasks
from routing_jax.types import Batch

CLASSIFICATION, REGRESSION = OBJECTIVES["classification"], OBJECTIVES["regression"]


def batch(labels, weights, classes=None):
    labels, weights = np.asarray(labels), np.asarray(weights, np.float32)
    images = jnp.zeros((1, labels.shape[1], 1, 1, 1), jnp.uint8)
    classes = None if classes is None else jnp.asarray(classes, jnp.int32)
    return Batch(images, jnp.asarray(labels), jnp.asarray(weights), classes)


# Three tasks, two examples, three classes. Task 0 has 2 classes and both labels, task 1 has 3
# classes and only the first label, task 2 has none.
#   task 0: logits (0, log 3, 9) -> (1/4, 3/4), the 9 is of no class. Labels 1 and 0:
#           losses log(4/3) = 0.287682 and log 4 = 1.386294, mean 0.836988. Right: 1 of 2.
#   task 1: logits (0, 0, log 2) -> (1/4, 1/4, 1/2). Label 2: log 2 = 0.693147. Right.
# Mean over three tasks: (0.836988 + 0.693147 + 0) / 3 = 0.510045; accuracy (1/2 + 1 + 0) / 3 = 0.5.
LOGITS = np.zeros((3, 2, 3), np.float32)
LOGITS[0] = [0, np.log(3), 9]
LOGITS[1] = [0, 0, np.log(2)]
LOGITS[2] = [5, -2, 1]
GOLDEN = batch(np.int32([[1, 0], [2, 0], [0, 0]]), [[1, 1], [1, 0], [0, 0]], classes=[2, 3, 3])


def test_golden_loss_and_accuracy_with_labels_and_classes_missing():
    np.testing.assert_allclose(CLASSIFICATION.loss(LOGITS, GOLDEN), 0.510045, rtol=1e-5)
    np.testing.assert_allclose(CLASSIFICATION.metrics(LOGITS, GOLDEN)["accuracy"], 0.5)
    np.testing.assert_allclose(share_of_tasks(GOLDEN.weights), 2 / 3, rtol=1e-6)


def test_golden_rewards_with_labels_and_classes_missing():
    rewards = CLASSIFICATION.final_reward("correctness", LOGITS, GOLDEN)
    np.testing.assert_array_equal(rewards, [[1, -1], [1, 0], [0, 0]])
    rewards = CLASSIFICATION.final_reward("negative_loss", LOGITS, GOLDEN)
    expected = [[-0.287682, -1.386294], [-0.693147, 0], [0, 0]]
    np.testing.assert_allclose(rewards, expected, rtol=1e-5)


def test_the_gradient_reaches_labelled_examples_and_classes_that_exist_and_nothing_else():
    gradient = jax.grad(lambda logits: CLASSIFICATION.loss(logits, GOLDEN))(jnp.asarray(LOGITS))
    # Softmax minus one-hot, times the share of an example: 1/6 in task 0, 1/3 in task 1.
    expected = np.zeros_like(LOGITS)
    expected[0] = np.array([[1, -1, 0], [-3, 3, 0]]) / 4 / 6
    expected[1, 0] = np.array([1 / 4, 1 / 4, -1 / 2]) / 3
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_golden_regression():
    # Errors 0.5, -1, 2; squared 0.25, 1, 4. Task means 0.625 (two labels) and 4 (one label); mean
    # 2.3125. The last output has no label.
    outputs = np.float32([[[1.5], [0]], [[2], [7]]])
    some = batch(np.float32([[1, 1], [0, 0]]), [[1, 1], [1, 0]])
    np.testing.assert_allclose(REGRESSION.loss(outputs, some), 2.3125)
    rewards = REGRESSION.final_reward("negative_loss", outputs, some)
    np.testing.assert_allclose(rewards, [[-0.25, -1], [-4, 0]])
    assert REGRESSION.metrics(outputs, some) == {}
    answers = REGRESSION.predict(outputs)
    counted = some.weights > 0
    mse = REGRESSION.test_metrics(answers, some.labels, counted, num_classes=1)["mse"]
    np.testing.assert_allclose(mse, [0.625, 4])


def test_an_error_that_is_not_counted_may_be_nan():
    labels = jnp.array([[1.0, jnp.nan]])
    mse = REGRESSION.test_metrics(
        jnp.array([[3.0, 0.0]]), labels, jnp.array([[True, False]]), num_classes=1
    )
    np.testing.assert_allclose(mse["mse"], [4.0])


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_a_batch_without_a_label_gives_zeros(objective):
    kind = np.float32 if objective is REGRESSION else np.int32
    empty = batch(np.zeros((2, 3), kind), np.zeros((2, 3)))
    outputs = jnp.ones((2, 3, 2))
    loss, gradient = jax.value_and_grad(objective.loss)(outputs, empty)
    assert float(loss) == float(share_of_tasks(empty.weights)) == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3, 2)))
    for name in objective.final_rewards:
        reward = objective.final_reward(name, outputs, empty)
        np.testing.assert_array_equal(reward, np.zeros((2, 3)))


@pytest.mark.parametrize(("tasks", "examples", "classes"), [(1, 1, 1), (3, 7, 4), (10, 49, 2)])
def test_whole_labels_give_the_plain_mean_bit_for_bit(tasks, examples, classes):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(0, 3, (tasks, examples, classes)), jnp.float32)
    labels = rng.integers(0, classes, (tasks, examples)).astype(np.int32)
    whole = batch(labels, np.ones(labels.shape))

    def plain(logits):
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    found = jax.value_and_grad(CLASSIFICATION.loss)(logits, whole)
    for value, expected in zip(found, jax.value_and_grad(plain)(logits), strict=True):
        np.testing.assert_array_equal(value, expected)
    accuracy = CLASSIFICATION.metrics(logits, whole)["accuracy"]
    np.testing.assert_array_equal(accuracy, (logits.argmax(-1) == labels).mean())


@given(st.integers(0, 2**31 - 1))
def test_masks_equal_a_loop_over_what_is_there(seed):
    rng, (tasks, examples, classes) = np.random.default_rng(seed), (4, 5, 3)
    logits = rng.normal(0, 3, (tasks, examples, classes)).astype(np.float32)
    has = rng.integers(1, classes + 1, tasks)
    labels = rng.integers(0, has[:, None], (tasks, examples)).astype(np.int32)
    weights = rng.integers(0, 2, (tasks, examples))
    losses, accuracies, rewards = [], [], np.zeros((tasks, examples))
    of_task = {"accuracy": [], "balanced_accuracy": []}
    for t in range(tasks):
        loss_of_task, right = [], []
        for i in range(examples):
            if weights[t, i]:
                existing = logits[t, i, : has[t]].astype(np.float64)
                loss = np.log(np.exp(existing).sum()) - existing[labels[t, i]]
                loss_of_task.append(loss)
                rewards[t, i] = -loss
                right.append((labels[t, i], existing.argmax() == labels[t, i]))
        losses.append(np.mean(loss_of_task) if loss_of_task else 0)
        accuracies.append(np.mean([ok for _, ok in right]) if right else 0)
        of_class = [np.mean([ok for c, ok in right if c == d]) for d in {c for c, _ in right}]
        of_task["accuracy"].append(np.mean([ok for _, ok in right]) if right else np.nan)
        of_task["balanced_accuracy"].append(np.mean(of_class) if right else np.nan)
    some = batch(labels, weights, has)
    np.testing.assert_allclose(
        CLASSIFICATION.loss(logits, some), np.mean(losses), rtol=1e-4, atol=1e-6
    )
    accuracy = CLASSIFICATION.metrics(logits, some)["accuracy"]
    np.testing.assert_allclose(accuracy, np.mean(accuracies), rtol=1e-5)
    reward = CLASSIFICATION.final_reward("negative_loss", logits, some)
    np.testing.assert_allclose(reward, rewards, rtol=1e-3, atol=1e-5)
    answers = CLASSIFICATION.predict(offered(jnp.asarray(logits), some.classes))
    found = CLASSIFICATION.test_metrics(answers, labels, weights == 1, num_classes=classes)
    for name, expected in of_task.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)


def test_recalls_golden():
    # Class 0: two of three right, the fourth is not counted; class 1: none of one; class 2 is not
    # there. The second task has one example, of class 2, answered rightly.
    answers = jnp.array([[0, 0, 1, 0, 2], [2, 0, 0, 0, 0]])
    labels = jnp.array([[0, 0, 0, 0, 1], [2, 0, 0, 0, 0]])
    counted = jnp.array([[True, True, True, False, True], [True, False, False, False, False]])
    found = recalls(answers, labels, counted, num_classes=3)
    expected = [[2 / 3, 0, np.nan], [np.nan, np.nan, 1]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_mean_over_tasks_does_not_weigh_tasks_by_their_labels():
    # Task means 2 and 10, although the first has three labels and the second one.
    values = jnp.array([[1.0, 2.0, 3.0], [10.0, -7.0, -7.0]])
    weights = jnp.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(mean_over_tasks(values, weights), 6.0)


def test_the_configuration_offers_exactly_the_rewards_that_exist():
    existing = {name for objective in OBJECTIVES.values() for name in objective.final_rewards}
    assert set(FINAL_REWARDS) == existing
