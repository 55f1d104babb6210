"""From a configuration to a task set: fallback, held-out images, task-major arrays."""

import errno
import os
import socket
import time

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from routing_jax.data import download, loading, preparation, sources
from routing_jax.data.versions import VERSIONS
from routing_jax.errors import UserError

ADVICE = (
    "The data set {name} is not prepared in any of: {looked}{why}. To prepare it, run: python -m "
    "routing_jax.data.prepare {name} (it downloads the original files; --from=DIR takes them from "
    "a directory, --data_dir=DIR says where to prepare the set). Another place is named with "
    "--config.data.dir=DIR or ROUTING_JAX_DATA_DIR=DIR."
)
NOTICE = (
    "NOTICE: training on scikit-learn's embedded digits (1,797 real 8x8 images), not on MNIST. "
)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Three places without data, as the messages name them; the user named the first."""
    folders = [tmp_path / name for name in ("tfds", "variable", "default")]
    folders[0].mkdir()
    monkeypatch.setenv("ROUTING_JAX_DATA_DIR", str(folders[1]))
    monkeypatch.setenv("TFDS_DATA_DIR", str(folders[2]))
    return ", ".join(str(folder) for folder in folders)


def silent(text):
    raise AssertionError(f"said: {text}")


def test_the_digits_by_name(data_config):
    tasks = loading.load(data_config(name="digits"), say=silent)
    assert (tasks.name, tasks.embedded_fallback, tasks.evaluated_on) == ("digits", False, "test")
    assert tasks.task_names == tuple(f"{digit} or not" for digit in range(10))
    assert (tasks.num_tasks, tasks.num_classes, tasks.image_shape) == (10, 2, (8, 8, 1))
    for split, count in ((tasks.train, 1437), (tasks.test, 360)):
        assert split.images.shape == (count, 8, 8, 1)  # stored once for all ten tasks
        assert split.index.shape == split.labels.shape == (10, count)
        np.testing.assert_array_equal(split.sizes, np.full(10, count))
        np.testing.assert_array_equal(split.labels.sum(0), np.ones(count))  # of one class each


def test_without_mnist_and_network_the_digits_stand_in_and_that_is_said(data_config, nowhere):
    said = []
    tasks = loading.load(data_config(), say=said.append)
    assert (tasks.name, tasks.embedded_fallback) == ("digits", True)
    asking, notice = said
    address = f"{os.environ['ROUTING_JAX_MIRROR']}/mnist/train-images-idx3-ubyte.gz"
    assert asking == f"MNIST is not prepared; asking {address} (at most 3 s)"
    why = f"; it cannot be downloaded: [Errno {errno.ECONNREFUSED}] Connection refused"
    assert notice == NOTICE + ADVICE.format(name="mnist", looked=nowhere, why=why)


def test_without_mnist_the_network_is_asked_first(
    data_config, nowhere, small_mnist, server, tmp_path
):
    for path in small_mnist.files:
        server.files[f"/mnist/{path.name}"] = path.read_bytes()
    said = []
    tasks = loading.load(data_config(), say=said.append)
    assert (tasks.name, tasks.embedded_fallback) == ("mnist", False)
    assert tasks.train.images.shape == (30, 28, 28, 1)
    assert said[1] == f"downloading MNIST and preparing it in {tmp_path / 'tfds'}"
    requests = len(server.requests)
    loading.load(data_config(), say=silent)
    assert len(server.requests) == requests


@pytest.mark.parametrize("fault", ["other file", "file missing", "data directory"])
def test_a_download_that_fails_leaves_the_digits(
    data_config, nowhere, small_mnist, server, tmp_path, monkeypatch, fault
):
    monkeypatch.setattr(preparation, "Patience", lambda **_: download.Patience(2, 0.01))
    for path in small_mnist.files:
        server.files[f"/mnist/{path.name}"] = path.read_bytes()
    last = f"/mnist/{small_mnist.files[-1].name}"
    if fault == "other file":
        server.files[last] += b"!"
    elif fault == "file missing":
        del server.files[last]
    else:
        (tmp_path / "tfds" / "downloads").write_text("in the way")
    said = []
    tasks = loading.load(data_config(), say=said.append)
    assert (tasks.name, tasks.embedded_fallback) == ("digits", True)
    assert said[-1].startswith(NOTICE)
    reason = {
        "other file": f"{last} cannot be downloaded: what arrived does not have the published",
        "file missing": f"{last} cannot be downloaded: HTTP status 404 Not Found",
        "data directory": f"{tmp_path / 'tfds'}: mnist cannot be prepared there: ",
    }[fault]
    assert reason in said[-1]


def test_a_silent_network_delays_the_start_by_no_more_than_the_probe(
    data_config, nowhere, monkeypatch
):
    assert preparation.PROBE_SECONDS <= 3
    monkeypatch.setattr(preparation, "PROBE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent_server:
        address = f"http://127.0.0.1:{silent_server.getsockname()[1]}"
        monkeypatch.setenv("ROUTING_JAX_MIRROR", address)
        before = time.monotonic()
        why = loading._from_network(data_config(), lambda text: None)
        assert time.monotonic() - before < 1
    assert why.startswith("it cannot be downloaded: ")


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_a_half_prepared_set_is_named_and_nothing_stands_in(data_config, nowhere, tmp_path, name):
    half = tmp_path / "tfds" / name / VERSIONS[name]
    half.mkdir(parents=True)
    (half / f"{name}-train.array_record-00000-of-00001").write_bytes(b"half")
    with pytest.raises(UserError) as caught:
        loading.load(data_config(name=name), say=silent)
    assert str(caught.value).startswith(f"data: the prepared set in {half} cannot be read (")


OTHER_VERSION = ADVICE.replace(
    "is not prepared in any of: {looked}",
    "is needed in version 3.0.1, but prepared only as: {looked}",
)


@pytest.fixture
def other_version(tmp_path, prepare_tfds):
    """MNIST as a later TFDS might have it."""
    return prepare_tfds(tmp_path / "tfds", "mnist", small_splits(), version="9.9.9")


def small_splits():
    images = np.zeros((10, 28, 28, 1), np.uint8)
    return {split: (images, {"label": np.arange(10)}) for split in sources.SPLITS}


def test_another_version_is_named_with_the_one_needed(data_config, nowhere, other_version):
    with pytest.raises(UserError) as caught:
        loading.load(data_config(fallback="none"), say=silent)
    assert str(caught.value) == OTHER_VERSION.format(name="mnist", looked=other_version, why="")


def test_another_version_is_named_when_the_digits_stand_in(data_config, nowhere, other_version):
    said = []
    assert loading.load(data_config(), say=said.append).embedded_fallback
    why = f"; it cannot be downloaded: [Errno {errno.ECONNREFUSED}] Connection refused"
    notice = NOTICE + OTHER_VERSION.format(name="mnist", looked=other_version, why=why)
    assert said[-1] == notice


def test_the_version_needed_is_read_where_another_is_too(
    data_config, nowhere, other_version, prepare_tfds, tmp_path
):
    splits = small_splits()
    splits["train"][0][:] = 7
    prepare_tfds(tmp_path / "tfds", "mnist", splits)
    tasks = loading.load(data_config(), say=lambda text: None)
    assert tasks.name == "mnist"
    assert int(tasks.train.images.max()) == 7


def test_a_named_directory_that_is_not_there_is_an_error_and_is_not_made(
    data_config, nowhere, small_mnist, server, tmp_path
):
    missing = tmp_path / "mistyped"
    with pytest.raises(UserError) as caught:
        loading.load(data_config(dir=str(missing)), say=silent)
    assert str(caught.value).startswith(f"--config.data.dir={missing}: there is no such directory.")
    assert not missing.exists()
    assert server.requests == []


def test_without_a_named_directory_the_default_is_made_and_filled(
    data_config, nowhere, small_mnist, server, tmp_path
):
    for path in small_mnist.files:
        server.files[f"/mnist/{path.name}"] = path.read_bytes()
    tasks = loading.load(data_config(dir=""), say=lambda text: None)
    assert (tasks.name, tasks.embedded_fallback) == ("mnist", False)
    assert (tmp_path / "variable" / "mnist" / "3.0.1").is_dir()


def test_the_digits_need_no_directory(data_config):
    assert loading.load(data_config(name="digits", dir="/nowhere"), say=silent).name == "digits"


def test_without_a_fallback_a_missing_set_is_an_error(data_config, nowhere):
    with pytest.raises(UserError) as caught:
        loading.load(data_config(fallback="none"), say=silent)
    assert str(caught.value) == ADVICE.format(name="mnist", looked=nowhere, why="")


@pytest.mark.parametrize("name", ["cifar100", "fashion_mnist", "usps"])
def test_nothing_stands_in_for_other_sets(data_config, nowhere, name):
    with pytest.raises(UserError) as caught:
        loading.load(data_config(name=name), say=silent)
    assert str(caught.value) == ADVICE.format(name=name, looked=nowhere, why="")


@pytest.mark.parametrize("name", ["fashion_mnist", "usps"])
def test_one_vs_rest_of_the_other_ten_class_sets(data_config, tmp_path, prepare_tfds, name):
    labels = np.tile(np.arange(10), 3)
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 1), dtype=np.uint8)
    names = {"label": [f"T-shirt/top {i}" for i in range(10)]} if name != "usps" else None
    splits = {split: (images, {"label": labels}) for split in sources.SPLITS}
    prepare_tfds(tmp_path / "tfds", name, splits, label_names=names)
    tasks = loading.load(data_config(name=name), say=lambda text: None)
    assert (tasks.name, tasks.num_tasks, tasks.num_classes) == (name, 10, 2)
    assert tasks.task_names[3] == ("3 or not" if name == "usps" else "T-shirt/top 3 or not")
    np.testing.assert_array_equal(tasks.train.labels.sum(1), np.full(10, 3))


def test_a_prepared_set_becomes_tasks(data_config, tmp_path, prepare_tfds):
    rng = np.random.default_rng(0)
    fine = np.tile(np.arange(6), 5)
    images = rng.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8)
    columns = {"label": fine, "coarse_label": fine % 2}
    splits = {"train": (images, columns), "test": (images, columns)}
    names = {"label": list("abcdef"), "coarse_label": ["even", "odd"]}
    prepare_tfds(tmp_path / "tfds", "cifar100", splits, label_names=names)
    said = []
    config = data_config(name="cifar100", tasks="superclass")
    tasks = loading.load(config, say=said.append)
    assert (tasks.name, tasks.embedded_fallback) == ("cifar100", False)
    assert (tasks.task_names, tasks.num_classes) == (("even", "odd"), 3)
    assert tasks.image_shape == (4, 4, 3)
    # Each image is in the task of its superclass, its class the rank among 0, 2, 4 or 1, 3, 5.
    label_of = {image.tobytes(): label for image, label in zip(images, fine, strict=True)}
    for task in range(2):
        found = [label_of[image.tobytes()] for image in tasks.test.images[tasks.test.index[task]]]
        np.testing.assert_array_equal(np.array(found), 2 * tasks.test.labels[task] + task)
    assert len(said) == 2
    loading.load(config, say=silent)  # from the cache


def test_held_out_images_replace_the_test_set(data_config):
    tasks = loading.load(data_config(name="digits", validation_fraction=0.2), say=silent)
    assert tasks.evaluated_on == "validation"
    whole = sources.embedded_digits()["train"]
    # Of the 142, 146, 142, 146, 145, 145, 145, 143, 139, 144 training digits a fifth, rounded.
    held = [28, 29, 28, 29, 29, 29, 29, 29, 28, 29]
    np.testing.assert_array_equal(tasks.test.labels.sum(1), held)
    assert tasks.train.images.shape[0] == 1437 - sum(held)
    both = np.concatenate([tasks.train.images, tasks.test.images])
    pictures = [sorted(image.tobytes() for image in images) for images in (both, whole.images)]
    assert pictures[0] == pictures[1]


@hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], max_examples=50
)
@hypothesis.given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    fraction=st.floats(0, 1, exclude_min=True, exclude_max=True),
)
def test_holding_out_is_stratified_disjoint_and_complete(labelled, labels, fraction):
    images = labelled(labels)
    kept, held = loading.hold_out(images, fraction)
    kept_ids, held_ids = (part.images.ravel().tolist() for part in (kept, held))
    assert sorted(kept_ids + held_ids) == list(range(len(labels)))
    np.testing.assert_array_equal(kept.labels, np.array(labels)[kept_ids])
    np.testing.assert_array_equal(held.labels, np.array(labels)[held_ids])
    assert kept.class_names == held.class_names == images.class_names
    for label in set(labels):
        rows = [row for row, other in enumerate(labels) if other == label]
        count = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
        assert [row for row in held_ids if labels[row] == label] == rows[len(rows) - count :]


def test_holding_out_keeps_the_superclass_of_each_image(labelled):
    images = labelled([0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 1, 1])
    kept, held = loading.hold_out(images, 0.5)
    for part in (kept, held):
        np.testing.assert_array_equal(part.superclass_of_class[part.labels], [0, 1, 1])
        assert part.superclass_names == images.superclass_names


@pytest.mark.slow
@pytest.mark.real_data("mnist")
def test_the_real_mnist_is_found_by_the_environment_variable(
    data_config, real_data_dir, real_cache_dir
):
    config = data_config(cache_dir=str(real_cache_dir / "cache"))
    tasks = loading.load(config, say=lambda text: None)
    assert (tasks.name, tasks.embedded_fallback) == ("mnist", False)
    assert tasks.train.images.shape == (60_000, 28, 28, 1)
    np.testing.assert_array_equal(tasks.train.sizes, np.full(10, 60_000))
    # Nine of ten answers are 0: the majority level of plain accuracy.
    assert float(tasks.test.labels.mean()) == 0.1


def test_tasks_from_the_first_that_is_named(data_config):
    chosen = data_config(name="digits", first_task=7, num_tasks=2)
    tasks = loading.load(chosen, say=silent)
    assert tasks.task_names == ("7 or not", "8 or not")
    rest = loading.load(data_config(name="digits", first_task=8), say=silent)
    assert rest.task_names == ("8 or not", "9 or not")
    np.testing.assert_array_equal(tasks.train.labels[1], rest.train.labels[0])


def test_tasks_beyond_the_last(data_config):
    with pytest.raises(UserError) as error:
        loading.load(data_config(name="digits", first_task=8, num_tasks=3), say=silent)
    assert str(error.value) == (
        "data.first_task = 8 and data.num_tasks = 3, but data.name = digits with data.tasks = "
        "one_vs_rest has 10 tasks: set data.num_tasks to at most 2, or to None for all that are "
        "left."
    )
    with pytest.raises(UserError, match="counted from 0: set data.first_task to at most 9"):
        loading.load(data_config(name="digits", first_task=10), say=silent)


def test_so_many_examples_of_each_class_are_learned_from(data_config):
    tasks = loading.load(data_config(name="digits", examples_per_class=5), say=silent)
    np.testing.assert_array_equal(tasks.train.sizes, np.full(10, 10))
    np.testing.assert_array_equal(tasks.train.labels.sum(1), np.full(10, 5))
    assert tasks.train.images.shape[0] <= 100
    np.testing.assert_array_equal(tasks.test.sizes, np.full(10, 360))


def test_more_examples_of_a_class_than_there_are(data_config):
    with pytest.raises(UserError) as error:
        loading.load(data_config(name="digits", examples_per_class=500), say=silent)
    # Of the 1,437 training digits, the rarest is an 8.
    assert str(error.value) == (
        "data.examples_per_class = 500, but a class has only 139 training examples: set it to at "
        "most 139, or to None for all."
    )
