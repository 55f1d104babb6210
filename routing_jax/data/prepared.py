"""Opens a prepared TFDS set that may come from anywhere: no code that it names is run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from routing_jax.errors import UserError

_CLASS_KEYS = ("pythonClassName", "python_class_name", "type", "proto_cls")
"""Under which features.json names classes, now and in earlier versions of TFDS."""
_FEATURES = "tensorflow_datasets.core.features."


def open_prepared(folder: Path) -> Any:
    """TFDS's reader of the prepared set in a version directory.

    TFDS imports whatever module features.json names, so only its own features are let through.

    Args:
        folder: `<data directory>/<name>/<version>`.

    Raises:
        UserError: The set names other classes, or is stored in a form that only TensorFlow reads.
        Exception: It is damaged; TFDS raises anything from KeyError to SystemError.
    """
    import tensorflow_datasets as tfds

    _require_array_record(folder)
    features = json.loads((folder / "features.json").read_text("utf-8"))
    for name in _class_names(features):
        if not name.startswith(_FEATURES):
            raise UserError(
                f"data: {folder}/features.json names {name!r}, which is none of TFDS's own "
                "features. Nothing of it was loaded; use a set that TFDS or python -m "
                "routing_jax.data.prepare has prepared."
            )
    return tfds.builder_from_directory(folder)


def _require_array_record(folder: Path) -> None:
    """Tells a whole set in TFDS's older format from a damaged one."""
    names = [path.name for path in folder.iterdir()]
    if any(".array_record" in name for name in names):
        return
    if any(".tfrecord" in name for name in names):
        raise UserError(
            f"data: the set in {folder} is stored as tfrecord, which is read by TensorFlow only; "
            "needed is array_record. Prepare it in another directory with python -m "
            f"routing_jax.data.prepare {folder.parent.name} --data_dir=DIR, and name that with "
            "--config.data.dir=DIR."
        )


def _class_names(value: object) -> Iterator[str]:
    """The classes named anywhere in the contents of features.json."""
    if isinstance(value, list):
        for child in value:
            yield from _class_names(child)
    elif isinstance(value, dict):
        for key, child in value.items():
            if key in _CLASS_KEYS and isinstance(child, str):
                yield child
            elif key == "json" and isinstance(child, str):  # in which a feature may be nested
                yield from _class_names(json.loads(child))
            else:
                yield from _class_names(child)
