"""What the sources give and the task constructions take: one split of a labelled set."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class LabelledImages:
    """One split of a labelled image set, or of a set of vectors with numbers to predict."""

    name: str
    images: np.ndarray
    """uint8 [M, height, width, channels], or float32 [M, F]; may be memory-mapped."""
    labels: np.ndarray
    """int32 [M]; all zero where there are `targets`."""
    class_names: tuple[str, ...]
    """Of the classes, or of the columns of `targets`."""
    superclass_of_class: np.ndarray | None = None
    """int32, the superclass of each class (-1 for a class without images), if there are any."""
    superclass_names: tuple[str, ...] = ()
    targets: np.ndarray | None = None
    """float32 [M, targets], numbers to predict, if that is what the set is for."""

    def subset(self, rows: np.ndarray) -> "LabelledImages":
        """The images at `rows` (int [M'])."""
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, images=self.images[rows], labels=self.labels[rows], targets=targets)
