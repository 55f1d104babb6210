"""Decoded arrays of a prepared data set, kept memory-mapped so that a second start is immediate."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

_FORMAT = 1
"""Raised when what is stored changes, so that older entries are not read."""


def user_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/routing_jax`, or `~/.cache/routing_jax`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "routing_jax"


def fingerprint(name: str, folder: Path) -> str:
    """A name for the decoded arrays of a prepared set that changes when its files change."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    text = repr((_FORMAT, str(folder.resolve()), stats))
    return f"{name}-{folder.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def load(cache_dir: str, key: str) -> dict[str, np.ndarray] | None:
    """Memory-maps the arrays stored under `key`; None if there are none that can be read."""
    folder = _entry(cache_dir, key)
    try:
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    except (OSError, ValueError, EOFError):  # cut off, empty or not ours: decode again
        return None
    return arrays or None


def save(
    cache_dir: str, key: str, arrays: dict[str, np.ndarray], say: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """Stores arrays under `key` and returns them memory-mapped.

    The entry appears whole or not at all: it is written beside its place and renamed. Where the
    cache cannot be written the arrays are returned as they are and the run goes on.
    """
    entry = _entry(cache_dir, key)
    scratch = None
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{key}-"))
        for name, array in arrays.items():
            np.save(scratch / f"{name}.npy", array)
        if entry.exists():  # an entry that `load` could not read
            shutil.rmtree(entry)
        scratch.rename(entry)
    except OSError as error:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        if not entry.exists():  # it exists if another run was faster
            say(f"decoded images are not cached: {error}")
        return arrays
    return load(cache_dir, key) or arrays


def _entry(cache_dir: str, key: str) -> Path:
    return (Path(cache_dir).expanduser() if cache_dir else user_cache_dir() / "data") / key
