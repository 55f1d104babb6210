"""Writing files so that a reader never meets half of one."""

import contextlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_PASSING = re.compile(r"\..+\.[0-9a-f]{8}\.tmp(\.[^.]+)?")
"""The passing names of `atomic_path`."""


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Lets the caller write a file under a passing name, then moves it to `path` in one step.

    The passing name lies in the same directory and has the same suffix, since some writers choose
    the format by it. If the caller raises, `path` stays as it was.

    Args:
        path: Where the file goes; its directory exists. A file that is there is replaced.

    Yields:
        The name to write to.

    Raises:
        OSError: The file cannot be written or moved.
    """
    path = Path(path)
    passing = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        with naming(path):
            yield passing
            flush_to_disk(passing)
            os.replace(passing, path)
    finally:
        passing.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Gives an OSError of the block the path it is about: a file that is open names none."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def remove_passing(directory: Path) -> None:
    """Removes what killed writers of `atomic_path` left behind; call it where none is at work."""
    for path in directory.glob(".*.tmp*"):
        if _PASSING.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a UTF-8 text file atomically; raises OSError if it cannot."""
    with atomic_path(path) as passing:
        passing.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a value as an indented JSON file atomically.

    Raises:
        OSError: The file cannot be written.
        TypeError: The value holds something that JSON has no word for.
    """
    write_text(path, to_json(value, indent=2) + "\n")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Valid JSON for a value of mappings, sequences, arrays, paths and scalars.

    NaN and infinities, which JSON does not have, become null.

    Raises:
        TypeError: The value holds something else.
    """
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # arrays and their scalars, without importing NumPy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def flush_to_disk(path: Path) -> None:
    """Waits until a written file is on the disk.

    Without it a crash of the machine may leave a renamed file's new name with nothing in it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
