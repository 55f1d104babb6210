"""Labelled images made up for a test, and tiny prepared TFDS sets written without TensorFlow."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from routing_jax.config import base_config
from routing_jax.data.sources import LabelledImages


@pytest.fixture
def labelled() -> Callable[..., LabelledImages]:
    """Makes an image set; image number i has the value i in its only pixel."""

    def make(
        labels: Sequence[int], groups: Sequence[int] | None = None, *, classes: int | None = None
    ) -> LabelledImages:
        labels = np.asarray(labels, np.int32)
        names = range(classes or int(labels.max()) + 1)
        pixels = np.arange(labels.size).astype(np.uint8)
        images = LabelledImages(
            "made_up", pixels[:, None, None, None], labels, tuple(f"class {i}" for i in names)
        )
        if groups is None:
            return images
        table = np.full(len(images.class_names), -1, np.int32)
        table[labels] = groups
        names = tuple(f"group {i}" for i in range(max(groups) + 1))
        return replace(images, superclass_of_class=table, superclass_names=names)

    return make


@pytest.fixture(scope="session")
def real_cache_dir(tmp_path_factory) -> Path:
    """Where tests of real data keep what they decoded, so that it is done once."""
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture
def data_config(tmp_path) -> Callable[..., object]:
    """Makes the data part of a configuration that looks for data and caches in tmp_path."""

    def make(**values: object) -> object:
        config = base_config().data
        config.dir, config.cache_dir = str(tmp_path / "tfds"), str(tmp_path / "cache")
        config.update(values)
        return config

    return make


Split = tuple[np.ndarray, dict[str, np.ndarray]]
"""Images, and the labels of each label feature."""


@pytest.fixture
def prepare_tfds() -> Callable[..., Path]:
    """Writes a prepared TFDS set, and returns its version directory."""
    return _prepare_tfds


def _prepare_tfds(
    data_dir: Path,
    set_name: str,
    splits: dict[str, Split],
    *,
    label_names: dict[str, Sequence[str]] | None = None,
) -> Path:
    """Writes the splits; a label without names is a number, as in MNIST."""
    import tensorflow_datasets as tfds

    images, columns = splits["train"]
    features = {"image": tfds.features.Image(shape=images.shape[1:])}
    for column, labels in columns.items():
        if label_names:
            features[column] = tfds.features.ClassLabel(names=label_names[column])
        else:
            features[column] = tfds.features.ClassLabel(num_classes=int(labels.max()) + 1)

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = set_name
        VERSION = tfds.core.Version("3.0.1")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                description="made up",
                features=tfds.features.FeaturesDict(features),
            )

        def _split_generators(self, _):
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split):
            images, columns = splits[split]
            for row, image in enumerate(images):
                labels = {column: int(values[row]) for column, values in columns.items()}
                yield row, {"image": _png(image), **labels}

    tfds.disable_progress_bar()
    builder = Builder(data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def _png(image: np.ndarray) -> io.BytesIO:
    out = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(out, "png")
    out.seek(0)
    return out
