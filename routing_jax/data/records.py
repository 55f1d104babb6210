"""Prepared TFDS sets whose images stay in their files: only labels are read at the start."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from routing_jax.data import cache, sources
from routing_jax.data.labelled_images import LabelledImages
from routing_jax.data.prepared import open_prepared
from routing_jax.data.sources import Say
from routing_jax.data.stored_images import StoredImages
from routing_jax.errors import UserError


@dataclass(frozen=True)
class Records:
    """A `stored_images.Store` of the images of a split."""

    shape: tuple[int, int, int]
    folder: Path
    records: Any
    """TFDS's reader of serialised examples."""
    decode: Callable[[bytes], np.ndarray]
    as_read: Callable[[np.ndarray], np.ndarray]

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """See `Store.read`."""
        try:
            found = _values(self.records.__getitems__(numbers.tolist()), "image")
            images = np.stack([self.decode(image) for image in found])
        except Exception as error:  # the readers raise anything from KeyError to SystemError
            raise sources.damaged(self.folder, error) from error
        return self.as_read(images)


def decoded_bytes(folder: Path, *, side: int) -> int:
    """What the images of a prepared set take in memory; 0 where that cannot be told.

    Args:
      folder: the version directory.
      side: of the images as they would be kept; 0 as stored.
    """
    try:
        info = json.loads((folder / "dataset_info.json").read_text("utf-8"))
        features = json.loads((folder / "features.json").read_text("utf-8"))
        image = features["featuresDict"]["features"]["image"]["image"]
        *size, channels = map(int, image["shape"]["dimensions"])
        images = sum(int(n) for split in info["splits"] for n in split["shardLengths"])
    except (OSError, ValueError, KeyError, TypeError):  # reading it will tell what is wrong
        return 0
    return images * channels * (side**2 if side else math.prod(size))


def open_records(
    name: str, folder: Path, *, cache_dir: str, say: Say, image_size: int = 0
) -> dict[str, LabelledImages]:
    """As `sources.read_prepared`, of sets that have the splits "train" and "test", but no image is
    read. Labels take one pass over the files; they are kept in the cache.

    Raises:
      UserError: the set is damaged, incomplete, closed, or has other features.
    """
    sources.require_readable(folder)
    try:
        arrays = _labels(name, folder, cache_dir, say)
        stores = _stores(name, folder, image_size)
    except (UserError, ImportError):  # an ImportError is a fault of the installation
        raise
    except Exception as error:  # the readers raise anything from KeyError to SystemError
        raise sources.damaged(folder, error) from error
    for split, store in stores.items():
        images = StoredImages(store, np.arange(len(arrays[f"{split}_labels"])))
        arrays[f"{split}_images"] = images
    return {split: sources.labelled(name, folder, arrays, split) for split in sources.SPLITS}


def _labels(name: str, folder: Path, cache_dir: str, say: Say) -> dict[str, Any]:
    """The labels of both splits, named as in the cache."""
    columns = {c: f for c, f in sources.columns_of(name).items() if c != "images"}
    wanted = {f"{split}_{column}" for split in sources.SPLITS for column in columns}
    key = cache.fingerprint(name, folder)
    for entry in (key, f"{key}-labels"):  # with the images, or alone
        stored = cache.load(cache_dir, entry) or {}
        if wanted <= stored.keys():
            return {column: stored[column] for column in wanted}
    found: dict[str, np.ndarray] = {}
    builder = open_prepared(folder)
    for split in sources.SPLITS:
        records = _records(builder, split)
        parts: dict[str, list[int]] = {column: [] for column in columns}
        for examples, done in sources.slices(records):
            for column, feature in columns.items():
                parts[column] += _values(examples, feature)
            if done % 10_000 == 0 or done == len(records):
                say(f"reading labels of {name} {split}: {done:,} of {len(records):,}")
        found |= {f"{split}_{column}": np.int32(part) for column, part in parts.items()}
    return dict(cache.save(cache_dir, f"{key}-labels", found, say))


def _stores(name: str, folder: Path, side: int) -> dict[str, Records]:
    as_read = partial(sources.as_read, features=sources.TFDS_SETS[name], image_size=side)
    builder = open_prepared(folder)
    decode = builder.info.features["image"].decode_example_np
    stores = {}
    for split in sources.SPLITS:
        records = _records(builder, split)
        first = as_read(decode(_values([records[0]], "image")[0])[None])
        stores[split] = Records(first.shape[1:], folder, records, decode, as_read)
    return stores


def _records(builder: Any, split: str) -> Any:
    """TFDS's reader of a split, which neither parses nor decodes."""
    import tensorflow_datasets as tfds

    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    return builder.as_data_source(split=split, deserialize_method=raw)


def _values(records: Sequence[bytes], feature: str) -> list[Any]:
    """The value of a feature in each of some serialised examples: a number, or bytes."""
    from tensorflow_datasets.proto import tf_example_pb2

    found = [tf_example_pb2.Example.FromString(record).features.feature for record in records]
    kind = found[0][feature].WhichOneof("kind")
    return [getattr(features[feature], kind).value[0] for features in found]
