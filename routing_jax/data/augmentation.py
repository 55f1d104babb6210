"""Random crops and flips of a batch of images."""

import jax
import jax.numpy as jnp

_MARGIN = 4
"""Pixels of zero padding around an image before a crop; 4 is usual for CIFAR."""


def augment(images: jax.Array, key: jax.Array, *, kind: str) -> jax.Array:
    """Augments each image on its own.

    Args:
      images: [..., height, width, channels].
      key: of this batch.
      kind: "none"; "crop", a random crop of the image padded by 4 zero pixels on each side;
        "crop_flip", the same and a horizontal flip of every second image on average.
    """
    if kind == "none":
        return images
    flat = images.reshape(-1, *images.shape[-3:])
    crop_key, flip_key = jax.random.split(key)
    corners = jax.random.randint(crop_key, (flat.shape[0], 2), 0, 2 * _MARGIN + 1)
    padded = jnp.pad(flat, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)))

    def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), flat.shape[1:])

    cropped = jax.vmap(crop)(padded, corners)
    if kind == "crop_flip":
        flipped = jax.random.bernoulli(flip_key, 0.5, (flat.shape[0], 1, 1, 1))
        cropped = jnp.where(flipped, cropped[:, :, ::-1], cropped)
    return cropped.reshape(images.shape)
