"""The benchmark of preparation: one tiny round, and the archive that it may have to write."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from benchmarks import prepare_data
from routing_jax.data import preparation, sources
from routing_jax.data.builders import cifar

CLASSES, PER_CLASS = 6, {"train": 2, "test": 1}


@pytest.fixture
def prepared(tmp_path, monkeypatch, prepare_tfds):
    """A prepared CIFAR-100 of six classes, in its place."""
    rng = np.random.default_rng(0)
    splits = {}
    for split, count in PER_CLASS.items():
        labels = np.repeat(np.arange(CLASSES), count)
        images = rng.integers(0, 256, (labels.size, 32, 32, 3), np.uint8)
        splits[split] = (images, {"label": labels, "coarse_label": labels // 2})
    names = {"label": list("abcdef"), "coarse_label": ["x", "y", "z"]}
    monkeypatch.setenv("ROUTING_JAX_DATA_DIR", str(tmp_path / "tfds"))
    read = partial(cifar.read, classes=CLASSES, superclasses=3, per_class=PER_CLASS)
    monkeypatch.setitem(preparation.SETS, "cifar100", replace(cifar.CIFAR100, read=read))
    return prepare_tfds(tmp_path / "tfds", "cifar100", splits, label_names=names)


def read(folder, tmp_path):
    """The images of each split with their labels, in an order of their own."""
    splits = sources.read_prepared(
        "cifar100", folder, cache_dir=str(tmp_path / "cache"), say=lambda text: None
    )
    return {
        split: sorted(
            (image.tobytes(), found.class_names[label], int(found.superclass_of_class[label]))
            for image, label in zip(found.images, found.labels, strict=True)
        )
        for split, found in splits.items()
    }


def in_this_process(name, source, data_dir):
    preparation.prepare(
        name, source=source, data_dir=data_dir, say=lambda text: None, report=lambda *_: None
    )


def test_the_archive_written_back_is_that_of_the_set(prepared, tmp_path):
    splits = sources.read_prepared(
        "cifar100", prepared, cache_dir=str(tmp_path / "cache"), say=lambda text: None
    )
    path = prepare_data.write_archive(splits, tmp_path / "originals")
    assert path == tmp_path / "originals" / "cifar-100-binary.tar.gz"
    assert list(path.parent.iterdir()) == [path]
    in_this_process("cifar100", path.parent, tmp_path / "again")
    assert read(tmp_path / "again" / "cifar100" / "3.0.2", tmp_path) == read(prepared, tmp_path)


def test_a_tiny_round(prepared, small_mnist, tmp_path, capsys):
    (tmp_path / "from").mkdir()
    small_mnist.folder.rename(tmp_path / "from" / "mnist")
    arguments = [f"--from={tmp_path / 'from'}", "--rounds=2"]
    assert prepare_data.main(arguments, prepare=in_this_process) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["benchmark"], line["name"]) for line in lines] == [
        ("prepare_data", "mnist"),
        ("prepare_data", "cifar100"),
    ]
    for line in lines:
        written = line["name"] == "cifar100"
        assert line["settings"] == {"rounds": 2, "archive_written_back": written}
        times = line["milliseconds"]
        assert 0 < times["min"] <= times["median"] <= times["max"]


def test_what_is_missing_is_told(tmp_path, capsys):
    for message in ("has no directory mnist", "has no directory cifar100, and it is not prepared"):
        with pytest.raises(SystemExit) as stopped:
            prepare_data.main([f"--from={tmp_path}"])
        assert stopped.value.code == 2
        assert f"--from={tmp_path} {message}" in capsys.readouterr().err
        (tmp_path / "mnist").mkdir(exist_ok=True)


@pytest.mark.slow
@pytest.mark.originals("mnist")
def test_the_command_is_that_of_a_user(originals_dir, tmp_path):
    prepare_data.run_command("mnist", originals_dir / "mnist", tmp_path)
    assert (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").is_file()
