"""Labels that are missing: which stay of a share, and tasks without the others."""

import numpy as np
import pytest

from routing_jax.data import labels
from routing_jax.data.tasks import TaskArrays


def arrays_of(values, sizes=None, index=None):
    values = np.asarray(values)
    if values.dtype == np.int64:
        values = values.astype(np.int32)
    tasks, examples = values.shape
    index = np.broadcast_to(np.arange(examples), values.shape) if index is None else index
    return TaskArrays(
        names=tuple(f"task {i}" for i in range(tasks)),
        index=np.asarray(index, np.int32),
        labels=values,
        sizes=np.asarray(sizes or [examples] * tasks, np.int32),
        classes=np.full(tasks, 2, np.int32),
    )


def test_what_counts_as_a_label():
    np.testing.assert_array_equal(labels.is_labelled(np.int32([-1, 0, 3])), [False, True, True])
    found = labels.is_labelled(np.float32([np.nan, 0, -2]))
    np.testing.assert_array_equal(found, [False, True, True])
    counted = labels.is_counted(np.int32([[0, -1, 1], [1, 0, 0]]), np.int32([3, 1]))
    np.testing.assert_array_equal(counted, [[True, False, True], [True, False, False]])


def test_the_whole_share_changes_nothing():
    arrays = arrays_of([[0, 1, 0]])
    assert labels.keep_share(arrays, 1.0) is arrays
    assert labels.without_unlabelled(arrays) is arrays


@pytest.mark.parametrize("kind", [np.int32, np.float32])
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.9])
def test_a_share_keeps_about_that_many_labels_of_each_task(kind, fraction):
    arrays = arrays_of(np.ones((5, 10_000), kind))
    kept = labels.keep_share(arrays, fraction)
    assert kept.labels.dtype == kind
    there = labels.is_labelled(kept.labels)
    np.testing.assert_array_equal(kept.labels[there], 1)
    # Five standard deviations of a binomial share.
    tolerance = 5 * np.sqrt(fraction * (1 - fraction) / 10_000)
    np.testing.assert_allclose(there.mean(1), fraction, atol=tolerance)
    # Tasks lose their labels independently of each other.
    both = (there[0] & there[1]).mean()
    assert abs(both - fraction**2) < 5 * np.sqrt(fraction**2 / 10_000)


def test_a_larger_share_holds_the_labels_of_a_smaller_one():
    arrays = arrays_of(np.zeros((3, 500), np.int32))
    small, large = (labels.keep_share(arrays, fraction).labels >= 0 for fraction in (0.2, 0.5))
    assert (large | ~small).all()
    assert large.sum() > small.sum()


def test_a_label_stays_by_its_image_and_task_wherever_it_stands():
    order = np.random.default_rng(0).permutation(50)
    there = labels.keep_share(arrays_of(np.zeros((2, 50), np.int32)), 0.5).labels >= 0
    shuffled = arrays_of(np.zeros((2, 50), np.int32), index=np.stack([order, order]))
    np.testing.assert_array_equal(labels.keep_share(shuffled, 0.5).labels >= 0, there[:, order])
    # Fixed across versions: otherwise results are not comparable.
    assert np.flatnonzero(there[0])[:6].tolist() == [2, 4, 6, 7, 11, 13]


def test_examples_without_a_label_leave_their_task():
    arrays = arrays_of([[0, -1, 1, 1], [-1, 1, 0, 0]], sizes=[4, 2], index=[[4, 5, 6, 7]] * 2)
    left = labels.without_unlabelled(arrays)
    np.testing.assert_array_equal(left.index, [[4, 6, 7], [5, 0, 0]])
    np.testing.assert_array_equal(left.labels, [[0, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(left.sizes, [3, 1])
    assert left.names == arrays.names


def test_so_many_labels_of_each_class_stay():
    values = np.random.default_rng(0).integers(0, 2, (3, 60))
    arrays = arrays_of(values, sizes=[60, 40, 50])
    small, large = (labels.keep_of_each_class(arrays, count).labels for count in (3, 9))
    for task, size in enumerate(arrays.sizes):
        np.testing.assert_array_equal(np.bincount(small[task, :size] + 1)[1:], [3, 3])
        assert (small[task, size:] == -1).all()
    there = small >= 0
    np.testing.assert_array_equal(small[there], values[there])
    np.testing.assert_array_equal(large[there], values[there])
    assert not (there[0] == there[1]).all()


def test_the_smallest_class_counts_labelled_examples_alone():
    # Task 0: three of class 0, two of class 1. Task 1: padding behind four, one of class 1.
    arrays = arrays_of([[0, 0, 0, 1, 1, -1], [0, 0, 1, -1, 1, 1]], sizes=[6, 4])
    assert labels.smallest_class(arrays) == 1
    assert labels.smallest_class(arrays_of([[0, 0, 0]])) == 0
