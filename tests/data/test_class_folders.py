"""Folders of classes: what they hold, and what is no such folder."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from routing_jax.data import loading, placement
from routing_jax.data.class_folders import open_class_folders
from routing_jax.data.stored_images import StoredImages
from routing_jax.errors import UserError

LAYOUT = (
    "Needed are <folder>/train/<class>/<image> and <folder>/val/<class>/<image> (or test, or "
    "validation), images being .jpg, .jpeg or .png; name another folder with --config.data.dir=DIR."
)


def write(path: Path, value: int, *, size=(4, 4), mode="RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (value,) * 3 if mode == "RGB" else value).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two images of a cat and one of a dog to train on, one of each in val; value 10 * number."""
    for number, name in enumerate(["train/cat/a.png", "train/cat/b.PNG", "train/dog/a.png"]):
        write(tmp_path / "pets" / name, 10 * number)
    for number, name in enumerate(["val/cat/x.png", "val/dog/x.png"]):
        write(tmp_path / "pets" / name, 100 + 10 * number)
    (tmp_path / "pets" / "train" / "cat" / "notes.txt").write_text("no image")
    return tmp_path / "pets"


def opened(folder, side=0):
    return open_class_folders(folder, side=side, say=lambda _: None)


def refused(folder, side=0) -> str:
    with pytest.raises(UserError) as caught:
        opened(folder, side)
    return str(caught.value)


def load(data_config, folder, **values):
    values = {"name": "class_folders", "tasks": "all_classes", "dir": str(folder)} | values
    return loading.load(data_config(**values), say=lambda _: None)


def test_classes_are_folders_and_images_are_read_later(folder):
    splits = opened(folder)
    train = splits["train"]
    assert (train.name, train.class_names) == ("pets", ("cat", "dog"))
    assert isinstance(train.images, StoredImages)
    np.testing.assert_array_equal(train.labels, [0, 0, 1])
    assert train.images.shape == (3, 4, 4, 3)
    np.testing.assert_array_equal(np.asarray(train.images)[:, 0, 0, 0], [0, 10, 20])
    np.testing.assert_array_equal(np.asarray(splits["test"].images)[:, 3, 3, 2], [100, 110])


def test_folders_of_folders_are_superclasses(tmp_path, data_config):
    for split in ("train", "test"):
        for number, name in enumerate(["pets/cat", "pets/dog", "wild/cat", "wild/fox"]):
            write(tmp_path / split / name / "a.png", number, mode="L")
    tasks = load(data_config, tmp_path, tasks="superclass")
    assert tasks.task_names == ("pets", "wild")
    np.testing.assert_array_equal(tasks.train.labels, [[0, 1], [0, 1]])
    np.testing.assert_array_equal(tasks.train.images.ravel()[::16], [0, 1, 2, 3])
    assert tasks.image_shape == (4, 4, 1)  # grey, as the first one is


def test_a_set_that_fits_is_read_into_memory_unless_it_is_to_be_streamed(folder, data_config):
    held, streamed = (load(data_config, folder, input=kind) for kind in ("auto", "stream"))
    assert isinstance(held.train.images, np.ndarray)
    assert isinstance(streamed.train.images, StoredImages)
    np.testing.assert_array_equal(np.asarray(streamed.train.images), held.train.images)
    np.testing.assert_array_equal(streamed.train.index, held.train.index)


def test_a_set_that_takes_more_than_half_of_the_memory_is_streamed(folder, data_config):
    config, said = data_config(name="class_folders", tasks="all_classes", dir=str(folder)), []
    size = 5 * 4 * 4 * 3  # both splits: 240 bytes
    for room, streamed in ((2 * size, False), (2 * size - 1, True)):
        tasks = loading.load(config, say=said.append, room=room)
        assert isinstance(tasks.train.images, StoredImages) == streamed
    assert said[-1] == (
        "The images of class_folders take 240 bytes, more than half of the 479 bytes of memory "
        "available: they are streamed."
    )
    config.input = "memory"
    with pytest.raises(UserError) as caught:
        loading.load(config, say=said.append, room=size - 1)
    assert str(caught.value) == (
        "data.input = memory, but the images of class_folders take 240 bytes, and only 239 bytes "
        "of memory are available: set data.input to stream, or data.image_size to fewer pixels."
    )


def test_images_are_scaled_to_the_size_asked_for(folder):
    write(folder / "train" / "dog" / "large.png", 20, size=(8, 6))
    assert opened(folder, side=2)["train"].images.shape == (4, 2, 2, 3)
    assert (np.asarray(opened(folder, side=2)["train"].images)[3] == 20).all()


def test_images_of_different_sizes_need_one(folder):
    large = folder / "train" / "dog" / "large.png"
    write(large, 20, size=(8, 6))
    assert refused(folder) == (
        f"{large} has 6x8 pixels, {folder}/train/cat/a.png 4x4: set data.image_size to the side "
        "that all images are to be scaled to."
    )


def test_an_image_that_cannot_be_read_is_named(folder):
    broken = folder / "train" / "dog" / "broken.jpg"
    broken.write_bytes(b"no image")
    images = opened(folder, side=4)["train"].images
    with pytest.raises(UserError) as caught:
        images.read(np.array([0, 3]))
    assert str(caught.value).startswith(f"{broken} cannot be read as an image: cannot identify ")
    # Cut off in the middle: it opens, and has a size.
    whole = (folder / "train" / "cat" / "a.png").read_bytes()
    broken.with_suffix(".png").write_bytes(whole[:45])
    broken.unlink()
    with pytest.raises(UserError, match=r"broken\.png cannot be read as an image: "):
        np.asarray(opened(folder)["train"].images)


def test_what_is_no_folder_of_classes_is_refused(folder, tmp_path, data_config):
    empty = tmp_path / "empty"
    assert refused(empty) == (
        f"data.dir = {empty} is no folder of classes: it holds none of test, val, validation. "
        f"{LAYOUT}"
    )
    (empty / "val").mkdir(parents=True)
    assert refused(empty) == f"data.dir = {empty} is no folder of classes: no train. {LAYOUT}"
    (empty / "train" / "cat").mkdir(parents=True)
    assert refused(empty) == (
        f"data.dir = {empty} is no folder of classes: no folder in train holds an image. {LAYOUT}"
    )
    write(folder / "train" / "dog" / "poodle" / "a.png", 1)
    assert refused(folder) == (
        f"data.dir = {folder}: some classes are folders of images and some are folders of folders, "
        f"such as cat and dog/poodle. {LAYOUT}"
    )


def test_superclasses_have_to_be_there(folder, data_config):
    with pytest.raises(UserError) as caught:
        load(data_config, folder, tasks="superclass")
    assert str(caught.value) == (
        f"data.tasks = superclass needs folders of superclasses, but {folder} holds classes: put "
        "them into folders, train/<superclass>/<class>/<image>, or set data.tasks to all_classes."
    )


def test_without_grain_it_says_what_to_install(folder, data_config, monkeypatch):
    monkeypatch.setattr(placement.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        load(data_config, folder, input="stream")
    assert str(caught.value) == (
        "data.input = stream needs the package grain, which is not installed: pip install "
        "-c constraints.txt -e '.[stream]', or pip install 'routing_jax[stream]'."
    )
