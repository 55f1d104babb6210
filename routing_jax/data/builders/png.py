"""Images as PNG files in memory, in which form TFDS stores them without needing TensorFlow."""

import io

import numpy as np
from PIL import Image


def encode(image: np.ndarray) -> bytes:
    """A PNG of uint8 [height, width, 1 or 3]."""
    return encode_picture(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image))


def encode_picture(picture: Image.Image) -> bytes:
    """A PNG of a Pillow image."""
    out = io.BytesIO()
    picture.save(out, "png")
    return out.getvalue()
