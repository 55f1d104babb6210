"""Where image sets come from: prepared TFDS sets, the cache, and the embedded digits."""

import json
import os
import re
import sys

import numpy as np
import pytest
from privileges import open_to_all, unprivileged

from routing_jax.data import search, sources
from routing_jax.errors import UserError

SHARD = "mnist-train.array_record-00000-of-00001"


def random_split(seed, count, shape=(6, 5, 1), classes=4):
    """Images, and labels in which every class occurs."""
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, {"label": np.arange(count) % classes}


SPLITS = {"train": random_split(0, 30), "test": random_split(1, 9)}


@pytest.fixture
def mnist(tmp_path, prepare_tfds):
    """A prepared set named mnist with 30 and 9 small images."""
    return prepare_tfds(tmp_path / "tfds", "mnist", SPLITS)


def read(folder, tmp_path, name="mnist"):
    said = []
    splits = sources.read_prepared(name, folder, cache_dir=str(tmp_path / "cache"), say=said.append)
    return splits, said


def by_image(images, labels):
    """What TFDS may shuffle: the images with their labels."""
    pairs = zip(images, labels, strict=True)
    return sorted((image.tobytes(), int(label)) for image, label in pairs)


def test_a_prepared_set_is_read_as_it_was_written(mnist, tmp_path):
    splits, said = read(mnist, tmp_path)
    assert list(splits) == ["train", "test"]
    for split, (images, columns) in SPLITS.items():
        found = splits[split]
        assert (found.images.dtype, found.labels.dtype) == (np.uint8, np.int32)
        assert found.images.shape == images.shape
        assert by_image(found.images, found.labels) == by_image(images, columns["label"])
        assert found.name == "mnist"
        assert found.class_names == ("0", "1", "2", "3")
        assert found.superclass_of_class is None
        assert found.superclass_names == ()
    assert said == [
        "decoding mnist train: 30 of 30 images",
        "decoding mnist test: 9 of 9 images",
    ]


def test_many_slices_are_joined_in_order(mnist, tmp_path, monkeypatch):
    whole, _ = read(mnist, tmp_path / "whole")
    monkeypatch.setattr(sources, "_READ_AT_ONCE", 7)
    sliced, _ = read(mnist, tmp_path / "sliced")
    np.testing.assert_array_equal(sliced["train"].images, whole["train"].images)
    np.testing.assert_array_equal(sliced["train"].labels, whole["train"].labels)


def test_superclasses_and_names_are_read(tmp_path, prepare_tfds):
    images, columns = random_split(2, 12, (4, 4, 3))
    splits = {"train": (images, columns | {"coarse_label": columns["label"] // 2})}
    splits["test"] = splits["train"]
    names = {"label": ["maple tree", "oak", "räuber", "d"], "coarse_label": ["trees", "others"]}
    folder = prepare_tfds(tmp_path, "cifar100", splits, label_names=names)
    found = read(folder, tmp_path, "cifar100")[0]["train"]
    assert found.class_names == ("maple tree", "oak", "räuber", "d")
    assert found.superclass_names == ("trees", "others")
    np.testing.assert_array_equal(found.superclass_of_class, [0, 0, 1, 1])
    assert found.superclass_of_class.dtype == np.int32
    part = found.subset(np.array([3, 1]))
    np.testing.assert_array_equal(part.images, found.images[[3, 1]])
    np.testing.assert_array_equal(part.labels, found.labels[[3, 1]])
    np.testing.assert_array_equal(part.superclass_of_class, found.superclass_of_class)
    assert (part.name, part.class_names) == (found.name, found.class_names)
    assert part.superclass_names == found.superclass_names


def test_the_second_read_is_memory_mapped_and_needs_no_tfds(mnist, tmp_path, monkeypatch):
    first, _ = read(mnist, tmp_path)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # importing it raises
    second, said = read(mnist, tmp_path)
    assert said == []
    for split in sources.SPLITS:
        assert isinstance(second[split].images, np.memmap)
        np.testing.assert_array_equal(second[split].images, first[split].images)
        np.testing.assert_array_equal(second[split].labels, first[split].labels)


@pytest.mark.parametrize("harm", ["cut off", "emptied", "removed"])
def test_a_damaged_cache_entry_is_decoded_again(mnist, tmp_path, harm):
    first, _ = read(mnist, tmp_path)
    (images,) = (tmp_path / "cache").glob("*/train_images.npy")
    expected = np.array(first["train"].images)
    del first
    if harm == "removed":
        images.unlink()
    else:
        os.truncate(images, 0 if harm == "emptied" else 300)
    again, said = read(mnist, tmp_path)
    assert len(said) == 2
    np.testing.assert_array_equal(again["train"].images, expected)
    assert read(mnist, tmp_path)[1] == []  # the entry is whole again


def test_a_changed_set_is_decoded_again(mnist, tmp_path):
    read(mnist, tmp_path)
    os.utime(mnist / SHARD, (0, 0))
    assert len(read(mnist, tmp_path)[1]) == 2


def test_an_unwritable_cache_is_told_and_the_set_is_read(mnist, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    splits, said = read(mnist, tmp_path)
    assert len(splits["train"].images) == 30
    assert said[-1].startswith("decoded images are not cached: ")


def damage(harm, folder):
    if harm == "cut off":
        os.truncate(folder / SHARD, 1000)
    elif harm == "half":
        os.truncate(folder / SHARD, (folder / SHARD).stat().st_size // 2)
    elif harm == "shard missing":
        (folder / SHARD).unlink()
    elif harm == "test split missing":
        text = (folder / "dataset_info.json").read_text()
        (folder / "dataset_info.json").write_text(text.replace('"name": "test"', '"name": "dev"'))
    elif harm == "information":
        (folder / "dataset_info.json").write_text("{ garbage")
    elif harm == "information in binary":
        (folder / "dataset_info.json").write_bytes(b"\xff\xfe\x00")
    elif harm == "features missing":
        (folder / "features.json").unlink()
    elif harm == "other features":
        text = (folder / "features.json").read_text()
        (folder / "features.json").write_text(text.replace('"label"', '"digit"'))
    elif harm == "bytes":
        content = bytearray((folder / SHARD).read_bytes())
        content[100:5000] = bytes(4900)
        (folder / SHARD).write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        *("cut off", "half", "bytes", "shard missing", "test split missing"),
        *("information", "information in binary", "features missing", "other features"),
    ],
)
def test_a_damaged_set_is_named_with_what_to_do(mnist, tmp_path, harm):
    damage(harm, mnist)
    with pytest.raises(UserError) as caught:
        read(mnist, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"data: the prepared set in {mnist} cannot be read (")
    assert message.endswith(
        "). It is damaged or incomplete: delete it and prepare it again, or name another "
        "--config.data.dir."
    )
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("harm", ["empty", "information missing"])
def test_a_half_prepared_set_is_named(mnist, tmp_path, harm):
    for path in mnist.iterdir():
        if harm == "empty" or path.name == "dataset_info.json":
            path.unlink()
    with pytest.raises(UserError) as caught:
        read(search.find_prepared("mnist", str(tmp_path / "tfds")), tmp_path)
    assert str(caught.value).startswith(f"data: the prepared set in {mnist} cannot be read (")


def test_a_link_that_leads_nowhere_is_named(mnist, tmp_path):
    (mnist / SHARD).unlink()
    (mnist / SHARD).symlink_to("/nowhere/at/all")
    with pytest.raises(UserError) as caught:
        read(mnist, tmp_path)
    assert str(caught.value) == (
        f"data: {mnist / SHARD} cannot be read: No such file or directory. Mend that, or name "
        "another --config.data.dir."
    )


@pytest.mark.parametrize("closed", [SHARD, "dataset_info.json", "."])
def test_files_that_may_not_be_read_are_named(prepare_tfds, tmp_path, closed):
    with open_to_all() as folder:
        mnist = prepare_tfds(folder, "mnist", SPLITS)
        read(mnist, tmp_path)  # that the arrays are in the cache makes no difference
        (mnist / closed).chmod(0o000)
        with unprivileged(), pytest.raises(UserError) as caught:
            read(mnist, tmp_path)
    assert str(caught.value) == (
        f"data: {mnist / closed} cannot be read: Permission denied. Mend that, or name another "
        "--config.data.dir."
    )


def test_a_set_for_tensorflow_is_told_apart_from_a_damaged_one(mnist, tmp_path):
    for path in mnist.glob("*.array_record*"):
        path.rename(path.with_name(path.name.replace("array_record", "tfrecord")))
    info = mnist / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError) as caught:
        read(mnist, tmp_path)
    assert str(caught.value) == (
        f"data: the set in {mnist} is stored as tfrecord, which is read by TensorFlow only; needed "
        "is array_record. Prepare it in another directory with python -m "
        "routing_jax.data.prepare mnist --data_dir=DIR, and name that with --config.data.dir=DIR."
    )


IMAGE = "tensorflow_datasets.core.features.image_feature.Image"


@pytest.mark.parametrize("form", ["a feature", "the whole", "an earlier TFDS", "nested text"])
def test_nothing_that_a_set_names_is_imported(mnist, tmp_path, monkeypatch, form):
    (tmp_path / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'victim')!r})")
    monkeypatch.syspath_prepend(tmp_path)
    path = mnist / "features.json"
    content = json.loads(path.read_text())
    if form == "a feature":
        content = json.loads(path.read_text().replace(IMAGE, "evil.Image"))
    elif form == "the whole":
        content["pythonClassName"] = "evil.Features"
    elif form == "an earlier TFDS":
        content = {"type": "evil.Features", "content": {}}
    else:
        inner = json.dumps({"feature": {"type": "evil.Features", "content": {}}})
        name = "tensorflow_datasets.core.features.sequence_feature.Sequence"
        content = {"pythonClassName": name, "jsonFeature": {"json": inner}}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        read(mnist, tmp_path)
    assert re.fullmatch(
        f"data: {path} names 'evil.(Image|Features)', which is none of TFDS's own features. "
        "Nothing of it was loaded; use a set that TFDS or python -m routing_jax.data.prepare has "
        "prepared.",
        str(caught.value),
    )
    assert "evil" not in sys.modules
    with pytest.raises(Exception):  # noqa: B017  it is a real attack, whatever comes of it
        tfds_reader(mnist)
    assert (tmp_path / "victim").exists()
    del sys.modules["evil"]


def tfds_reader(folder):
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(folder)


def test_a_missing_package_is_not_blamed_on_the_set(mnist, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match="tensorflow_datasets"):
        read(mnist, tmp_path)


# The embedded digits.


def test_the_embedded_digits_are_split_once_and_for_all():
    first, again = sources.embedded_digits(), sources.embedded_digits()
    # The 1,797 digits have these counts of 0 to 9; a fifth of each, to the nearest, is tested on.
    total = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    tested = np.array([36, 36, 35, 37, 36, 37, 36, 36, 35, 36])
    for split, counts in (("train", total - tested), ("test", tested)):
        digits = first[split]
        np.testing.assert_array_equal(np.bincount(digits.labels), counts)
        assert digits.images.shape == (counts.sum(), 8, 8, 1)
        assert (digits.images.dtype, digits.labels.dtype) == (np.uint8, np.int32)
        assert digits.images.max() == 255
        assert digits.images.min() == 0
        assert (digits.name, digits.class_names) == ("digits", tuple("0123456789"))
        np.testing.assert_array_equal(digits.images, again[split].images)
    assert (len(first["train"].labels), len(first["test"].labels)) == (1437, 360)
    # Fixed across versions of scikit-learn: otherwise results are not comparable.
    np.testing.assert_array_equal(first["test"].labels[:12], [7, 6, 3, 7, 7, 3, 2, 8, 9, 3, 2, 6])


def test_no_digit_is_in_both_splits():
    from sklearn.datasets import load_digits

    splits = sources.embedded_digits()
    images = np.concatenate([splits[split].images for split in sources.SPLITS])
    labels = np.concatenate([splits[split].labels for split in sources.SPLITS])
    digits = load_digits()
    # Grey level g of 0..16 becomes the integer nearest to g * 255 / 16.
    table = np.array([round(g * 255 / 16) for g in range(17)], np.uint8)
    expected = table[digits.images.astype(int)]
    assert by_image(images, labels) == by_image(expected, digits.target)


# Real data.


@pytest.mark.slow
@pytest.mark.real_data("mnist")
def test_the_real_mnist(real_data_dir, real_cache_dir):
    folder = search.find_prepared("mnist", "")
    assert folder.is_relative_to(real_data_dir)
    splits, _ = read(folder, real_cache_dir)
    # The published counts of the digits 0 to 9.
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for split, counts in (("train", train), ("test", test)):
        assert splits[split].images.shape == (sum(counts), 28, 28, 1)
        np.testing.assert_array_equal(np.bincount(splits[split].labels), counts)
    # The published mean of the training pixels, 0.1307 of 255.
    assert splits["train"].images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)


@pytest.mark.slow
@pytest.mark.real_data("cifar100")
def test_the_real_cifar100(real_data_dir, real_cache_dir):
    splits, _ = read(search.find_prepared("cifar100", ""), real_cache_dir, "cifar100")
    for split, per_class in (("train", 500), ("test", 100)):
        found = splits[split]
        assert found.images.shape == (100 * per_class, 32, 32, 3)
        np.testing.assert_array_equal(np.bincount(found.labels), np.full(100, per_class))
        groups = np.bincount(found.superclass_of_class[found.labels])
        np.testing.assert_array_equal(groups, np.full(20, 5 * per_class))
    train = splits["train"]
    assert (train.class_names[0], train.class_names[-1]) == ("apple", "worm")
    assert train.superclass_names[0] == "aquatic_mammals"
    of_maple = train.superclass_of_class[train.class_names.index("maple_tree")]
    assert train.superclass_names[of_maple] == "trees"
