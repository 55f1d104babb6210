"""Task construction: every image in exactly the right tasks, once."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from routing_jax.config_data import DATA_TASKS
from routing_jax.data import loading, tasks
from routing_jax.data.labelled_images import LabelledImages

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=60)

# The fixture only makes functions, so sharing it between examples is harmless.
SHARED_FIXTURE = hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)


@SHARED_FIXTURE
@hypothesis.given(labels=LABELS, classes=st.integers(7, 9))
def test_one_vs_rest_asks_of_every_image_whether_it_is_of_the_class(labelled, labels, classes):
    images = labelled(labels, classes=classes)
    arrays = tasks.one_vs_rest(images)
    assert arrays.index.shape == arrays.labels.shape == (classes, len(labels))
    np.testing.assert_array_equal(arrays.sizes, np.full(classes, len(labels)))
    for task in range(classes):
        np.testing.assert_array_equal(arrays.index[task], np.arange(len(labels)))
        expected = [int(label == task) for label in labels]
        np.testing.assert_array_equal(arrays.labels[task], expected)
    assert arrays.names == tuple(f"class {i} or not" for i in range(classes))
    np.testing.assert_array_equal(arrays.classes, np.full(classes, 2))


@SHARED_FIXTURE
@hypothesis.given(labels=LABELS, group_of_class=st.lists(st.integers(0, 3), min_size=7, max_size=7))
def test_superclass_tasks_divide_the_images_and_rank_their_classes(
    labelled, labels, group_of_class
):
    dense = sorted({group_of_class[label] for label in labels})  # every superclass has images
    groups = [dense.index(group_of_class[label]) for label in labels]
    images = labelled(labels, groups)
    arrays = tasks.superclass(images)
    assert len(arrays.sizes) == len(dense) == len(arrays.names)
    seen = []
    for task, size in enumerate(arrays.sizes):
        rows, classes = arrays.index[task, :size], arrays.labels[task, :size]
        seen.extend(rows)
        assert all(groups[row] == task for row in rows)
        # Classes are the ranks of the fine labels: dense, and in the order of the fine labels.
        fine = np.array([labels[row] for row in rows])
        ranking = sorted(set(fine))
        np.testing.assert_array_equal(classes, [ranking.index(label) for label in fine])
        assert set(classes) == set(range(len(ranking)))
        np.testing.assert_array_equal(arrays.index[task, size:], 0)
        np.testing.assert_array_equal(arrays.labels[task, size:], 0)
    assert sorted(seen) == list(range(len(labels)))
    assert arrays.index.shape[1] == max(arrays.sizes)
    expected = [
        len({label for label, g in zip(labels, groups, strict=True) if g == task})
        for task in range(len(dense))
    ]
    np.testing.assert_array_equal(arrays.classes, expected)


def test_superclass_golden(labelled):
    # Superclass 0 holds the fine labels 4 and 9, superclass 1 holds 2, 5 and 7. Modulo five, as in
    # the authors' code, 4 and 9 would be one class, and so would 2 and 7.
    images = labelled([9, 2, 4, 7, 5, 2], [0, 1, 0, 1, 1, 1])
    arrays = tasks.superclass(images)
    np.testing.assert_array_equal(arrays.index, [[0, 2, 0, 0], [1, 3, 4, 5]])
    np.testing.assert_array_equal(arrays.labels, [[1, 0, 0, 0], [0, 2, 1, 0]])
    np.testing.assert_array_equal(arrays.sizes, [2, 4])
    assert arrays.names == ("group 0", "group 1")
    np.testing.assert_array_equal(arrays.classes, [2, 3])
    assert arrays.objective == "classification"


def test_a_split_that_lacks_classes_keeps_the_meaning_of_tasks_and_classes(labelled):
    # Superclass 0 holds 0 and 1, superclass 1 holds 2 and 3. A part with images of 3 alone:
    images = labelled([0, 1, 2, 3, 3], [0, 0, 1, 1, 1]).subset(np.array([3, 4]))
    arrays = tasks.superclass(images)
    np.testing.assert_array_equal(arrays.sizes, [0, 2])
    np.testing.assert_array_equal(arrays.labels, [[0, 0], [1, 1]])
    assert arrays.names == ("group 0", "group 1")
    np.testing.assert_array_equal(arrays.classes, [2, 2])


def test_the_first_tasks_with_no_more_padding_than_they_need(labelled):
    # Images 0 and 1 are of the first superclass, 2 of the second, 3 to 5 of the third.
    images = labelled([0, 0, 1, 2, 2, 2], [0, 0, 1, 2, 2, 2])
    first = tasks.superclass(images).subset([0, 1])
    assert first.names == ("group 0", "group 1")
    np.testing.assert_array_equal(first.index, [[0, 1], [2, 0]])
    np.testing.assert_array_equal(first.labels, [[0, 0], [0, 0]])
    np.testing.assert_array_equal(first.sizes, [2, 1])
    np.testing.assert_array_equal(first.classes, [1, 1])


def test_all_classes_are_one_task(labelled):
    arrays = tasks.all_classes(labelled([2, 0, 2], classes=4))
    np.testing.assert_array_equal(arrays.index, [[0, 1, 2]])
    np.testing.assert_array_equal(arrays.labels, [[2, 0, 2]])
    assert (arrays.names, arrays.sizes.tolist(), arrays.classes.tolist()) == (
        ("4 classes",),
        [3],
        [4],
    )


def test_related_pairs_are_one_task_for_each_target():
    targets = np.array([[0.5, -1.0], [2.0, 0.25], [0.0, 1.5]], np.float32)
    inputs = LabelledImages(
        "made_up", np.zeros((3, 4), np.float32), np.zeros(3, np.int32), ("a", "b"), targets=targets
    )
    arrays = tasks.related_pairs(inputs)
    np.testing.assert_array_equal(arrays.labels, [[0.5, 2.0, 0.0], [-1.0, 0.25, 1.5]])
    assert arrays.labels.dtype == np.float32
    np.testing.assert_array_equal(arrays.index, [[0, 1, 2]] * 2)
    assert (arrays.names, arrays.objective) == (("a", "b"), "regression")
    np.testing.assert_array_equal(arrays.classes, [1, 1])


@pytest.mark.parametrize("kind", ["one_vs_rest", "superclass", "all_classes"])
def test_arrays_are_int32(labelled, kind):
    arrays = tasks.TASKS[kind](labelled([1, 0, 2], [0, 0, 1]))
    held = (arrays.index, arrays.labels, arrays.sizes, arrays.classes)
    assert [array.dtype for array in held] == [np.int32] * 4


def test_a_set_without_superclasses_is_refused(labelled):
    message = "^made_up has no superclasses; use data.tasks=one_vs_rest$"
    with pytest.raises(ValueError, match=message):
        tasks.superclass(labelled([0, 1]))


def test_the_configuration_offers_exactly_the_tasks_that_exist():
    assert set(DATA_TASKS) == {*loading.TASKS, "own"}


def test_rotated_copies_turn_each_image_and_pair_what_is_the_same():
    pixels = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.uint8)[..., None]
    images = LabelledImages("two", pixels, np.array([1, 0], np.int32), ("a", "b"))
    both = tasks.with_rotated(images)
    # A quarter turn to the left: what was right is on top.
    np.testing.assert_array_equal(both.images[2, ..., 0], [[2, 4], [1, 3]])
    np.testing.assert_array_equal(both.images[:2], pixels)
    arrays = tasks.rotated_copies(both)
    assert arrays.names == ("upright", "upright, copy", "rotated", "rotated, copy")
    np.testing.assert_array_equal(arrays.index, [[0, 1], [0, 1], [2, 3], [2, 3]])
    np.testing.assert_array_equal(arrays.labels, [[1, 0]] * 4)
    np.testing.assert_array_equal(arrays.sizes, [2] * 4)
    np.testing.assert_array_equal(arrays.classes, [2] * 4)
