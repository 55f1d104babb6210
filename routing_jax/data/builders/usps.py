"""USPS digits from the text files of "The Elements of Statistical Learning", or from LIBSVM's."""

import bz2
import gzip
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from routing_jax.data.builders import png
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

SIDE = 16
_PIXELS = SIDE * SIDE
TEXT = {"train": "zip.train.gz", "test": "zip.test.gz"}
LIBSVM = {"train": "usps.bz2", "test": "usps.t.bz2"}


def read(folder: Path, *, class_counts: dict[str, Sequence[int]]) -> Contents:
    """Reads and checks one of the two pairs of files.

    Both hold the same grey levels from -1 (paper) to 1 (ink), which become 0 to 255.

    Args:
        folder: Where they lie.
        class_counts: Published number of images of each digit, per split.

    Raises:
        UserError: A file is missing, damaged or not the published one.
    """
    import tensorflow_datasets as tfds

    names, parse = _find(folder)
    splits = {
        split: _split(folder / names[split], parse, counts)
        for split, counts in class_counts.items()
    }
    features = {
        "image": tfds.features.Image(shape=(SIDE, SIDE, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
    }
    return Contents(features, splits)


Parse = Callable[[Path], tuple[np.ndarray, np.ndarray]]
"""From a file to digits [N] and grey levels [N, 256]."""


def _find(folder: Path) -> tuple[dict[str, str], Parse]:
    for names, parse in ((TEXT, _parse_text), (LIBSVM, _parse_libsvm)):
        if all((folder / name).is_file() for name in names.values()):
            return names, parse
    raise UserError(f"{folder} has neither pair of original files. Wanted: {USPS.wanted}.")


def _split(path: Path, parse: Parse, counts: Sequence[int]) -> Split:
    with reading(path):
        digits, levels = parse(path)
    check_class_counts(path, digits, counts)
    if not (np.abs(levels) <= 1).all():
        raise UserError(f"{path} has grey levels outside of [-1, 1]: it is another set.")
    images = np.rint((levels + 1) * 127.5).astype(np.uint8).reshape(-1, SIDE, SIDE, 1)
    return Split(digits.size, partial(_examples, images, digits))


def _examples(images: np.ndarray, digits: np.ndarray) -> Examples:
    for row, (image, digit) in enumerate(zip(images, digits, strict=True)):
        yield row, {"image": png.encode(image), "label": int(digit)}


def _parse_text(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Lines of a digit and 256 grey levels."""
    with gzip.open(path) as lines:
        table = np.loadtxt(lines, ndmin=2)
    return table[:, 0].astype(np.int64), table[:, 1:].reshape(-1, _PIXELS)


def _parse_libsvm(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Lines of the digit plus 1 and of position:level pairs; a level that is left out is 0."""
    lines = bz2.decompress(path.read_bytes()).split(b"\n")
    rows = [line.split() for line in lines if line.strip()]
    levels = np.zeros((len(rows), _PIXELS))
    for row, (_, *pairs) in zip(levels, rows, strict=True):
        for pair in pairs:
            position, _, level = pair.partition(b":")
            row[int(position) - 1] = float(level)
    return np.array([int(float(row[0])) - 1 for row in rows]), levels


_BASE = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"

USPS = OriginalSet(
    name="usps",
    version=VERSIONS["usps"],
    description="USPS handwritten digits (7291 train, 2007 test), grey 16x16, ink is bright.",
    homepage="https://hastie.su.domains/ElemStatLearn/datasets/zip.info.txt",
    wanted="zip.train.gz and zip.test.gz, or usps.bz2 and usps.t.bz2 (LIBSVM)",
    read=partial(
        read,
        class_counts={
            "train": (1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644),
            "test": (359, 264, 198, 166, 200, 160, 170, 147, 166, 177),
        },
    ),
    # Of the other pair no checksum is published.
    downloads=(
        RemoteFile(_BASE + "usps.bz2", None, "md5", "ec16c51db3855ca6c91edd34d0e9b197"),
        RemoteFile(_BASE + "usps.t.bz2", None, "md5", "8ea070ee2aca1ac39742fdd1ef5ed118"),
    ),
)
