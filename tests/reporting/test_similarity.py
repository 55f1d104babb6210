"""The similarity of on/off patterns."""

import numpy as np
import pytest

from routing_jax.reporting.similarity import alike_side_by_side, inside_and_across, task_similarity


def test_cosines_by_hand():
    # Patterns of 2, 3 and 0 blocks; the first two have 1 in common: 1 / sqrt(2 x 3) = 0.408248.
    patterns = np.array([[[1, 1], [0, 0]], [[1, 0], [1, 1]], [[0, 0], [0, 0]]], bool)
    expected = [[1, 0.408248, 0], [0.408248, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(task_similarity(patterns), expected, atol=1e-6)


def test_families_by_hand():
    similarity = np.array([[1, 0.8, 0.2], [0.8, 1, 0.4], [0.2, 0.4, 1]])
    assert inside_and_across(similarity, ["a", "a", "b"]) == pytest.approx((0.8, 0.3))
    inside, across = inside_and_across(similarity, ["a", "b", "c"])  # no two of one family
    assert np.isnan(inside)
    assert across == pytest.approx(1.4 / 3)


def test_one_task_needs_no_order():
    np.testing.assert_array_equal(alike_side_by_side(np.ones((1, 1))), [0])


def test_clusters_stay_together():
    cluster = np.array([0, 1, 0, 2, 1, 2, 0])
    similarity = (cluster[:, None] == cluster[None, :]) * 0.9 + 0.1 * np.eye(7)
    ordered = cluster[alike_side_by_side(similarity)]
    assert (np.diff(ordered) != 0).sum() == 2


@pytest.mark.parametrize("blocks", range(50, 60))
def test_tasks_with_the_same_blocks_are_in_any_order(blocks):
    # The root of 56 times itself is a little more than 56, so the cosine is rounded.
    similarity = task_similarity(np.ones((10, blocks), bool))
    assert sorted(alike_side_by_side(similarity)) == list(range(10))
