"""mini-ImageNet from images on disk, split by the csv files of Ravi and Larochelle or by folders.

Every image becomes 84x84 RGB by Pillow's Lanczos filter, without regard to its aspect ratio, as in
the authors' preparation; an image that has this size already stays as it is.
"""

import csv
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from PIL import Image

from routing_jax.data.builders import png
from routing_jax.data.builders.originals import (
    Contents,
    Examples,
    OriginalSet,
    Split,
    reading,
    require_files,
)
from routing_jax.data.builders.parallel import ordered_map
from routing_jax.data.versions import VERSIONS
from routing_jax.errors import UserError

SIDE = 84
SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Our name of a split, and the name of its csv file or folder."""
IMAGES = "images"
SUFFIXES = (".jpg", ".jpeg", ".png")

Named = list[tuple[Path, str]]
"""Image files with their classes."""


def read(folder: Path, *, classes: dict[str, int], per_class: int) -> Contents:
    """Finds and checks the images of all splits.

    Args:
        folder: Holds train.csv, val.csv, test.csv and images/, or the folders train, val and test,
            which hold one folder per class.
        classes: Published number of classes, per split.
        per_class: Published number of images of each class.

    Raises:
        UserError: A file is missing, or they are not the published splits.
    """
    import tensorflow_datasets as tfds

    if any((folder / f"{name}.csv").is_file() for name in SPLITS.values()):
        found = _by_csv(folder)
    elif (folder / SPLITS["train"]).is_dir():
        found = {split: _by_folder(folder, name) for split, name in SPLITS.items()}
    else:
        raise UserError(f"{folder} holds no mini-ImageNet. Wanted: {MINI_IMAGENET.wanted}.")
    for split, images in found.items():
        _check_counts(f"{folder} ({split})", images, classes[split], per_class)
    names = [sorted({name for _, name in images}) for images in found.values()]
    if len(set().union(*names)) != sum(map(len, names)):
        raise UserError(f"{folder}: a class occurs in several splits.")
    features = {
        "image": tfds.features.Image(shape=(SIDE, SIDE, 3)),
        "label": tfds.features.ClassLabel(names=sorted(set().union(*names))),
    }
    splits = {
        split: Split(len(images), partial(_examples, images)) for split, images in found.items()
    }
    return Contents(features, splits)


def _by_csv(folder: Path) -> dict[str, Named]:
    tables = require_files(folder, [f"{name}.csv" for name in SPLITS.values()])
    found = {
        split: _read_csv(table, folder / IMAGES)
        for split, table in zip(SPLITS, tables, strict=True)
    }
    for table, images in zip(tables, found.values(), strict=True):
        missing = [path.name for path, _ in images if not path.is_file()]
        if missing:
            raise UserError(
                f"{table} names {len(images):,} images, of which {len(missing):,} are not in "
                f"{folder / IMAGES}: {', '.join(missing[:3])}{' ...' if missing[3:] else ''}"
            )
    return found


def _read_csv(table: Path, images: Path) -> Named:
    with reading(table), table.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    try:
        return [(images / row["filename"], row["label"].strip()) for row in rows]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{table} needs the columns filename and label in every line.") from error


def _by_folder(folder: Path, name: str) -> Named:
    root = folder / name
    if not root.is_dir() and name == "val":
        root = folder / "validation"
    if not root.is_dir():
        raise UserError(f"{folder} lacks the folder {name}. Wanted: {MINI_IMAGENET.wanted}.")
    return [
        (path, inside.name)
        for inside in sorted(root.iterdir())
        if inside.is_dir()
        for path in sorted(inside.iterdir())
        if path.suffix.lower() in SUFFIXES
    ]


def _check_counts(place: str, images: Named, classes: int, per_class: int) -> None:
    counts: dict[str, int] = {}
    for _, name in images:
        counts[name] = counts.get(name, 0) + 1
    if len(counts) != classes:
        raise UserError(f"{place} has {len(counts)} classes; the published split has {classes}.")
    for name, count in counts.items():
        if count != per_class:
            raise UserError(
                f"{place} has {count} images of the class {name}; the published split has "
                f"{per_class} of each."
            )
    if len({path for path, _ in images}) != len(images):
        raise UserError(f"{place} names an image twice.")


def _examples(images: Named) -> Examples:
    encoded: Iterable[bytes] = ordered_map(_encode, [path for path, _ in images])
    for (path, name), image in zip(images, encoded, strict=True):
        yield f"{name}/{path.name}", {"image": image, "label": name}


def _encode(path: Path) -> bytes:
    with reading(path), Image.open(path) as picture:
        converted = picture.convert("RGB")
    if converted.size != (SIDE, SIDE):
        converted = converted.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return png.encode_picture(converted)


MINI_IMAGENET = OriginalSet(
    name="mini_imagenet",
    version=VERSIONS["mini_imagenet"],
    description=(
        "100 classes of ImageNet with 600 images each, 64 for training, 16 for validation, 20 for "
        "testing (Ravi and Larochelle 2017). Images are resized to 84x84 by Pillow's Lanczos "
        "filter without regard to their aspect ratio."
    ),
    homepage="https://github.com/twitter-research/meta-learning-lstm",
    wanted=(
        "train.csv, val.csv and test.csv beside a folder named images, or folders named train, val "
        "and test with one folder per class"
    ),
    read=partial(read, classes={"train": 64, "validation": 16, "test": 20}, per_class=600),
)
