"""Image files of the usual formats, read by Pillow."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from routing_jax.errors import UserError

MODES = {1: "L", 3: "RGB"}
"""How Pillow calls images of so many channels."""


def read_image(path: str | Path, image_size: tuple[int, int], channels: int) -> np.ndarray:
    """An image of this height and width, scaled to it if need be: uint8 [height, width, channels].

    Raises:
      UserError: the file cannot be read as an image.
    """
    height, width = image_size
    try:
        with Image.open(path) as image:
            image = image.convert(MODES[channels])
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.BOX)
            return np.asarray(image).reshape(height, width, channels)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises
        raise _unreadable(path, error) from error


def read_header(path: str | Path) -> tuple[int, int, int]:
    """Height, width, and channels (1 for grey, else 3) of an image, without decoding it.

    Raises:
      UserError: the file cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width, 1 if image.mode in ("1", "L", "I;16") else 3
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | Path, error: Exception) -> UserError:
    told = os.strerror(error.errno) if getattr(error, "errno", None) else error
    return UserError(f"{path} cannot be read as an image: {told}")
