"""MNIST and Fashion-MNIST from IDX files: what is checked, and the real ones."""

import gzip
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from routing_jax.data import preparation
from routing_jax.data.builders import mnist
from routing_jax.errors import UserError


def refused(prepare, small, message):
    with pytest.raises(UserError) as caught:
        prepare("mnist", small.folder)
    assert str(caught.value).startswith(message)
    return str(caught.value)


def test_a_missing_file_is_named_among_those_wanted(small_mnist, prepare):
    small_mnist.files[3].unlink()
    message = refused(prepare, small_mnist, f"{small_mnist.folder} lacks t10k-labels-idx1-ubyte.gz")
    assert all(path.name in message for path in small_mnist.files)


@pytest.mark.parametrize("file", range(4))
@pytest.mark.parametrize("harm", ["cut", "emptied", "no gzip", "other bytes"])
def test_a_damaged_file_is_named(small_mnist, prepare, file, harm):
    path = small_mnist.files[file]
    content = path.read_bytes()
    changed = bytearray(content)
    changed[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "emptied": b"",
            "no gzip": b"<html>Sign in to the network</html>",
            "other bytes": bytes(changed),
        }[harm]
    )
    message = refused(prepare, small_mnist, f"{path} cannot be read (")
    assert message.endswith("another file under this name: get it again.")


def test_a_file_of_another_kind_is_named(small_mnist, prepare):
    path = small_mnist.files[0]
    path.write_bytes(gzip.compress(b"some text that is no IDX file"))
    refused(prepare, small_mnist, f"{path} cannot be read (ValueError: it is no IDX file ")


def test_too_few_images_are_told(small_mnist, prepare):
    small_mnist.write("train", images=np.zeros((29, 28, 28)))
    path = small_mnist.files[0]
    refused(prepare, small_mnist, f"{path} says it has the shape (29, 28, 28) and holds 22,736 ")


def test_images_of_another_size_are_told(small_mnist, prepare):
    small_mnist.write("test", images=np.zeros((20, 32, 32)))
    refused(prepare, small_mnist, f"{small_mnist.files[2]} says it has the shape (20, 32, 32) ")


def test_bytes_behind_the_images_are_told(small_mnist, prepare):
    path = small_mnist.files[1]
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"!"))
    refused(prepare, small_mnist, f"{path} says it has the shape (30,) and holds 31 bytes")


def test_labels_swapped_for_others_are_told(small_mnist, prepare):
    small_mnist.write("train", labels=np.zeros(30))
    message = refused(prepare, small_mnist, f"{small_mnist.files[1]} has 30 examples of class 0 ")
    assert message.endswith("where the published set has 3: it is incomplete or another set.")
    small_mnist.write("train", labels=np.arange(30))
    refused(prepare, small_mnist, f"{small_mnist.files[1]} has labels from 0 to 29; they should be")


def test_fashion_mnist_has_names(small_mnist, prepare, monkeypatch):
    import tensorflow_datasets as tfds

    read = partial(mnist.FASHION_MNIST.read, class_counts={"train": (3,) * 10, "test": (2,) * 10})
    small = replace(mnist.FASHION_MNIST, read=read)
    monkeypatch.setitem(preparation.SETS, "fashion_mnist", small)
    folder = prepare("fashion_mnist", small_mnist.folder)
    assert folder.parts[-2:] == ("fashion_mnist", "3.0.1")
    label = tfds.builder_from_directory(folder).info.features["label"]
    assert (label.names[0], label.names[-1]) == ("T-shirt/top", "Ankle boot")


def test_the_published_counts():
    for original in (mnist.MNIST, mnist.FASHION_MNIST):
        counts = original.read.keywords["class_counts"]
        assert {split: sum(of) for split, of in counts.items()} == {"train": 60_000, "test": 10_000}
        assert [file.name for file in original.downloads] == [
            name for names in mnist.FILES.values() for name in names
        ]


@pytest.mark.slow
@pytest.mark.real_data("mnist")
@pytest.mark.originals("mnist")
def test_the_real_mnist_is_the_stock_one(originals_dir, real_data_dir, prepare, same_sets):
    same_sets(prepare("mnist", originals_dir / "mnist"), real_data_dir / "mnist" / "3.0.1")


@pytest.mark.originals("mnist")
def test_the_checksums_are_those_of_the_real_files(originals_dir):
    import hashlib

    for file in mnist.MNIST.downloads:
        content = (originals_dir / "mnist" / file.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.checksum)
