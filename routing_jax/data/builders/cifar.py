"""CIFAR-100 from its binary or its Python archive, packed or unpacked."""

import tarfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from routing_jax.data.builders import cifar_pickle, png
from routing_jax.data.builders.originals import (
    Contents,
    Examples,
    OriginalSet,
    Split,
    check_class_counts,
    reading,
)
from routing_jax.data.download import RemoteFile
from routing_jax.data.versions import VERSIONS
from routing_jax.errors import UserError

SIDE = 32
_PIXELS = 3 * SIDE * SIDE
SPLITS = ("train", "test")
BINARY, PYTHON = "cifar-100-binary", "cifar-100-python"
LAYOUTS = {
    BINARY: ("train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt"),
    PYTHON: ("train", "test", "meta"),
}
"""What we read of each archive, which is named like the one folder in it."""


@dataclass(frozen=True)
class Arrays:
    """One split, with images as the files store them: channel by channel, row by row."""

    pixels: np.ndarray
    """uint8 [N, 3072]."""
    fine: np.ndarray
    coarse: np.ndarray


@dataclass(frozen=True)
class Decoded:
    """What either archive holds."""

    fine_names: list[str]
    coarse_names: list[str]
    splits: dict[str, Arrays]


def read(folder: Path, *, classes: int, superclasses: int, per_class: dict[str, int]) -> Contents:
    """Reads and checks one of the two archives, or what was unpacked from it.

    Args:
        folder: Where the archive, its folder or its files lie.
        classes: Published number of fine classes.
        superclasses: Published number of superclasses, all of equally many classes.
        per_class: Published number of images of each fine class, per split.

    Raises:
        UserError: A file is missing, damaged or not the published one.
    """
    import tensorflow_datasets as tfds

    place, decode = _find(folder)
    with reading(place):
        decoded = decode()
    for names, count in ((decoded.fine_names, classes), (decoded.coarse_names, superclasses)):
        if len(set(names)) != count:
            raise UserError(f"{place} names {len(set(names))} classes, not {count}: get it again.")
    for split, arrays in decoded.splits.items():
        check_class_counts(place, arrays.fine, [per_class[split]] * classes)
        check_class_counts(
            place, arrays.coarse, [per_class[split] * classes // superclasses] * superclasses
        )
    _check_hierarchy(place, decoded.splits)
    features = {
        "id": tfds.features.Text(),
        "image": tfds.features.Image(shape=(SIDE, SIDE, 3)),
        "label": tfds.features.ClassLabel(names=decoded.fine_names),
        "coarse_label": tfds.features.ClassLabel(names=decoded.coarse_names),
    }
    splits = {
        split: Split(arrays.fine.size, partial(_examples, split, arrays))
        for split, arrays in decoded.splits.items()
    }
    return Contents(features, splits)


def _examples(split: str, arrays: Arrays) -> Examples:
    images = arrays.pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    for row, image in enumerate(images):
        yield (
            row,
            {
                "id": f"{split}_{row:05d}",
                "image": png.encode(image),
                "label": int(arrays.fine[row]),
                "coarse_label": int(arrays.coarse[row]),
            },
        )


def _check_hierarchy(place: Path, splits: dict[str, Arrays]) -> None:
    """Every fine class must belong to one superclass, and to the same one in both splits."""
    pairs = {
        pair
        for arrays in splits.values()
        for pair in zip(arrays.fine.tolist(), arrays.coarse.tolist(), strict=True)
    }
    if len(pairs) != len({fine for fine, _ in pairs}):
        raise UserError(f"{place} has classes that belong to several superclasses: get it again.")


def _find(folder: Path) -> tuple[Path, partial[Decoded]]:
    """The first of the layouts that is there, and how to decode it."""
    for kind, names in LAYOUTS.items():
        archive = folder / f"{kind}.tar.gz"
        if archive.is_file():
            return archive, partial(_decode_archive, archive, kind)
        for place in (folder / kind, folder):
            if all((place / name).is_file() for name in names):
                return place, partial(_decode_folder, place, kind)
    raise UserError(f"{folder} has none of the original files. Wanted: {CIFAR100.wanted}.")


def _decode_archive(archive: Path, kind: str) -> Decoded:
    """Reads the members in order and into memory: seeking back would decompress everything anew."""
    wanted = {f"{kind}/{name}": name for name in LAYOUTS[kind]}
    with tarfile.open(archive) as tar:
        contents = {
            wanted[member.name]: tar.extractfile(member).read()
            for member in tar
            if member.name in wanted and member.isfile()
        }
    return _DECODERS[kind](contents)


def _decode_folder(folder: Path, kind: str) -> Decoded:
    return _DECODERS[kind]({name: (folder / name).read_bytes() for name in LAYOUTS[kind]})


def _decode_binary(contents: dict[str, bytes]) -> Decoded:
    """Rows of a coarse label, a fine label and the pixels, one byte each."""
    splits = {}
    for split in SPLITS:
        rows = np.frombuffer(contents[f"{split}.bin"], np.uint8).reshape(-1, 2 + _PIXELS)
        splits[split] = Arrays(rows[:, 2:], rows[:, 1], rows[:, 0])
    names = [contents[f"{level}_label_names.txt"].decode().split() for level in ("fine", "coarse")]
    return Decoded(*names, splits)


def _decode_python(contents: dict[str, bytes]) -> Decoded:
    splits = {}
    for split in SPLITS:
        found = cifar_pickle.load(contents[split])
        pixels, fine, coarse = (found[key] for key in ("data", "fine_labels", "coarse_labels"))
        splits[split] = Arrays(
            np.asarray(pixels, np.uint8).reshape(len(fine), _PIXELS),
            np.asarray(fine, np.uint8),
            np.asarray(coarse, np.uint8),
        )
    meta = cifar_pickle.load(contents["meta"])
    names = [[str(name) for name in meta[f"{level}_label_names"]] for level in ("fine", "coarse")]
    return Decoded(*names, splits)


_DECODERS = {BINARY: _decode_binary, PYTHON: _decode_python}

CIFAR100 = OriginalSet(
    name="cifar100",
    version=VERSIONS["cifar100"],
    description=(
        "This dataset is just like the CIFAR-10, except it has 100 classes containing 600 images "
        "each. There are 500 training images and 100 testing images per class. The 100 classes in "
        'the CIFAR-100 are grouped into 20 superclasses. Each image comes with a "fine" label (the '
        'class to which it belongs) and a "coarse" label (the superclass to which it belongs).'
    ),
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    citation="""@TECHREPORT{Krizhevsky09learningmultiple,
    author = {Alex Krizhevsky},
    title = {Learning multiple layers of features from tiny images},
    institution = {},
    year = {2009}
}""",
    wanted=" or ".join(f"{kind}.tar.gz (or the folder {kind} in it)" for kind in LAYOUTS),
    read=partial(read, classes=100, superclasses=20, per_class={"train": 500, "test": 100}),
    # The binary archive, like TFDS: reading it needs no pickle.
    downloads=(
        RemoteFile(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            168513733,
            "sha256",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ),
    ),
)
