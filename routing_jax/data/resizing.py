"""Images of another size, made once on the host."""

import numpy as np
from PIL import Image

from routing_jax.errors import UserError


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


def _resized(images: np.ndarray, side: int, method: Image.Resampling) -> np.ndarray:
    channels = images.shape[-1]
    pictures = images[..., 0] if channels == 1 else images
    scaled = [Image.fromarray(p).resize((side, side), method) for p in pictures]
    return np.stack([np.asarray(p).reshape(side, side, channels) for p in scaled])
