"""Digits of four sources as one set: their images, classes and tasks."""

from dataclasses import replace

import numpy as np
import pytest

from routing_jax.data import domains, loading, resizing, tasks
from routing_jax.data.labelled_images import LabelledImages
from routing_jax.errors import UserError

NAMES = ("mnist", "mnist rotated", "usps", "digits")


def made_up(name):
    """Two images of a prepared set; the left half of each is ink."""
    images = np.zeros((2, 16, 16, 1), np.uint8)
    images[:, :, :8] = 200 if name == "mnist" else 100
    digits = tuple(str(digit) for digit in range(10))
    split = LabelledImages(name, images, np.array([3, 9], np.int32), digits)
    return {"train": split, "test": split.subset(np.array([1]))}


def test_each_source_is_a_superclass_with_the_same_classes():
    joined = domains.digit_domains(made_up, side=16)
    train = joined["train"]
    assert train.images.shape == (2 + 2 + 2 + 1437, 16, 16, 1)
    assert train.labels[:6].tolist() == [3, 9, 13, 19, 23, 29]
    assert train.superclass_names == NAMES
    assert (train.class_names[13], len(train.class_names)) == ("mnist rotated 3", 40)
    arrays = tasks.superclass(joined["test"])
    assert arrays.names == NAMES
    assert arrays.sizes.tolist() == [1, 1, 1, 360]
    assert arrays.labels[:3, 0].tolist() == [9, 9, 9]
    assert arrays.classes.tolist() == [10] * 4
    assert {array.dtype for array in (train.labels, arrays.labels, arrays.index)} == {
        np.dtype(np.int32)
    }


def test_rotated_images_are_turned_and_small_ones_enlarged():
    images = domains.digit_domains(made_up, side=16)["train"].images
    # A quarter turn to the left: ink on the left comes to the bottom.
    assert (images[2, 8:] == 200).all() and (images[2, :8] == 0).all()
    np.testing.assert_array_equal(np.rot90(images[0, ..., 0]), images[2, ..., 0])
    digits = images[6:]
    assert digits.dtype == np.uint8
    # Ink is bright: there is little of it, and none in the corners.
    assert digits.mean() < 100 and np.median(digits[:, :2, :2]) == 0


def test_digits_may_all_be_scaled_to_fill_their_frames():
    # Ink of 4x2 pixels: the square around it, 4x4, becomes 16x16, the ink its 8 columns in the
    # middle; two pixels on each side of an edge blend. What is no ink (below 32) does not count.
    image = np.zeros((28, 28, 1), np.uint8)
    image[20:24, 0:2] = 255
    image[0, 27] = 31
    (found,) = resizing.fill_with_ink(image[None], 16)
    assert found.shape == (16, 16, 1) and found.dtype == np.uint8
    middle = found[..., 0]
    assert (middle[2:14, 6:10] == 255).all() and (middle[:, :2] == 0).all()
    assert (middle[:, 14:] == 0).all()
    no_ink = resizing.fill_with_ink(np.full((1, 8, 8, 1), 20, np.uint8), 16)
    assert (no_ink[:, 2:14, 2:14] == 20).all()  # all of it


def test_sets_of_other_sizes_are_of_a_size_by_their_ink():
    def large(name):
        splits = made_up(name)
        wide = {n: np.pad(s.images, ((0, 0), (6, 6), (6, 6), (0, 0))) for n, s in splits.items()}
        return {
            n: replace(splits[n], images=wide[n]) if name == "mnist" else splits[n] for n in wide
        }

    images = domains.digit_domains(large, side=16, by_ink=True)["train"].images
    assert images.shape == (2 + 2 + 2 + 1437, 16, 16, 1)
    # 16x8 pixels of ink, in a frame of 28x28 or of 16x16: 8 columns in the middle of 16.
    np.testing.assert_array_equal(images[0] // 200, images[4] // 100)
    assert (images[0, :, 5:11] == 200).all() and images[0, :, :3].max() == 0


@pytest.mark.parametrize(("frame", "asked"), [("stored", 16), ("ink", 0)])
def test_images_are_read_as_stored_where_their_ink_is_scaled(
    data_config, monkeypatch, frame, asked
):
    sizes, told = [], []

    def read(name, *, data_config, say):
        sizes.append(data_config.image_size)
        return made_up(name)

    monkeypatch.setattr(loading, "_read_or_advise", read)
    config = data_config(name="digit_domains", tasks="superclass", image_size=16)
    config.digit_frame = frame
    found = loading.load(config, say=told.append)
    assert sizes == [asked, asked] and config.image_size == 16
    assert told == ["Scaling digits so that each fills 16x16 pixels."] * (frame == "ink")
    # The ink of the first image is its left half, of 16x8 pixels; by ink it stands in the middle.
    first = found.train.images[found.train.index[0, 0], ..., 0]
    assert first[:, 6:10].min() == (0 if frame == "stored" else 200)


def test_a_missing_source_is_named(data_config, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nothing"))
    config = data_config(name="digit_domains", tasks="superclass", image_size=16)
    with pytest.raises(UserError, match="^The data set mnist is not prepared in any of: "):
        loading.load(config, say=print)


@pytest.mark.slow
@pytest.mark.real_data("mnist", "usps")
def test_the_real_domains(data_config, real_data_dir, real_cache_dir):
    config = data_config(
        name="digit_domains", tasks="superclass", image_size=16, cache_dir=str(real_cache_dir)
    )
    config.dir = str(real_data_dir)
    found = loading.load(config, say=lambda text: None)
    assert found.task_names == NAMES
    assert found.train.sizes.tolist() == [60_000, 60_000, 7_291, 1_437]
    assert found.test.sizes.tolist() == [10_000, 10_000, 2_007, 360]
    assert (found.num_classes, found.image_shape) == (10, (16, 16, 1))
    for task, size in enumerate(found.train.sizes):
        images = found.train.images[found.train.index[task, :size]]
        edge = np.concatenate([images[:, 0].ravel(), images[:, :, 0].ravel()])
        # Ink is bright in all of them: the background, at the edge, is dark.
        assert np.median(edge) == 0 and images[:, 4:12, 4:12].mean() > 60
