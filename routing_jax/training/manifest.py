"""What a checkpoint holds, written beside it, so that damage is seen before anything is loaded.

Orbax notices most damage, but not a changed byte among the numbers of an array, and it tells what
it notices by whatever its storage layers raise, some of it from threads behind its back.
"""

import json
import zlib
from pathlib import Path
from typing import Any

from routing_jax.files import to_json
from routing_jax.reporting.provenance import program_version

_NAME = "manifest.json"
_READ_AT_ONCE = 2**20


class DamagedError(Exception):
    """A checkpoint is not as it was written; the message says where."""


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Writes the content, and size and checksum of every file of the folder, to `manifest.json`.

    Args:
      folder: of a checkpoint that is complete but for its manifest.
      content: anything JSON can hold.

    Raises:
      OSError: a file cannot be read or written.
    """
    text = to_json({"content": content, "files": _files(folder)})
    # Not atomically: the folder itself is still under a passing name.
    (folder / _NAME).write_text(f"{_word(zlib.crc32(text.encode()))}\n{text}", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The content of a checkpoint's manifest, if every file is as it was written.

    Raises:
      DamagedError: a file is missing, cut off or changed.
    """
    try:
        checksum, _, text = (folder / _NAME).read_bytes().partition(b"\n")
        if _word(zlib.crc32(text)).encode() != checksum:
            raise DamagedError(f"{_NAME} was cut off or changed")
        manifest = json.loads(text)
        found = _files(folder)
    except OSError as error:
        raise DamagedError(f"{Path(error.filename).name}: {error.strerror}") from error
    for name, (size, checksum) in manifest["files"].items():
        _compare(name, size, checksum, found.get(name))
    return manifest["content"]


def newest_version(directory: Path) -> str | None:
    """The version of the program that saved the newest of some checkpoints; None if not known.

    Args:
      directory: of the checkpoints; need not exist.
    """
    steps = (int(path.name) for path in directory.glob("*") if path.name.isdecimal())
    newest = directory / str(max(steps, default="")) / _NAME
    try:
        return json.loads(newest.read_bytes().partition(b"\n")[2])["content"].get("version")
    except (OSError, ValueError, KeyError):
        return None


def told_version(then: str | None) -> str:
    """Says that another version of the program saved something; "" for this one or none."""
    now = program_version()
    if then in (None, now):
        return ""
    return f"It was saved by routing_jax {then}, and this is routing_jax {now}."


def _compare(name: str, size: int, checksum: str, found: tuple[int, str] | None) -> None:
    if found is None:
        raise DamagedError(f"{name} is missing")
    if found[0] != size:
        raise DamagedError(f"{name} has {found[0]:,} bytes of {size:,}")
    if found[1] != checksum:
        raise DamagedError(f"{name} was changed")


def _files(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and checksum of every file but the manifest, by its name below the folder."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != _NAME]
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, _checksum(path))
        for path in paths
    }


def _checksum(path: Path) -> str:
    value = 0
    with path.open("rb") as file:
        while part := file.read(_READ_AT_ONCE):
            value = zlib.crc32(part, value)
    return _word(value)


def _word(checksum: int) -> str:
    return f"{checksum:08x}"
