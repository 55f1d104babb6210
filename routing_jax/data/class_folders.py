"""Image sets as folders of classes, the layout that ImageNet is usually kept in.

`<folder>/train/<class>/<image>`, and what is tested on in `test`, `val` or `validation` likewise.
With one level more, `train/<superclass>/<class>/<image>`, each superclass can be a task.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from routing_jax.data import progress
from routing_jax.data.image_files import read_header, read_image
from routing_jax.data.labelled_images import LabelledImages
from routing_jax.data.sources import Say
from routing_jax.data.stored_images import StoredImages
from routing_jax.errors import UserError

_TESTED = ("test", "val", "validation")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_LAYOUT = (
    "Needed are <folder>/train/<class>/<image> and <folder>/val/<class>/<image> (or test, or "
    "validation), images being .jpg, .jpeg or .png; name another folder with --config.data.dir=DIR."
)

Listing = dict[str, list[str]]
"""The image files of each class, by its name: `<class>`, or `<superclass>/<class>`."""


@dataclass(frozen=True)
class Files:
    """A `stored_images.Store` of image files."""

    shape: tuple[int, int, int]
    folder: Path
    names: np.ndarray
    """bytes [M], below the folder: a million of them take a third of what strings would."""

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """See `Store.read`."""
        *size, channels = self.shape
        found = np.empty((len(numbers), *self.shape), np.uint8)
        for place, name in enumerate(self.names[numbers]):
            found[place] = read_image(self.folder / os.fsdecode(name), tuple(size), channels)
        return found


def open_class_folders(folder: Path, *, side: int, say: Say) -> dict[str, LabelledImages]:
    """The splits "train" and "test" of a folder of classes; no image is read.

    Classes are the folders of both splits in alphabetical order.

    Args:
      folder: its name names the set.
      side: images are scaled to so many pixels in height and width; 0 leaves them as they are,
        and all must then be alike.
      say: receives progress lines while sizes are compared.

    Raises:
      UserError: there are no such folders, or images of different sizes and no `side`.
    """
    folder = folder.expanduser()
    places = {"train": folder / "train", "test": _tested(folder)}
    listings = {split: _listing(place) for split, place in places.items()}
    names = tuple(sorted(set().union(*listings.values())))
    if len({"/" in name for name in names}) > 1:
        raise UserError(
            f"data.dir = {folder}: some classes are folders of images and some are folders of "
            f"folders, such as {names[0]} and {names[-1]}. {_LAYOUT}"
        )
    files = {split: _names(place.name, listings[split]) for split, place in places.items()}
    shape = _shape(folder, np.concatenate(list(files.values())), side, say)
    return {
        split: LabelledImages(
            folder.resolve().name,
            StoredImages(Files(shape, folder, files[split]), np.arange(len(files[split]))),
            np.repeat(
                np.arange(len(names), dtype=np.int32),
                [len(listings[split].get(name, ())) for name in names],
            ),
            names,
            **_superclasses(names),
        )
        for split in places
    }


def _tested(folder: Path) -> Path:
    for name in _TESTED:
        if (folder / name).is_dir():
            return folder / name
    raise UserError(
        f"data.dir = {folder} is no folder of classes: it holds none of {', '.join(_TESTED)}. "
        f"{_LAYOUT}"
    )


def _listing(place: Path) -> Listing:
    """The files of each class of a split."""
    if not place.is_dir():
        raise UserError(f"data.dir = {place.parent} is no folder of classes: no train. {_LAYOUT}")
    found: Listing = {}
    for name in _folders(place):
        for path in [name, *(f"{name}/{inner}" for inner in _folders(place / name))]:
            images = _images(place / path)
            if images:
                found[path] = images
    if not found:
        raise UserError(
            f"data.dir = {place.parent} is no folder of classes: no folder in {place.name} holds "
            f"an image. {_LAYOUT}"
        )
    return found


def _folders(place: Path) -> list[str]:
    with os.scandir(place) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def _images(place: Path) -> list[str]:
    with os.scandir(place) as entries:
        return sorted(e.name for e in entries if e.name.lower().endswith(_SUFFIXES))


def _names(split: str, listing: Listing) -> np.ndarray:
    """The files of a split, class by class: bytes [M]."""
    return np.array(
        [
            os.fsencode(f"{split}/{name}/{image}")
            for name, images in sorted(listing.items())
            for image in images
        ]
    )


def _shape(folder: Path, names: np.ndarray, side: int, say: Say) -> tuple[int, int, int]:
    """The shape that all images are read in; grey if the first one is."""
    first = folder / os.fsdecode(names[0])
    height, width, channels = read_header(first)
    if side:
        return side, side, channels
    report = progress.lines(say)
    for number, name in enumerate(names, 1):
        path = folder / os.fsdecode(name)
        other = read_header(path)[:2]
        if other != (height, width):
            raise UserError(
                f"{path} has {other[0]}x{other[1]} pixels, {first} {height}x{width}: set "
                "data.image_size to the side that all images are to be scaled to."
            )
        report(f"comparing sizes of {folder.name}", number, len(names))
    return height, width, channels


def _superclasses(names: tuple[str, ...]) -> Mapping[str, object]:
    """The fields of `LabelledImages` about superclasses, if there are any."""
    if "/" not in names[0]:
        return {}
    own = [name.partition("/")[0] for name in names]
    found = sorted(set(own))
    return {
        "superclass_of_class": np.array([found.index(name) for name in own], np.int32),
        "superclass_names": tuple(found),
    }
