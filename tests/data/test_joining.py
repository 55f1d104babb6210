"""Tasks of a trained network and new ones as one set: arrays by hand, and what is refused."""

import numpy as np
import pytest
from streamed_sets import streamed

from routing_jax.data.joining import join
from routing_jax.data.task_set import TaskSet
from routing_jax.errors import UserError
from routing_jax.types import MultiTaskData


def split(seed, index, labels, sizes, classes=None):
    rows = np.array(index, np.int32)
    images = np.random.default_rng(seed).integers(0, 256, (rows.max() + 1, 2, 2, 1), np.uint8)
    return MultiTaskData(
        images,
        rows,
        np.array(labels, np.int32),
        np.array(sizes, np.int32),
        None if classes is None else np.array(classes, np.int32),
    )


def tasks(name, names, *, seed, classes=3, test=None, **more):
    data = split(seed, [[0, 1]] * len(names), [[0, 1]] * len(names), [2] * len(names))
    return TaskSet(name, False, "test", tuple(names), classes, data, test or data, **more)


def test_new_tasks_stand_behind_the_old_ones_and_are_the_only_ones_to_learn_from():
    old = tasks(
        "a", ["x", "y"], seed=0, test=split(1, [[0, 1, 2], [2, 0, 0]], [[0, 1, 2]] * 2, [3, 1])
    )
    new = tasks("a", ["z"], seed=2, classes=2, test=split(3, [[1, 0]], [[1, 0]], [2]))
    both = join([old], new)
    assert (both.task_names, both.num_old, both.num_learned) == (("x", "y", "z"), 2, 1)
    assert (both.name, both.num_classes, both.evaluated_on) == ("a", 3, "test")
    assert both.train.images is new.train.images and both.train.classes.tolist() == [2]
    # The new images, two of them, begin behind the three old ones; rows are padded with zeros.
    assert both.test.index.tolist() == [[0, 1, 2], [2, 0, 0], [4, 3, 0]]
    assert both.test.labels.tolist() == [[0, 1, 2], [0, 1, 2], [1, 0, 0]]
    assert both.test.sizes.tolist() == [3, 1, 2]
    assert both.test.classes.tolist() == [3, 3, 2]
    assert both.test.images.shape == (5, 2, 2, 1)
    np.testing.assert_array_equal(both.test.images[3:], new.test.images)


def test_images_that_sets_share_are_held_once():
    first, second = tasks("a", ["x"], seed=0), tasks("b", ["u"], seed=1)
    third = tasks("a", ["y"], seed=0)
    joined = join([first, second], third)
    assert joined.test.images.shape[0] == 4
    assert joined.test.index.tolist() == [[0, 1], [2, 3], [0, 1]]
    assert (joined.test.classes, joined.train.classes) == (None, None)
    assert joined.name == "a + b"


def test_a_name_that_is_taken_tells_its_data_set():
    joined = join([tasks("a", ["x", "y"], seed=0)], tasks("b", ["y", "z"], seed=1))
    assert joined.task_names == ("x", "y", "y (b)", "z")


def test_held_out_examples_of_all_tasks_choose_the_step():
    held = split(5, [[0]], [[1]], [1])
    old = tasks("a", ["x"], seed=0, validation=held)
    joined = join([old], tasks("a", ["y"], seed=1, validation=held))
    assert joined.validation.index.tolist() == [[0], [0]]


def refusal(old, new):
    with pytest.raises(UserError) as error:
        join([old], new)
    return str(error.value)


def test_what_does_not_go_together():
    old = tasks("a", ["v", "w", "x", "y"], seed=0)
    assert refusal(old, tasks("a", ["y", "u", "w"], seed=1)) == (
        "2 of the 3 new tasks are there already, of a: y, w. Name others with data.first_task and "
        "data.num_tasks, data.alphabets, data.tasks or data.name."
    )
    assert refusal(old, tasks("a", ["u"], seed=1, classes=5)) == (
        "The heads of the network have 3 classes, and a new task has 5: name tasks of at most 3 "
        "classes."
    )
    assert refusal(old, tasks("a", ["u"], seed=1, objective="regression")) == (
        "The network was trained for classification, and the new tasks ask for regression: name "
        "others with data.name."
    )
    data = old.train._replace(images=np.zeros((2, 4, 3, 1), np.uint8))
    other = TaskSet("b", False, "test", ("u",), 3, data, data)
    assert refusal(old, other) == (
        "The network takes inputs of 2x2x1, and those of the new tasks are of 4x3x1: name others "
        "with data.name, or scale images with data.image_size."
    )
    assert refusal(streamed(old), tasks("a", ["u"], seed=1)) == (
        "The images of a are read while training goes on, and those of old and new tasks are held "
        "together: give arrays, such as numpy.asarray makes of them."
    )
    held = tasks("a", ["u"], seed=1, validation=old.test)
    assert refusal(old, held) == (
        "The tasks of the network were tested on the test examples, and the new ones are to be "
        "tested on the test examples at the best step on held-out examples: set "
        "data.validation_fraction and data.validation_use as they are there."
    )
