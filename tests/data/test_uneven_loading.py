"""Task sets with fewer tasks, fewer labels, and unequal ones; and those that cannot be learned."""

import numpy as np
import pytest

from routing_jax.data import loading
from routing_jax.errors import UserError


def load(data_config, **values):
    return loading.load(data_config(**({"name": "digits"} | values)), say=print)


def refusal(data_config, **values) -> str:
    with pytest.raises(UserError) as caught:
        load(data_config, **values)
    return str(caught.value)


def test_fewer_tasks_than_there_are(data_config):
    tasks = load(data_config, num_tasks=3)
    assert tasks.task_names == ("0 or not", "1 or not", "2 or not")
    # One-vs-rest tasks look at the images of all classes.
    assert tasks.train.index.shape == (3, 1437)
    assert tasks.train.images.shape[0] == 1437


def test_shared_images_keep_their_rows_and_lose_labels(data_config):
    tasks = load(data_config, label_fraction=0.25, share_images=True)
    whole = load(data_config)
    labelled = tasks.train.labels >= 0
    assert 0.2 < labelled.mean() < 0.3
    np.testing.assert_array_equal(tasks.train.index, whole.train.index)
    np.testing.assert_array_equal(tasks.train.labels[labelled], whole.train.labels[labelled])
    np.testing.assert_array_equal(tasks.test.labels, whole.test.labels)  # tests are whole


def test_tasks_of_their_own_drop_examples_without_a_label(data_config):
    own = load(data_config, label_fraction=0.01)
    shared = load(data_config, label_fraction=0.01, share_images=True)
    labelled = shared.train.labels >= 0
    np.testing.assert_array_equal(own.train.sizes, labelled.sum(1))
    assert len(set(own.train.sizes.tolist())) > 1
    # The same labels of the same images; images without any are gone.
    assert own.train.images.shape[0] == labelled.any(0).sum()
    for task, size in enumerate(own.train.sizes):
        images = own.train.images[own.train.index[task, :size]]
        np.testing.assert_array_equal(images, shared.train.images[labelled[task]])
        expected = shared.train.labels[task, labelled[task]]
        np.testing.assert_array_equal(own.train.labels[task, :size], expected)


def test_equal_class_counts_need_no_mask(data_config):
    assert load(data_config).train.classes is None


def test_more_tasks_than_there_are(data_config):
    assert refusal(data_config, num_tasks=11) == (
        "data.num_tasks = 11, but data.name = digits with data.tasks = one_vs_rest has 10 tasks: "
        "set data.num_tasks to at most 10, or to None for all."
    )


def test_tasks_without_a_label(data_config):
    message = refusal(data_config, label_fraction=1e-7)
    assert message == (
        "10 of 10 tasks have no labelled training example: 0 or not, 1 or not, 2 or not .... Raise "
        "data.label_fraction (now 1e-07), change data.validation_fraction (now 0), or leave the "
        "tasks out by data.num_tasks (now None)."
    )


def test_tasks_without_an_image_to_validate_on(data_config, tmp_path, prepare_tfds):
    # The superclass b has one image, which is never held out.
    columns = {"label": np.array([0, 0, 0, 1]), "coarse_label": np.array([0, 0, 0, 1])}
    images = np.random.default_rng(0).integers(0, 256, (4, 4, 4, 3), dtype=np.uint8)
    names = {"label": ["x", "y"], "coarse_label": ["a", "b"]}
    splits = {"train": (images, columns), "test": (images, columns)}
    prepare_tfds(tmp_path / "tfds", "cifar100", splits, label_names=names)
    values = {"name": "cifar100", "tasks": "superclass", "validation_fraction": 0.5}
    assert refusal(data_config, **values) == (
        "1 of 2 tasks have no labelled validation example: b. Raise data.label_fraction (now 1), "
        "change data.validation_fraction (now 0.5), or leave the tasks out by data.num_tasks (now "
        "None)."
    )
    assert load(data_config, **values, num_tasks=1).task_names == ("a",)
