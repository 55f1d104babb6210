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
    crop_key, flip_key = jax.random.split(key)
    batch = images.shape[:-3]
    corners = jax.random.randint(crop_key, (*batch, 2), 0, 2 * _MARGIN + 1)
    margins = ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0))
    padded = jnp.pad(images, (*((0, 0),) * len(batch), *margins))

    def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[-3:])

    for _ in batch:
        crop = jax.vmap(crop)
    cropped = crop(padded, corners)
    if kind == "crop_flip":
        flipped = jax.random.bernoulli(flip_key, 0.5, (*batch, 1, 1, 1))
        cropped = jnp.where(flipped, cropped[..., ::-1, :], cropped)
    return cropped
