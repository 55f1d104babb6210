"""MNIST and Fashion-MNIST from their IDX files."""

import gzip
import math
import struct
from collections.abc import Sequence
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
    require_files,
)
from routing_jax.data.download import RemoteFile
from routing_jax.data.versions import VERSIONS
from routing_jax.errors import UserError

SIDE = 28
FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
_ALL_FILES = [name for names in FILES.values() for name in names]
_UNSIGNED_BYTES = 8
"""The code of the element type in the header of an IDX file."""


def read(
    folder: Path,
    *,
    class_counts: dict[str, Sequence[int]],
    class_names: Sequence[str] | None = None,
) -> Contents:
    """Reads and checks the four IDX files.

    Args:
        folder: Where they lie.
        class_counts: Published number of images of each class, per split.
        class_names: Names of the classes; None where TFDS has numbers.

    Raises:
        UserError: A file is missing, damaged or not the published one.
    """
    import tensorflow_datasets as tfds

    require_files(folder, _ALL_FILES)
    splits = {split: _split(folder, split, counts) for split, counts in class_counts.items()}
    known = {"names": class_names} if class_names else {"num_classes": 10}
    features = {
        "image": tfds.features.Image(shape=(SIDE, SIDE, 1)),
        "label": tfds.features.ClassLabel(**known),
    }
    return Contents(features, splits)


def _split(folder: Path, split: str, counts: Sequence[int]) -> Split:
    image_file, label_file = (folder / name for name in FILES[split])
    size = sum(counts)
    labels = _read_idx(label_file, (size,))
    check_class_counts(label_file, labels, counts)
    images = _read_idx(image_file, (size, SIDE, SIDE))
    return Split(size, partial(_examples, images, labels))


def _examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield row, {"image": png.encode(image[..., None]), "label": int(label)}


def _read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A uint8 array from a compressed IDX file whose shape is known."""
    with reading(path):
        content = gzip.decompress(path.read_bytes())
        zero, kind, rank = struct.unpack_from(">HBB", content)
        if (zero, kind) != (0, _UNSIGNED_BYTES):
            raise ValueError("it is no IDX file of bytes")
        found = struct.unpack_from(f">{rank}I", content, 4)
    start = 4 + 4 * rank
    if found != shape or len(content) - start != math.prod(shape):
        raise UserError(
            f"{path} says it has the shape {found} and holds {len(content) - start:,} bytes; "
            f"wanted is the shape {shape}."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _remote(base: str, checksums: Sequence[tuple[int, str]]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(base + name, size, "sha256", digest)
        for name, (size, digest) in zip(_ALL_FILES, checksums, strict=True)
    )


MNIST = OriginalSet(
    name="mnist",
    version=VERSIONS["mnist"],
    description="The MNIST database of handwritten digits.",
    homepage="http://yann.lecun.com/exdb/mnist/",
    citation="""@article{lecun2010mnist,
  title={MNIST handwritten digit database},
  author={LeCun, Yann and Cortes, Corinna and Burges, CJ},
  journal={ATT Labs [Online]. Available: http://yann.lecun.com/exdb/mnist},
  volume={2},
  year={2010}
}""",
    wanted=", ".join(_ALL_FILES),
    read=partial(
        read,
        class_counts={
            "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
            "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        },
    ),
    downloads=_remote(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        [
            (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ],
    ),
)

FASHION_MNIST = OriginalSet(
    name="fashion_mnist",
    version=VERSIONS["fashion_mnist"],
    description="Zalando's article images: 60,000 + 10,000 grey images of ten classes of clothing.",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    citation="""@article{DBLP:journals/corr/abs-1708-07747,
  author    = {Han Xiao and Kashif Rasul and Roland Vollgraf},
  title     = {Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
               Algorithms},
  journal   = {CoRR},
  volume    = {abs/1708.07747},
  year      = {2017}
}""",
    wanted=", ".join(_ALL_FILES),
    read=partial(
        read,
        class_counts={"train": (6000,) * 10, "test": (1000,) * 10},
        class_names=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
    downloads=_remote(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        [
            (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ],
    ),
)
