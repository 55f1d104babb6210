"""Task sets of one's own: what is made of arrays and folders, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from routing_jax import UserError, base_config, task_set, task_set_from_folder, train
from routing_jax.data.labels import labelled_rows


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 1), dtype=np.uint8)


SEEN, MORE = images(6), images(3, 1)
TRAIN = {
    "a": (SEEN, np.array([0, 1, 2, 0, 1, 2])),
    "b": (SEEN, np.array([1, -1, 0, -1, -7, 1])),
    "c": (MORE, np.array([0, 1, 0])),
}
TEST = {name: (inputs[:2], np.array([0, 1])) for name, (inputs, _) in TRAIN.items()}


def test_tasks_of_unequal_size_and_classes_over_inputs_that_are_stored_once():
    tasks = task_set("mine", train=TRAIN, test=TEST)
    assert tasks.task_names == ("a", "b", "c")
    assert (tasks.num_classes, tasks.objective, tasks.image_shape) == (
        3,
        "classification",
        (4, 4, 1),
    )
    found = tasks.train
    np.testing.assert_array_equal(found.images, np.concatenate([SEEN, MORE]))
    np.testing.assert_array_equal(found.index[:, :3], [[0, 1, 2], [0, 1, 2], [6, 7, 8]])
    np.testing.assert_array_equal(found.sizes, [6, 6, 3])
    np.testing.assert_array_equal(found.classes, [3, 2, 2])
    np.testing.assert_array_equal(found.labels[1], [1, -1, 0, -1, -1, 1])
    # Two slices are two arrays, equal or not.
    assert len(tasks.test.images) == 6


def test_examples_without_a_label_are_left_out_where_images_are_not_shared():
    rows = labelled_rows(task_set("mine", train=TRAIN, test=TEST).train)
    np.testing.assert_array_equal(rows["sizes"], [6, 3, 3])
    np.testing.assert_array_equal(rows["index"][1, :3], [0, 2, 5])
    np.testing.assert_array_equal(rows["labels"][1, :3], [1, 0, 1])


def test_numbers_to_predict_from_vectors():
    x = np.random.default_rng(0).normal(size=(5, 3))
    y = np.array([0.5, np.nan, 1.0, 2.0, -1.0])
    tasks = task_set("numbers", train={"p": (x, y), "q": (x, -y)}, test={"p": (x, y), "q": (x, y)})
    assert (tasks.objective, tasks.num_classes, tasks.image_shape) == ("regression", 1, (3,))
    assert tasks.train.images.dtype == tasks.train.labels.dtype == np.float32
    assert tasks.train.images.shape == (5, 3)  # one array, stored once


def write(path, shape=(5, 7), value=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)


def test_a_folder_of_images(tmp_path):
    for split, task, label, count in (
        ("train", "pets", "cat", 2),
        ("train", "pets", "dog", 1),
        ("train", "cars", "red", 1),
        ("test", "pets", "dog", 1),
        ("test", "cars", "blue", 1),
    ):
        for number in range(count):
            write(tmp_path / "mine" / split / task / label / f"{number}.png", value=10 * number)
    tasks = task_set_from_folder(tmp_path / "mine", image_size=(2, 3), channels=3)
    assert (tasks.name, tasks.task_names) == ("mine", ("cars", "pets"))
    assert tasks.image_shape == (2, 3, 3)
    # Classes are those of both splits: blue and red, cat and dog.
    np.testing.assert_array_equal(tasks.train.labels, [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(tasks.train.sizes, [1, 3])
    np.testing.assert_array_equal(tasks.test.labels, [[0], [1]])
    assert tasks.train.images[2].max() == 10


def refused(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


def test_arrays_that_do_not_fit_are_refused():
    def of(inputs, labels):
        test = {"a": TEST["a"]}
        return refused(lambda: task_set("m", train={"a": (inputs, labels)}, test=test))

    assert of(SEEN.astype(np.int64), np.zeros(6, int)) == (
        "m, task 'a', train: the inputs are int64 of shape (6, 4, 4, 1); give uint8 images "
        "[N, height, width, channels], or vectors of floats [N, F]."
    )
    assert of(SEEN, np.zeros(5, int)) == (
        "m, task 'a', train: the labels are int64 of shape (5,); give an integer or a float for "
        "each of the 6 inputs."
    )
    assert of(SEEN, np.full(6, -1)) == (
        "m, task 'a', train: no example has a label; leave the task out, or label some."
    )
    assert of(images(2)[:, :3], np.zeros(2, int)) == (
        "m: inputs differ (uint8 (3, 4, 1), uint8 (4, 4, 1)); give all the same shape."
    )
    assert of(SEEN, np.zeros(6)) == (
        "m: some tasks have integer labels (classes) and some floats (numbers to predict); train "
        "them in two sets."
    )
    assert refused(lambda: task_set("m", train={"a": TRAIN["a"]}, test={"b": TEST["b"]})) == (
        "m: the training tasks are a, those to evaluate on b; give both the same tasks, and at "
        "least one."
    )


def test_folders_that_are_no_task_set_are_refused(tmp_path):
    assert refused(lambda: task_set_from_folder(tmp_path, image_size=(4, 4))) == (
        f"{tmp_path}/train holds no folders: put the images under "
        "<folder>/train/<task>/<class>/ and <folder>/test/<task>/<class>/."
    )
    for split in ("train", "test"):
        write(tmp_path / split / "t" / "c" / "0.png")
    broken = tmp_path / "train" / "t" / "c" / "1.png"
    broken.write_bytes(b"no image")
    assert refused(lambda: task_set_from_folder(tmp_path, image_size=(4, 4))).startswith(
        f"{broken} cannot be read as an image: "
    )


def test_a_configuration_that_does_not_fit_the_tasks_is_refused(tmp_path):
    x, y = np.zeros((4, 3), np.float32), np.zeros(4)
    numbers = task_set("numbers", train={"p": (x, y)}, test={"p": (x, y)})
    assert refused(lambda: train(base_config(), numbers, workdir=tmp_path / "run")) == (
        "The configuration does not fit numbers: the inputs are vectors, not images; set "
        "model.encoder to flatten; the tasks predict numbers; set reward.final to negative_loss."
    )
    assert not (tmp_path / "run").exists()
