"""Images that stay where they are stored and are read when somebody needs them.

`StoredImages` stands where an array of images [M, height, width, channels] would: it has its shape
and type, and rows of it are taken the same way, but taking reads nothing; `numpy.asarray` does.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

_READ_AT_ONCE = 1000
"""Images read between two progress reports."""


class Store(Protocol):
    """Where images are; used by several threads at once."""

    shape: tuple[int, int, int]
    """Height, width and channels of each image."""

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """Images by number, int [m]: uint8 [m, height, width, channels].

        Raises:
          UserError: one of them cannot be read; the message names it.
        """


@dataclass(frozen=True)
class StoredImages:
    """Rows of a store.

    Attributes:
      store: where the images are.
      numbers: int64 [M], the number of each in the store.
    """

    store: Store
    numbers: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, height, width, channels)."""
        return (len(self.numbers), *self.store.shape)

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    @property
    def nbytes(self) -> int:
        """What all of them take in memory."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: np.ndarray) -> "StoredImages":
        """Some of them, by their rows (int [M']) or a mask (bool [M])."""
        return replace(self, numbers=self.numbers[rows])

    def __array__(self, dtype: None = None, copy: None = None) -> np.ndarray:
        return self.read(np.arange(len(self)))

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The images of rows, int [...]: uint8 [..., height, width, channels]."""
        once, places = np.unique(self.numbers[rows], return_inverse=True)
        if not once.size:
            return np.empty((*rows.shape, *self.store.shape), np.uint8)
        return self.store.read(once)[places.reshape(rows.shape)]

    def read_all(self, report: Callable[[int, int], None]) -> np.ndarray:
        """All of them; `report` gets how many are read, and of how many."""
        found = np.empty(self.shape, np.uint8)
        for start in range(0, len(self), _READ_AT_ONCE):
            rows = np.arange(start, min(start + _READ_AT_ONCE, len(self)))
            found[rows] = self.read(rows)
            report(int(rows[-1]) + 1, len(self))
        return found
