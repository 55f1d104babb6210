"""Task sets whose images are read one by one, from an array that stands for files."""

import dataclasses

import numpy as np

from routing_jax.data.loading import TaskSet
from routing_jax.data.stored_images import StoredImages


class Shelf:
    """A store of images that are in an array."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = np.asarray(images)
        self.shape = self._images.shape[1:]

    def read(self, numbers: np.ndarray) -> np.ndarray:
        return self._images[numbers]


def streamed(tasks: TaskSet) -> TaskSet:
    """The same set with its images on a shelf."""
    splits = {
        split: data._replace(images=StoredImages(Shelf(data.images), np.arange(len(data.images))))
        for split, data in (("train", tasks.train), ("test", tasks.test))
    }
    return dataclasses.replace(tasks, **splits)
