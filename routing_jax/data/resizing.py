"""Images of another size, made once on the host."""

import numpy as np
from PIL import Image

from routing_jax.errors import UserError

INK = 32
"""From which brightness of 255 a pixel counts as ink."""


def downsized(images: np.ndarray, side: int) -> np.ndarray:
    """Scales images to `side` x `side` pixels, each the mean of the area it stands for.

    Args:
      images: uint8 [M, height, width, channels], one channel or three.
      side: at most the height and the width.

    Raises:
      UserError: the images are smaller.
    """
    height, width = images.shape[1:3]
    if side > min(height, width):
        raise UserError(
            f"data.image_size = {side} would enlarge images of {height}x{width}: set it to at most "
            f"{min(height, width)}, or to 0 for images as stored."
        )
    return _resized(images, side, Image.Resampling.BOX)


def enlarged(images: np.ndarray, side: int) -> np.ndarray:
    """Scales images to `side` x `side` pixels, no fewer than they have, by bilinear interpolation.

    Args:
      images: as for `downsized`.
      side: at least the height and the width.
    """
    return _resized(images, side, Image.Resampling.BILINEAR)


def fill_with_ink(images: np.ndarray, side: int) -> np.ndarray:
    """Scales what is drawn in each image to the size of the frame, `side` x `side` pixels.

    The square around the ink, which stands in its middle, becomes the image. So digits of any set
    are as large as those of USPS, which fill their frames as stored. Every pixel of at least `INK`
    counts, a speck beside a digit too.

    Args:
      images: uint8 [M, height, width, 1], ink bright, at least one.
      side: of the new images.
    """
    height, width = images.shape[1:3]
    margin = (max(height, width) + 1) // 2  # how far a square around long ink may reach beyond
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    ink = images[..., 0] >= INK
    top, bottom = _extent(ink.any(2))
    left, right = _extent(ink.any(1))
    half = np.maximum(bottom - top, right - left) / 2
    row, column = (top + bottom) / 2 + margin, (left + right) / 2 + margin
    boxes = np.stack([column - half, row - half, column + half, row + half], axis=1)
    return _resized(padded, side, Image.Resampling.BILINEAR, boxes)


def _extent(any_ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first place of each row [M, side] that has ink, and the one behind the last.

    All places where there is none.
    """
    length = any_ink.shape[1]
    first, last = any_ink.argmax(1), length - any_ink[:, ::-1].argmax(1)
    return first, last


def _resized(
    images: np.ndarray, side: int, method: Image.Resampling, boxes: np.ndarray | None = None
) -> np.ndarray:
    """Scales all of each image, or its box [M, 4]: left, top, right and bottom, in pixels."""
    channels = images.shape[-1]
    pictures = images[..., 0] if channels == 1 else images
    parts = [None] * len(pictures) if boxes is None else boxes.tolist()
    scaled = [
        Image.fromarray(p).resize((side, side), method, box)
        for p, box in zip(pictures, parts, strict=True)
    ]
    return np.stack([np.asarray(p).reshape(side, side, channels) for p in scaled])
