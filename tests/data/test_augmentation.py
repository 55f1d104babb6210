"""Random crops and flips, checked against all the windows there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.config_data import AUGMENTATIONS
from routing_jax.data.augmentation import augment


def numbered(batch: int, height: int, width: int, channels: int = 1) -> np.ndarray:
    """Images whose pixels all differ and none of which is 0, the padding."""
    pixels = 1 + np.arange(height * width * channels, dtype=np.uint8)
    return np.broadcast_to(
        pixels.reshape(height, width, channels), (batch, height, width, channels)
    )


def crops(image: np.ndarray) -> dict[bytes, tuple[int, int]]:
    """All windows of the image padded by 4, and their upper left corners."""
    height, width, _ = image.shape
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    return {
        padded[row : row + height, column : column + width].tobytes(): (row, column)
        for row in range(9)
        for column in range(9)
    }


def test_none_changes_nothing():
    images = numbered(2, 3, 4)
    assert augment(images, jax.random.key(0), kind="none") is images


@pytest.mark.parametrize("kind", ["crop", "crop_flip"])
def test_each_image_becomes_a_window_of_its_padded_self(kind):
    batch = 1000
    images = numbered(batch, 6, 7, 2)
    out = np.asarray(jax.jit(augment, static_argnames="kind")(images, jax.random.key(0), kind=kind))
    assert (out.shape, out.dtype) == (images.shape, np.uint8)
    corners, mirrored = crops(images[0]), crops(images[0])
    flips = 0
    found = []
    for image in out:
        if image.tobytes() in corners:
            found.append(corners[image.tobytes()])
        else:
            found.append(mirrored[image[:, ::-1].tobytes()])
            flips += 1
    # Corners are uniform over 0..8, both ways: mean 4, deviation 2.58, so the mean of 1,000 has
    # deviation 0.08; the two are independent.
    found = np.array(found)
    assert set(found[:, 0]) == set(found[:, 1]) == set(range(9))
    np.testing.assert_allclose(found.mean(0), 4, atol=0.4)
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.15
    # Half of them are flipped, with deviation 16 of 1,000.
    assert flips == 0 if kind == "crop" else 420 < flips < 580


def test_leading_axes_are_kept_and_images_are_changed_each_on_its_own():
    images = numbered(12, 8, 8).reshape(3, 4, 8, 8, 1)
    out = augment(jnp.asarray(images), jax.random.key(1), kind="crop_flip")
    assert out.shape == images.shape
    assert len({image.tobytes() for image in np.asarray(out).reshape(12, -1)}) > 6


def test_the_key_decides():
    images = numbered(5, 8, 8)
    first, again, other = (
        augment(jnp.asarray(images), jax.random.key(seed), kind="crop") for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_kinds_that_the_configuration_offers_are_those_tested_here():
    assert set(AUGMENTATIONS) == {"none", "crop", "crop_flip"}
