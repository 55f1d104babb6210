"""Prepared sets whose images stay in their files hold the same as those that are decoded."""

import json

import numpy as np
import pytest

from routing_jax.data import records, sources
from routing_jax.data.stored_images import StoredImages
from routing_jax.errors import UserError


def random_split(seed, count):
    """Images, and labels in which every class occurs."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    labels = np.arange(count) % 4
    return images, {"label": labels, "coarse_label": labels // 2}


@pytest.fixture
def cifar(tmp_path, prepare_tfds):
    """A prepared set named cifar100 with 30 and 9 small images."""
    splits = {"train": random_split(0, 30), "test": random_split(1, 9)}
    names = {"label": list("abcd"), "coarse_label": ["x", "y"]}
    return prepare_tfds(tmp_path / "tfds", "cifar100", splits, label_names=names)


def opened(folder, cache_dir, said=None, **how):
    say = (said if said is not None else []).append
    return records.open_records("cifar100", folder, cache_dir=str(cache_dir), say=say, **how)


@pytest.mark.parametrize("side", [0, 3])
def test_images_and_labels_are_those_of_the_decoded_set(cifar, tmp_path, side):
    whole = sources.read_prepared(
        "cifar100", cifar, cache_dir=str(tmp_path / "a"), say=lambda _: None, image_size=side
    )
    found = opened(cifar, tmp_path / "b", image_size=side)
    assert list(found) == list(whole)
    for split, expected in whole.items():
        assert isinstance(found[split].images, StoredImages)
        assert found[split].images.shape == expected.images.shape
        np.testing.assert_array_equal(np.asarray(found[split].images), expected.images)
        np.testing.assert_array_equal(found[split].labels, expected.labels, strict=True)
        np.testing.assert_array_equal(found[split].superclass_of_class, [0, 0, 1, 1])
        assert found[split].class_names == expected.class_names
        assert found[split].superclass_names == expected.superclass_names


def test_labels_are_read_once_and_not_at_all_where_the_set_is_decoded(cifar, tmp_path):
    said = []
    opened(cifar, tmp_path / "a", said)
    opened(cifar, tmp_path / "a", said)
    assert said == [
        "reading labels of cifar100 train: 30 of 30",
        "reading labels of cifar100 test: 9 of 9",
    ]
    said.clear()
    sources.read_prepared("cifar100", cifar, cache_dir=str(tmp_path / "b"), say=lambda _: None)
    opened(cifar, tmp_path / "b", said)
    assert said == []


def test_the_size_of_a_set_is_told_without_reading_it(cifar, tmp_path):
    assert records.decoded_bytes(cifar, side=0) == (30 + 9) * 6 * 8 * 3
    assert records.decoded_bytes(cifar, side=3) == (30 + 9) * 3 * 3 * 3
    (cifar / "dataset_info.json").write_text(json.dumps({"splits": 3}))
    assert records.decoded_bytes(cifar, side=0) == 0
    assert records.decoded_bytes(tmp_path / "nowhere", side=0) == 0


def test_a_damaged_set_is_named(cifar, tmp_path):
    images = opened(cifar, tmp_path)["train"].images
    (shard,) = cifar.glob("*train.array_record*")
    content = bytearray(shard.read_bytes())
    content[100:-100] = bytes(len(content) - 200)
    shard.write_bytes(content)
    with pytest.raises(UserError, match="It is damaged or incomplete: delete it and prepare it"):
        np.asarray(images)
