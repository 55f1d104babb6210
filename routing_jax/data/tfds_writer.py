"""Writes a set in TFDS's format, whole or not at all, without TensorFlow."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from routing_jax.data.builders.originals import Contents, Examples, OriginalSet, Split
from routing_jax.data.prepared import open_prepared
from routing_jax.data.progress import Report
from routing_jax.errors import UserError
from routing_jax.files import flush_to_disk

_FILE_FORMAT = "array_record"
"""The format that TFDS reads without TensorFlow."""


def version_folder(original: OriginalSet, data_dir: Path) -> Path:
    """Where the prepared set belongs, as TFDS has it."""
    return data_dir / original.name / original.version


def write(original: OriginalSet, contents: Contents, data_dir: Path, *, report: Report) -> Path:
    """Writes a prepared set that `tfds.data_source` reads, and returns its directory.

    It is written into a hidden directory of `data_dir`, checked, and moved to its place in one
    step. What a killed preparation left in the hidden directory is removed by the next one. One
    process at a time may write a set.

    Args:
        original: Name, version and description.
        contents: Features and examples.
        data_dir: The TFDS data directory; it exists.
        report: Receives the images done.

    Raises:
        UserError: An original file is damaged.
        OSError: It cannot be written.
    """
    target = version_folder(original, data_dir)
    with _scratch(data_dir / f".preparing-{original.name}") as scratch:
        _generate(_make_builder(original, contents, scratch, report))
        written = version_folder(original, scratch)
        check(written, {name: split.size for name, split in contents.splits.items()})
        for path in written.iterdir():
            flush_to_disk(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(written, target)
    return target


def check(folder: Path, sizes: dict[str, int]) -> None:
    """Opens a prepared set and reads the first and the last example of each split.

    Raises:
        OSError: It is not whole.
        UserError: It is not of the kind that is written here.
    """
    try:
        builder = open_prepared(folder)
        for split, size in sizes.items():
            source = builder.as_data_source(split=split)
            if len(source) != size:
                raise OSError(f"the split {split} has {len(source):,} examples, not {size:,}")
            source.__getitems__([0, size - 1])
    except UserError:
        raise
    except Exception as error:  # the readers raise anything from KeyError to SystemError
        raise OSError(f"{folder} is not whole: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty directory, gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _generate(builder: Any) -> None:
    try:
        builder.download_and_prepare()
    except RuntimeError as error:  # in which form ArrayRecord passes on that the disk is full
        raise OSError(str(error)) from error


def _make_builder(original: OriginalSet, contents: Contents, data_dir: Path, report: Report) -> Any:
    import tensorflow_datasets as tfds

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """A builder under the name of TFDS's own, which the registry would refuse twice."""

        name = original.name
        VERSION = tfds.core.Version(original.version)
        RELEASE_NOTES = original.release_notes

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description=original.description,
                features=tfds.features.FeaturesDict(contents.features),
                supervised_keys=("image", "label"),
                homepage=original.homepage,
                citation=original.citation,
            )

        def _split_generators(self, _: object) -> dict[str, Examples]:
            return {
                name: _reported(split, f"writing {original.name} {name}", report)
                for name, split in contents.splits.items()
            }

        def _generate_examples(self) -> Examples:
            # Abstract in TFDS, but not called where the split generators give examples themselves.
            raise NotImplementedError("the splits bring their own examples")

        def _log_download_bytes(self) -> None:
            """Says nothing: TFDS would print that it downloads."""

        def _log_download_done(self) -> None:
            """Says nothing: TFDS would name the hidden directory."""

    tfds.disable_progress_bar()
    return Builder(data_dir=data_dir, file_format=_FILE_FORMAT)


def _reported(split: Split, activity: str, report: Report) -> Examples:
    for done, example in enumerate(split.examples(), start=1):
        yield example
        if done % 100 == 0 or done == split.size:
            report(activity, done, split.size)
