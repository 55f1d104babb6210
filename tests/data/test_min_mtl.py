"""MIN-MTL: random groups of mini-ImageNet classes, and whole runs on a small set in its layout."""

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import launch
from routing_jax.data import loading, preparation
from routing_jax.data.builders import mini_imagenet
from routing_jax.data.mini_imagenet import in_groups

PER_CLASS = 6
STORED = {"train": 64, "validation": 16, "test": 20}
ROOT = Path(launch.__file__).parent


@pytest.fixture
def stored(labelled):
    """The stored splits, with all names of classes in each; image i of a split has the value i."""
    splits, first = {}, 0
    for split, count in STORED.items():
        labels = np.repeat(np.arange(first, first + count), PER_CLASS)
        splits[split] = labelled(labels, classes=100)
        first += count
    return splits


def test_fifty_classes_fall_into_ten_groups_of_five(stored):
    found = in_groups(stored)
    groups = found["train"].superclass_of_class
    assert sorted(groups) == sorted([-1] * 50 + list(range(10)) * 5)
    # They come from all three stored splits, whose classes are disjoint.
    drawn = np.flatnonzero(groups >= 0)
    assert (drawn < 64).any() and ((drawn >= 64) & (drawn < 80)).any() and (drawn >= 80).any()
    for split, each in (("train", 5), ("test", 1)):  # one sixth of six images is tested on
        np.testing.assert_array_equal(np.bincount(found[split].labels)[drawn], each)
        assert set(found[split].labels) == set(drawn)


def test_every_image_of_a_class_that_was_drawn_is_in_one_split(stored):
    found = in_groups(stored)
    seen = [
        (int(label), int(image))
        for split in ("train", "test")
        for label, image in zip(found[split].labels, found[split].images.ravel(), strict=True)
    ]
    drawn = set(found["train"].labels)
    expected = [
        (int(label), int(image))
        for part in stored.values()
        for label, image in zip(part.labels, part.images.ravel(), strict=True)
        if label in drawn
    ]
    assert sorted(seen) == sorted(expected)


@pytest.fixture
def prepared(originals_dir, tmp_path, monkeypatch, prepare):
    """The first six images of each class of the published csv splits, with pixels of our own."""
    folder = tmp_path / "originals"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for table in mini_imagenet.SPLITS.values():
        with (originals_dir / "mini_imagenet" / f"{table}.csv").open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        kept, count = [], {}
        for row in rows:
            count[row["label"]] = count.get(row["label"], 0) + 1
            if count[row["label"]] <= PER_CLASS:
                kept.append(row)
        with (folder / f"{table}.csv").open("w", newline="") as out:
            writer = csv.DictWriter(out, rows[0])
            writer.writeheader()
            writer.writerows(kept)
        for row in kept:
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "images" / row["filename"])
    read = partial(mini_imagenet.read, classes=STORED, per_class=PER_CLASS)
    small = replace(mini_imagenet.MINI_IMAGENET, read=read)
    monkeypatch.setitem(preparation.SETS, "mini_imagenet", small)
    return prepare("mini_imagenet", folder).parents[1]


@pytest.mark.slow
@pytest.mark.originals("mini_imagenet")
def test_the_published_splits_give_ten_tasks_that_train(prepared, tmp_path, data_config):
    config = data_config(name="mini_imagenet", tasks="random_groups", dir=str(prepared))
    tasks = loading.load(config, say=lambda text: None)
    assert tasks.task_names == tuple(f"group {i}" for i in range(1, 11))
    assert (tasks.num_classes, tasks.image_shape) == (5, (84, 84, 3))
    np.testing.assert_array_equal(tasks.train.sizes, 25)
    np.testing.assert_array_equal(tasks.test.sizes, 5)
    for baseline in ("none", "joint_classifier"):
        workdir = tmp_path / baseline
        experiment = f"--config={ROOT / 'experiments' / 'min_mtl.py'}:baseline={baseline}"
        changes = (
            f"--config.data.dir={prepared}",
            f"--config.data.cache_dir={config.cache_dir}",
            "--config.model.encoder=flatten",  # compiles sooner
            "--config.model.width=16",
            "--config.training.steps=2",
            "--config.training.examples_per_task=2",
        )
        assert launch.main(["launch.py", experiment, f"--workdir={workdir}", *changes]) == 0
        results = json.loads((workdir / "results.json").read_text())
        assert (results["experiment"], len(results["tasks"])) == ("min_mtl", 10)
        assert 0 <= results["test"]["accuracy"]["mean"] <= 1
