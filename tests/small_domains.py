"""Digit domains of 8x8 pixels, made of the embedded digits in place of prepared sets."""

from dataclasses import replace

import numpy as np

from routing_jax.data.sources import embedded_digits

FIELDS = {
    "data.image_size": 8,
    "data.augment": "none",
    "model.resolution": 2,
    "model.width": 4,
    "model.depth": 2,
    "model.num_blocks": 2,
    "training.steps": 4,
    "training.eval_every": 4,
    "training.checkpoint_every": 4,
    "training.examples_per_task": 8,
}
"""Of a network and a run small enough for a test."""


def read(name, **_):
    """`mnist` is upside down, `usps` is half as bright; each has 300 images."""
    change = {"mnist": lambda x: x[:, ::-1], "usps": lambda x: x // np.uint8(2)}[name]
    return {
        split: replace(images.subset(np.arange(300)), name=name, images=change(images.images[:300]))
        for split, images in embedded_digits().items()
    }
