"""mini-ImageNet from csv splits and from folders: splits, resizing, and what is checked."""

import csv
import io
import os
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from routing_jax.data import preparation
from routing_jax.data.builders import mini_imagenet
from routing_jax.data.builders.parallel import ordered_map
from routing_jax.errors import UserError

CLASSES = {"train": 3, "validation": 1, "test": 2}
PER_CLASS = 4
SIZES = ((84, 84), (100, 60), (30, 84), (200, 300))
"""Width and height; the images of a class take turns."""


def named():
    """Split, class and file name of every image; class numbers are like ImageNet's."""
    number = 0
    for split, count in CLASSES.items():
        for _ in range(count):
            number += 1
            for image in range(PER_CLASS):
                yield split, f"n{number:08d}", f"n{number:08d}{image:08d}.png"


def picture(name: str) -> Image.Image:
    seed = int(name[1:-4])
    width, height = SIZES[seed % len(SIZES)]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def by_csv(tmp_path, monkeypatch):
    """The csv splits and the images of a small mini-ImageNet."""
    read = partial(mini_imagenet.read, classes=CLASSES, per_class=PER_CLASS)
    small = replace(mini_imagenet.MINI_IMAGENET, read=read)
    monkeypatch.setitem(preparation.SETS, "mini_imagenet", small)
    folder = tmp_path / "originals"
    (folder / "images").mkdir(parents=True)
    for _, _, name in named():
        picture(name).save(folder / "images" / name)
    write_csv(folder, list(named()))
    return folder


def write_csv(folder, rows):
    for split, file in mini_imagenet.SPLITS.items():
        with (folder / f"{file}.csv").open("w", newline="") as out:
            table = csv.writer(out)
            table.writerow(("filename", "label"))
            table.writerows((name, label) for own, label, name in rows if own == split)


@pytest.fixture
def by_folder(by_csv, tmp_path):
    """The same images in one folder per class, in one folder per split."""
    root = tmp_path / "folders"
    for split, label, name in named():
        place = root / mini_imagenet.SPLITS[split] / label
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(by_csv / "images" / name, place / name)
    return root


def read(folder):
    """The examples of each split as pairs of pixels and class name."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    names = builder.info.features["label"].names
    return {
        split: sorted((example["image"].tobytes(), names[example["label"]]) for example in source)
        for split, source in builder.as_data_source().items()
    }


def expected():
    found = {split: [] for split in CLASSES}
    for split, label, name in named():
        image = picture(name)
        if image.size != (84, 84):
            image = image.resize((84, 84), Image.Resampling.LANCZOS)
        found[split].append((np.asarray(image).tobytes(), label))
    return {split: sorted(pairs) for split, pairs in found.items()}


def test_the_csv_splits_become_a_set(by_csv, prepare):
    folder = prepare("mini_imagenet", by_csv)
    assert folder.parts[-2:] == ("mini_imagenet", "1.0.0")
    assert read(folder) == expected()


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_class_folders_become_the_same_set(by_folder, prepare, validation):
    (by_folder / "val").rename(by_folder / validation)
    (by_folder / "train" / "readme.txt").write_text("not a class")
    next((by_folder / "train").glob("n*")).joinpath("Thumbs.db").write_text("not an image")
    assert read(prepare("mini_imagenet", by_folder)) == expected()


def test_grey_and_jpeg_images_become_rgb(by_csv, prepare):
    name = next(name for _, _, name in named())
    out = io.BytesIO()
    picture(name).convert("L").save(out, "jpeg")
    (by_csv / "images" / name).write_bytes(out.getvalue())
    grey = np.asarray(Image.open(out).convert("RGB"))
    if grey.shape != (84, 84, 3):
        raise AssertionError("the first image is to be of the right size")
    assert grey.tobytes() in dict(read(prepare("mini_imagenet", by_csv))["train"])


def refused(prepare, folder, message):
    with pytest.raises(UserError) as caught:
        prepare("mini_imagenet", folder)
    assert str(caught.value).startswith(message)


def test_missing_images_are_counted_and_named(by_csv, prepare):
    names = sorted(path.name for path in (by_csv / "images").iterdir())[:5]
    for name in names:
        (by_csv / "images" / name).unlink()
    refused(
        prepare,
        by_csv,
        f"{by_csv / 'train.csv'} names 12 images, of which 5 are not in {by_csv / 'images'}: "
        f"{', '.join(names[:3])} ...",
    )


def test_a_missing_csv_file_is_named(by_csv, prepare):
    (by_csv / "val.csv").unlink()
    refused(prepare, by_csv, f"{by_csv} lacks val.csv. ")


@pytest.mark.parametrize("content", ["", "file,class\na.jpg,b\n", "filename,label\na.jpg\n"])
def test_another_csv_file_is_told(by_csv, prepare, content):
    (by_csv / "test.csv").write_text(content)
    with pytest.raises(UserError) as caught:
        prepare("mini_imagenet", by_csv)
    assert "test.csv needs the columns" in str(caught.value) or (
        "(test) has 0 classes; the published split has 2." in str(caught.value)
    )


def test_a_csv_file_of_bytes_is_told(by_csv, prepare):
    (by_csv / "test.csv").write_bytes(b"\xff\xfe\x00")
    refused(prepare, by_csv, f"{by_csv / 'test.csv'} cannot be read (UnicodeDecodeError: ")


def test_a_class_in_two_splits_is_told(by_csv, prepare):
    rows = [(s, "n00000001" if s == "validation" else c, name) for s, c, name in named()]
    write_csv(by_csv, rows)
    refused(prepare, by_csv, f"{by_csv}: a class occurs in several splits.")


def test_an_image_named_twice_is_told(by_csv, prepare):
    rows = list(named())
    rows[1] = rows[0]
    write_csv(by_csv, rows)
    refused(prepare, by_csv, f"{by_csv} (train) names an image twice.")


def test_too_few_images_or_classes_are_told(by_folder, prepare):
    shutil.rmtree(by_folder / "test" / "n00000005")
    refused(prepare, by_folder, f"{by_folder} (test) has 1 classes; the published split has 2.")
    os.unlink(next((by_folder / "train" / "n00000002").iterdir()))
    message = f"{by_folder} (train) has 3 images of the class n00000002; the published split has 4"
    refused(prepare, by_folder, message)
    shutil.rmtree(by_folder / "val")
    refused(prepare, by_folder, f"{by_folder} lacks the folder val. ")


@pytest.mark.parametrize("harm", ["cut", "no image", "empty"])
def test_an_unreadable_image_is_named(by_csv, prepare, tmp_path, harm):
    path = by_csv / "images" / "n0000000500000002.png"
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "no image": b"?", "empty": b""}[harm])
    refused(prepare, by_csv, f"{path} cannot be read (")
    assert list((tmp_path / "prepared").iterdir()) == []


def test_the_threads_keep_the_order_and_are_only_a_little_ahead():
    taken = []

    def numbers():
        for number in range(10_000):
            taken.append(number)
            yield number

    squares = ordered_map(lambda number: number**2, numbers())
    assert [next(squares) for _ in range(3)] == [0, 1, 4]
    assert len(taken) < 10_000
    squares.close()
    assert list(ordered_map(lambda number: -number, range(1000))) == [-n for n in range(1000)]


def test_an_error_in_a_thread_comes_in_its_turn():
    results = ordered_map(lambda number: 1 // number, [1, 1, 0, 1])
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
