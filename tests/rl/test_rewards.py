"""Rewards: final rewards, and the collaboration reward from a history of decisions."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from routing_jax.rl import rewards


def test_correctness_is_plus_or_minus_one():
    logits = jnp.array([[[2.0, 1.0], [0.0, 3.0]]])  # predictions 0 and 1
    labels = jnp.array([[0, 0]])
    np.testing.assert_array_equal(rewards.correctness(logits, labels), [[1.0, -1.0]])


def test_negative_loss_is_the_log_probability_of_the_label():
    # Probabilities 1/4 and 3/4: logits 0 and log 3. Label 1: log(3/4) = -0.287682.
    logits = jnp.array([[0.0, np.log(3.0)]])
    value = rewards.negative_loss(logits, jnp.array([1]))
    np.testing.assert_allclose(value, [-0.287682], rtol=1e-5)


def test_usage_of_a_hand_drawn_history():
    # Window 4, depth 2, 3 actions. Two tasks, two examples:
    #   example 0: task 0 takes (0, 2), task 1 takes (1, 2)
    #   example 1: task 0 takes (0, 1), task 1 takes (0, 0)
    actions = jnp.array([[[0, 2], [0, 1]], [[1, 2], [0, 0]]])
    history = rewards.remember(rewards.empty_usage(2, 4), actions)
    # Depth 1: 0, 1, 0, 0 -> 3/4, 1/4, 0.  Depth 2: 2, 2, 1, 0 -> 1/4, 1/4, 2/4.
    expected = [[0.75, 0.25, 0.0], [0.25, 0.25, 0.5]]
    np.testing.assert_allclose(rewards.usage(history, 3), expected)
    # Both decisions of a fifth and sixth example push the oldest two out:
    # depth 1: 0, 0, 2, 2;  depth 2: 1, 0, 2, 2.
    history = rewards.remember(history, jnp.array([[[2, 2]], [[2, 2]]]))
    expected = [[0.5, 0.0, 0.5], [0.25, 0.25, 0.5]]
    np.testing.assert_allclose(rewards.usage(history, 3), expected)


def test_a_window_shorter_than_a_batch_sees_every_task():
    # 3 tasks, each always taking its own block; the last three decisions are one of each task.
    actions = jnp.broadcast_to(jnp.arange(3)[:, None, None], (3, 50, 1))
    history = rewards.remember(rewards.empty_usage(1, 3), actions)
    np.testing.assert_allclose(rewards.usage(history, 3), [[1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)


def test_usage_before_the_first_decision_is_zero():
    np.testing.assert_array_equal(rewards.usage(rewards.empty_usage(2, 5), 3), np.zeros((2, 3)))


def test_collaboration_looks_up_the_popularity_of_each_decision():
    popularity = jnp.array([[0.75, 0.25], [0.1, 0.9]])
    actions = jnp.array([[[0, 1], [1, 0]]])
    np.testing.assert_allclose(
        rewards.collaboration(popularity, actions), [[[0.75, 0.9], [0.25, 0.1]]]
    )


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**31 - 1))
def test_usage_equals_a_queue_of_the_last_decisions(window, tasks, examples, seed):
    rng = np.random.default_rng(seed)
    history, queue = rewards.empty_usage(2, window), []
    for _ in range(4):
        actions = rng.integers(0, 3, (tasks, examples, 2))
        queue += [actions[t, i] for i in range(examples) for t in range(tasks)]
        history = rewards.remember(history, jnp.asarray(actions, jnp.int32))
    latest = np.array(queue)[-window:]
    expected = np.stack([np.bincount(latest[:, d], minlength=3) / len(latest) for d in range(2)])
    np.testing.assert_allclose(rewards.usage(history, 3), expected, rtol=1e-6)


def test_every_named_final_reward_is_jittable():
    logits, labels = jnp.zeros((2, 3, 4)), jnp.zeros((2, 3), jnp.int32)
    for reward in rewards.FINAL_REWARDS.values():
        assert jax.jit(reward)(logits, labels).shape == (2, 3)
