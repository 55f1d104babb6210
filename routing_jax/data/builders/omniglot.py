"""Omniglot from its two zip files."""

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
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
from routing_jax.data.download import RemoteFile
from routing_jax.data.versions import VERSIONS
from routing_jax.errors import UserError

SIDE = 105
DRAWERS = 20
FILES = {"train": "images_background.zip", "test": "images_evaluation.zip"}
SMALL = {
    "small1": ("Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"),
    "small2": ("Greek", "Japanese_(katakana)", "Latin", "Sanskrit", "Tagalog"),
}
"""The alphabets of the two smaller training sets, which are parts of the large one."""

_MEMBER = re.compile(
    r"images_\w+/(?P<alphabet>[^/]+)/character(?P<character>\d+)/"
    r"(?P<label>\d{4})_(?P<drawer>\d\d)\.png"
)
"""As in images_background/Greek/character01/0394_01.png; all numbers count from 1."""


@dataclass(frozen=True)
class Drawing:
    """One image in a zip file."""

    member: str
    alphabet: str
    character: int
    """Its number in the alphabet, counted from 0."""
    label: int
    """The number of its character among all characters, counted from 0."""
    drawer: int
    """Who drew it, counted from 1."""

    @property
    def key(self) -> str:
        """As TFDS makes it, so that the images come in TFDS's order."""
        return f"{self.alphabet}_{self.character}_{Path(self.member).name}"

    @property
    def character_name(self) -> str:
        """As TFDS names it."""
        return f"{self.alphabet}_{self.character}"


def read(
    folder: Path,
    *,
    alphabets: dict[str, int],
    characters: dict[str, int],
    small: dict[str, Sequence[str]] = SMALL,
) -> Contents:
    """Reads and checks the two zip files; the two small sets are parts of the first.

    Args:
        folder: Where they lie.
        alphabets: Published number of alphabets, per split.
        characters: Published number of characters, per split.
        small: The alphabets of the small sets.

    Raises:
        UserError: A file is missing, damaged or not the published one.
    """
    import tensorflow_datasets as tfds

    archives = dict(zip(FILES, require_files(folder, list(FILES.values())), strict=True))
    drawings = {split: _list_drawings(archive) for split, archive in archives.items()}
    for split, found in drawings.items():
        _check_counts(archives[split], found, alphabets[split], characters[split])
    everything = [drawing for found in drawings.values() for drawing in found]
    splits = {split: _split(archives[split], found) for split, found in drawings.items()}
    for split, names in small.items():
        part = [drawing for drawing in drawings["train"] if drawing.alphabet in names]
        splits[split] = _split(archives["train"], part)
    features = {
        "image": tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="png"),
        "alphabet": tfds.features.ClassLabel(names=sorted({d.alphabet for d in everything})),
        "alphabet_char_id": tfds.features.Tensor(shape=(), dtype=np.int64),
        "label": tfds.features.ClassLabel(names=_character_names(folder, everything)),
    }
    return Contents(features, splits)


def _list_drawings(archive: Path) -> list[Drawing]:
    with reading(archive), zipfile.ZipFile(archive) as members:
        matches = [match for match in map(_MEMBER.fullmatch, members.namelist()) if match]
    return [
        Drawing(
            member=match.string,
            alphabet=match["alphabet"],
            character=int(match["character"]) - 1,
            label=int(match["label"]) - 1,
            drawer=int(match["drawer"]),
        )
        for match in matches
    ]


def _check_counts(archive: Path, drawings: list[Drawing], alphabets: int, characters: int) -> None:
    """Each character must be there once from each of the twenty drawers."""
    found = len({drawing.alphabet for drawing in drawings})
    if found != alphabets:
        raise UserError(f"{archive} holds {found} alphabets; the published set has {alphabets}.")
    drawers: dict[int, set[int]] = {}
    for drawing in drawings:
        drawers.setdefault(drawing.label, set()).add(drawing.drawer)
    if len(drawers) != characters:
        raise UserError(
            f"{archive} holds {len(drawers):,} characters; the published set has {characters:,}."
        )
    everyone = set(range(1, DRAWERS + 1))
    for label, found in drawers.items():
        if found != everyone:
            raise UserError(
                f"{archive} holds {len(found & everyone)} drawings of character {label + 1:04d}; "
                f"the published set has {DRAWERS} of each."
            )


def _character_names(folder: Path, drawings: list[Drawing]) -> list[str]:
    """The name of each label. Labels must be contiguous, and each belong to one character."""
    names: dict[int, str] = {}
    for drawing in drawings:
        if names.setdefault(drawing.label, drawing.character_name) != drawing.character_name:
            raise UserError(
                f"{folder}: the number {drawing.label + 1:04d} stands for two characters, "
                f"{names[drawing.label]} and {drawing.character_name}."
            )
    if sorted(names) != list(range(len(names))):
        raise UserError(f"{folder}: the numbers of the characters have gaps.")
    return [names[label] for label in range(len(names))]


def _split(archive: Path, drawings: list[Drawing]) -> Split:
    return Split(len(drawings), partial(_examples, archive, drawings))


def _examples(archive: Path, drawings: list[Drawing]) -> Examples:
    with zipfile.ZipFile(archive) as members:
        for drawing in drawings:
            with reading(archive / drawing.member):
                picture = Image.open(io.BytesIO(members.read(drawing.member)))
                # The originals have one bit per pixel. TFDS's reader without OpenCV would make 0
                # and 1 of it, where the one with OpenCV, like TensorFlow, makes 0 and 255.
                converted = picture.convert("RGB")
            if picture.size != (SIDE, SIDE):
                raise UserError(
                    f"{archive / drawing.member} is {picture.width}x{picture.height} pixels large; "
                    f"the published images are {SIDE}x{SIDE}."
                )
            example = {
                "image": png.encode_picture(converted),
                "alphabet": drawing.alphabet,
                "alphabet_char_id": drawing.character,
                "label": drawing.label,
            }
            yield drawing.key, example


_BASE = "https://github.com/brendenlake/omniglot/"

OMNIGLOT = OriginalSet(
    name="omniglot",
    version=VERSIONS["omniglot"],
    description=(
        "Omniglot data set for one-shot learning. This dataset contains 1623 different\n"
        "handwritten characters from 50 different alphabets."
    ),
    homepage=_BASE,
    citation="""@article{lake2015human,
  title={Human-level concept learning through probabilistic program induction},
  author={Lake, Brenden M and Salakhutdinov, Ruslan and Tenenbaum, Joshua B},
  journal={Science},
  volume={350},
  number={6266},
  pages={1332--1338},
  year={2015},
  publisher={American Association for the Advancement of Science}
}""",
    release_notes={"3.0.0": "New split API (https://tensorflow.org/datasets/splits)"},
    wanted=", ".join(FILES.values()),
    read=partial(
        read,
        alphabets={"train": 30, "test": 20},
        characters={"train": 964, "test": 659},
    ),
    downloads=(
        RemoteFile(
            f"{_BASE}raw/master/python/images_background.zip",
            9464212,
            "sha256",
            "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
        ),
        RemoteFile(
            f"{_BASE}raw/master/python/images_evaluation.zip",
            6462886,
            "sha256",
            "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
        ),
    ),
)
