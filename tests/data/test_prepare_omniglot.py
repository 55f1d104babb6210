"""Omniglot from its zip files: what is checked, and the real one."""

import io
import zipfile
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from routing_jax.data import preparation
from routing_jax.data.builders import omniglot
from routing_jax.errors import UserError

ALPHABETS = {"train": {"Greek": 2, "Tagalog": 1}, "test": {"Angelic": 2}}
"""Characters of each alphabet."""


def drawing(seed: int, size=(105, 105)) -> bytes:
    """A PNG with one bit per pixel, as the originals are."""
    pixels = np.random.default_rng(seed).integers(0, 2, size).astype(bool)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def members(split: str) -> dict[str, bytes]:
    """The files in a zip file; characters are numbered through, beginning with the training set."""
    root = omniglot.FILES[split].removesuffix(".zip")
    label = 0 if split == "train" else sum(ALPHABETS["train"].values())
    found = {f"{root}/": b""}
    for alphabet, characters in ALPHABETS[split].items():
        for character in range(1, characters + 1):
            label += 1
            for drawer in range(1, 21):
                name = f"{root}/{alphabet}/character{character:02d}/{label:04d}_{drawer:02d}.png"
                found[name] = drawing(100 * label + drawer)
    return found


@pytest.fixture
def originals(tmp_path, monkeypatch):
    """Zip files of an Omniglot of three alphabets."""
    read = partial(
        omniglot.read,
        alphabets={"train": 2, "test": 1},
        characters={"train": 3, "test": 2},
        small={"small1": ("Greek",), "small2": ("Tagalog",)},
    )
    monkeypatch.setitem(preparation.SETS, "omniglot", replace(omniglot.OMNIGLOT, read=read))
    folder = tmp_path / "originals"
    folder.mkdir()
    for split in ALPHABETS:
        write(folder, split, members(split))
    return folder


def write(folder, split, files):
    with zipfile.ZipFile(folder / omniglot.FILES[split], "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_the_zip_files_become_a_set(originals, prepare, tmp_path):
    import tensorflow_datasets as tfds

    folder = prepare("omniglot", originals)
    assert folder.parts[-2:] == ("omniglot", "3.0.0")
    features = tfds.builder_from_directory(folder).info.features
    assert features["alphabet"].names == ["Angelic", "Greek", "Tagalog"]
    assert features["label"].names == ["Greek_0", "Greek_1", "Tagalog_0", "Angelic_0", "Angelic_1"]
    found = tfds.data_source("omniglot", data_dir=tmp_path / "prepared", download=False)
    sizes = {split: len(source) for split, source in found.items()}
    assert sizes == {"train": 60, "test": 40, "small1": 40, "small2": 20}
    for source in found.values():
        for example in source.__getitems__(range(len(source))):
            name = features["label"].names[example["label"]]
            alphabet = features["alphabet"].names[example["alphabet"]]
            assert name == f"{alphabet}_{example['alphabet_char_id']}"
            pixels = example["image"]
            assert (pixels.shape, pixels.dtype) == ((105, 105, 3), np.uint8)
            assert set(np.unique(pixels)) == {0, 255}
    # Every drawing came through, with its label.
    expected = set()
    for split in ALPHABETS:
        for name, content in members(split).items():
            if content:
                picture = Image.open(io.BytesIO(content)).convert("RGB")
                label = int(name.rpartition("/")[2][:4]) - 1
                expected.add((np.asarray(picture).tobytes(), label))
    examples = [example for split in ALPHABETS for example in found[split]]
    assert {(example["image"].tobytes(), int(example["label"])) for example in examples} == expected


def drop(files, part):
    return {name: content for name, content in files.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: drop(files, "0002_07"), "holds 19 drawings of character 0002; "),
        (lambda files: drop(files, "character02"), "holds 2 characters; the published set has 3."),
        (lambda files: drop(files, "Greek"), "holds 1 alphabets; the published set has 2."),
        (lambda files: {}, "holds 0 alphabets; the published set has 2."),
        (
            lambda files: {n.replace("/0003_", "/0009_"): c for n, c in files.items()},
            "the numbers of the characters have gaps.",
        ),
        (
            lambda files: {n.replace("/0003_", "/0004_"): c for n, c in files.items()},
            "the number 0004 stands for two characters, Tagalog_0 and Angelic_0.",
        ),
    ],
)
def test_what_is_missing_is_told(originals, prepare, change, message):
    write(originals, "train", change(members("train")))
    with pytest.raises(UserError) as caught:
        prepare("omniglot", originals)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(originals))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (drawing(0)[:60], " cannot be read ("),
        (b"no image", " cannot be read ("),
        (drawing(0, (28, 30)), " is 30x28 pixels large; the published images are 105x105."),
    ],
)
def test_a_bad_image_is_named(originals, prepare, tmp_path, content, message):
    files = members("train")
    name = next(name for name in files if name.endswith("0003_05.png"))
    write(originals, "train", files | {name: content})
    with pytest.raises(UserError) as caught:
        prepare("omniglot", originals)
    assert str(caught.value).startswith(f"{originals / 'images_background.zip' / name}{message}")
    assert list((tmp_path / "prepared").iterdir()) == []


def test_a_cut_zip_file_is_named(originals, prepare):
    path = originals / omniglot.FILES["test"]
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError) as caught:
        prepare("omniglot", originals)
    assert str(caught.value).startswith(f"{path} cannot be read (BadZipFile: ")


@pytest.mark.slow
@pytest.mark.real_data("omniglot")
@pytest.mark.originals("omniglot")
def test_the_real_omniglot_is_the_stock_one(originals_dir, real_data_dir, prepare, same_sets):
    same_sets(prepare("omniglot", originals_dir / "omniglot"), real_data_dir / "omniglot" / "3.0.0")
