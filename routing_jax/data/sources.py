"""Labelled image sets: prepared TFDS sets read without TensorFlow, and the embedded digits."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from routing_jax.data import cache, mini_imagenet, omniglot
from routing_jax.data.labelled_images import LabelledImages
from routing_jax.data.prepared import open_prepared
from routing_jax.data.resizing import downsized
from routing_jax.errors import UserError

SPLITS = ("train", "test")
_READ_AT_ONCE = 1000
"""Examples decoded between two progress reports; the reader is fastest on whole slices."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Features:
    """Which features of a TFDS set hold what."""

    label: str = "label"
    superclass: str | None = None
    ink_on_paper: bool = False
    """Grey images stored as RGB, dark on white; they are read as one channel, bright on black."""
    splits: tuple[str, ...] = SPLITS
    """As stored."""
    regroup: Callable[[Mapping[str, LabelledImages]], dict[str, LabelledImages]] = dict
    """From the stored splits to train and test, where they are others."""


TFDS_SETS = {
    "mnist": _Features(),
    "fashion_mnist": _Features(),
    "usps": _Features(),
    "cifar100": _Features("label", "coarse_label"),
    "omniglot": _Features("label", "alphabet", ink_on_paper=True, regroup=omniglot.by_drawing),
    "mini_imagenet": _Features(
        splits=("train", "validation", "test"), regroup=mini_imagenet.in_groups
    ),
}


def read_prepared(
    name: str, folder: Path, *, cache_dir: str, say: Say, image_size: int = 0
) -> dict[str, LabelledImages]:
    """Reads a prepared TFDS set; decoded arrays come memory-mapped from the cache if they can.

    Args:
      name: TFDS name of the set.
      folder: the version directory, as `search.find_prepared` returns it.
      cache_dir: directory of the decoded arrays; "" for the user's cache directory.
      say: receives progress lines while the set is decoded.
      image_size: side of the images in pixels, no more than they have; 0 leaves them as stored.

    Returns:
      The splits "train" and "test". Of sets whose stored splits hold different classes they are
      made anew; see `omniglot` and `mini_imagenet`.

    Raises:
      UserError: the set is damaged, incomplete, closed, or has other features or smaller images.
    """
    require_readable(folder)
    key = cache.fingerprint(name, folder) + (f"-{image_size}" if image_size else "")
    stored = cache.load(cache_dir, key)
    if stored is None or stored.keys() != _stored_names(name):
        try:
            stored = _decode(name, folder, say, image_size)
        except (UserError, ImportError):  # an ImportError is a fault of the installation
            raise
        except Exception as error:  # the readers raise anything from KeyError to SystemError
            raise damaged(folder, error) from error
        stored = cache.save(cache_dir, key, stored, say)
    features = TFDS_SETS[name]
    return features.regroup(
        {split: labelled(name, folder, stored, split) for split in features.splits}
    )


def damaged(folder: Path, error: Exception) -> UserError:
    """The error of a prepared set whose reader raised another one."""
    return UserError(
        f"data: the prepared set in {folder} cannot be read ({type(error).__name__}: {error}). It "
        "is damaged or incomplete: delete it and prepare it again, or name another "
        "--config.data.dir."
    )


def embedded_digits() -> dict[str, LabelledImages]:
    """The 1,797 handwritten 8x8 digits that scikit-learn ships, split 1,437 / 360.

    The split is stratified by digit and fixed, so that every run sees the same test set. Grey
    levels 0..16 become 0..255.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = np.rint(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int32)
    rows = train_test_split(np.arange(labels.size), test_size=360, random_state=0, stratify=labels)
    names = tuple(str(digit) for digit in range(10))
    return {
        split: LabelledImages("digits", images[part], labels[part], names)
        for split, part in zip(SPLITS, rows, strict=True)
    }


def require_readable(folder: Path) -> None:
    """Opens every file of a set, as the reader of its records tells little of why it cannot.

    Raises:
      UserError: a file cannot be opened.
    """
    try:
        for path in folder.iterdir():
            if not path.is_dir():
                path.open("rb").close()
    except OSError as error:
        raise UserError(
            f"data: {error.filename} cannot be read: {error.strerror}. Mend that, or name another "
            "--config.data.dir."
        ) from error


def columns_of(name: str) -> dict[str, str]:
    """The feature of a TFDS set that each of our columns holds."""
    features = TFDS_SETS[name]
    columns = {"images": "image", "labels": features.label}
    return columns | ({"superclass_labels": features.superclass} if features.superclass else {})


def _stored_names(name: str) -> set[str]:
    """The arrays that the cache holds of a set; fewer if files were lost."""
    splits = TFDS_SETS[name].splits
    return {f"{split}_{column}" for split in splits for column in columns_of(name)}


def _decode(name: str, folder: Path, say: Say, image_size: int) -> dict[str, np.ndarray]:
    """Decodes all splits into plain arrays, named as the cache stores them."""
    columns = columns_of(name)
    builder = open_prepared(folder)
    arrays: dict[str, np.ndarray] = {}
    for split in TFDS_SETS[name].splits:
        source = builder.as_data_source(split=split)
        parts: dict[str, list[np.ndarray]] = {column: [] for column in columns}
        for examples, done in slices(source):
            for column, feature in columns.items():
                values = np.stack([example[feature] for example in examples])
                if column == "images":
                    values = as_read(values, TFDS_SETS[name], image_size)
                parts[column].append(values)
            if done % 10_000 == 0 or done == len(source):
                say(f"decoding {name} {split}: {done:,} of {len(source):,} images")
        arrays |= {f"{split}_{column}": np.concatenate(part) for column, part in parts.items()}
    return {
        key: value if key.endswith("_images") else value.astype(np.int32)
        for key, value in arrays.items()
    }


def as_read(images: np.ndarray, features: _Features, image_size: int) -> np.ndarray:
    """Images as they are kept."""
    if features.ink_on_paper:
        images = 255 - images[..., :1]
    return downsized(images, image_size) if image_size else images


def slices(source: object) -> Iterator[tuple[list[dict[str, np.ndarray]], int]]:
    """Decoded examples of a data source, some at a time, with the number reached."""
    total = len(source)
    for start in range(0, total, _READ_AT_ONCE):
        stop = min(start + _READ_AT_ONCE, total)
        yield source.__getitems__(range(start, stop)), stop


def labelled(name: str, folder: Path, arrays: dict[str, np.ndarray], split: str) -> LabelledImages:
    """A split of a prepared set, given the decoded arrays of all its splits.

    Args:
      name: of the set, one of `TFDS_SETS`.
      folder: where it is prepared, which has the names of its classes.
      arrays: by split and feature, such as `train_images` and `train_labels`.
      split: "train" or "test".
    """
    features = TFDS_SETS[name]
    found = LabelledImages(
        name,
        arrays[f"{split}_images"],
        arrays[f"{split}_labels"],
        _label_names(folder, features.label, arrays["train_labels"]),
    )
    if features.superclass is None:
        return found
    return replace(
        found,
        superclass_of_class=_superclass_of_class(arrays, len(found.class_names)),
        superclass_names=_label_names(
            folder, features.superclass, arrays["train_superclass_labels"]
        ),
    )


def _superclass_of_class(arrays: dict[str, np.ndarray], num_classes: int) -> np.ndarray:
    """One table for both splits, so that a task and its classes mean the same in both."""
    table = np.full(num_classes, -1, np.int32)
    for split in SPLITS:
        table[arrays[f"{split}_labels"]] = arrays[f"{split}_superclass_labels"]
    return table


def _label_names(folder: Path, feature: str, labels: np.ndarray) -> tuple[str, ...]:
    """Names that TFDS stores beside a set, or the numbers where it stores none."""
    path = folder / f"{feature}.labels.txt"
    if path.exists():
        return tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    return tuple(str(label) for label in range(int(labels.max()) + 1))
