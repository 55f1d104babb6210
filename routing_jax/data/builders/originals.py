"""What a set is before it is prepared: its files, its TFDS form, and checks of what was found."""

import contextlib
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from routing_jax.data.download import RemoteFile
from routing_jax.errors import UserError

Examples = Iterator[tuple[int | str, dict[str, Any]]]
"""Unique keys, by whose hash TFDS shuffles, with examples; an image is given as PNG bytes."""

_DAMAGE = (
    *(OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile),
    *(pickle.UnpicklingError, struct.error, ValueError, KeyError, IndexError, TypeError),
    *(OverflowError, SyntaxError),  # NumPy of large labels, Pillow of a broken PNG file
)
"""What the readers of the standard library and NumPy raise on a cut or damaged file."""


@dataclass(frozen=True)
class Split:
    """The examples of one split."""

    size: int
    examples: Callable[[], Examples]


@dataclass(frozen=True)
class Contents:
    """The checked contents of a set's original files."""

    features: dict[str, Any]
    """TFDS feature connectors by name."""
    splits: dict[str, Split]


@dataclass(frozen=True)
class OriginalSet:
    """A set as its authors publish it, and the TFDS set that is made of it."""

    name: str
    version: str
    description: str
    homepage: str
    read: Callable[[Path], Contents]
    """Checks the original files in a directory; raises UserError for what is wrong with them."""
    wanted: str
    """The original files, in words, as they are to be found in a directory."""
    downloads: tuple[RemoteFile, ...] = ()
    """The files to download; empty where the set may not be passed on."""
    citation: str = ""
    release_notes: dict[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Says of anything that goes wrong inside that `path` is damaged.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        yield
    except _DAMAGE as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {error}). It is damaged, incomplete "
            "or another file under this name: get it again."
        ) from error


def require_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of these names in the directory.

    Raises:
        UserError: Some of them are missing.
    """
    paths = [folder / name for name in names]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            f"{folder} lacks {', '.join(missing)}. Wanted are the original files "
            f"{', '.join(names)}."
        )
    return paths


def check_class_counts(path: Path, labels: np.ndarray, expected: Sequence[int]) -> None:
    """Checks how many examples of each class there are.

    Args:
        path: The file that the labels come from, for the message.
        labels: Integers, one per example.
        expected: The published count of each class.

    Raises:
        UserError: They differ.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() < len(expected):
        raise UserError(
            f"{path} has labels from {labels.min()} to {labels.max()}; they should be from 0 to "
            f"{len(expected) - 1}."
        )
    found = np.bincount(labels, minlength=len(expected))
    for label in np.flatnonzero(found != expected)[:1]:
        raise UserError(
            f"{path} has {found[label]:,} examples of class {label} where the published set has "
            f"{expected[label]:,}: it is incomplete or another set."
        )
