"""Task construction: from one labelled image set to many tasks over stored-once images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from routing_jax.data.sources import LabelledImages


@dataclass(frozen=True)
class TaskArrays:
    """The examples of every task of one split, as NumPy arrays (see `types.MultiTaskData`)."""

    index: np.ndarray
    """int32 [T, N]."""
    labels: np.ndarray
    """int32 [T, N]."""
    sizes: np.ndarray
    """int32 [T]."""


def one_vs_rest(images: LabelledImages) -> TaskArrays:
    """One binary task per class over the same images: label 1 where the image is of that class.

    MNIST-MTL of Rosenbaum et al. 2018. Always answering 0 is right on all but the share of one
    class, which is why balanced accuracy belongs beside accuracy.
    """
    classes = np.arange(len(images.class_names), dtype=np.int32)
    labels = (images.labels[None, :] == classes[:, None]).astype(np.int32)
    index = np.broadcast_to(np.arange(images.labels.size, dtype=np.int32), labels.shape)
    return TaskArrays(index, labels, np.full(classes.size, images.labels.size, np.int32))


def superclass(images: LabelledImages) -> TaskArrays:
    """One task per superclass over its own images; classes are ranked inside the superclass.

    CIFAR-MTL of Rosenbaum et al. 2018. The rank of the fine label among the fine labels of its
    superclass is the class, so all classes of a task stay distinct (fine label modulo five, as in
    the authors' code, makes them collide).
    """
    if images.superclass_of_class is None:
        raise ValueError(f"{images.name} has no superclasses; use data.tasks=one_vs_rest")
    group = images.superclass_of_class[images.labels]
    rows = [np.flatnonzero(group == task) for task in range(len(images.superclass_names))]
    rank = _rank_in_superclass(images.superclass_of_class)
    return TaskArrays(
        _padded(rows),
        _padded([rank[images.labels[row]] for row in rows]),
        np.array([row.size for row in rows], np.int32),
    )


def _rank_in_superclass(superclass_of_class: np.ndarray) -> np.ndarray:
    """The number of each class among the classes of its superclass: int [classes]."""
    same = superclass_of_class[:, None] == superclass_of_class[None, :]
    return np.tril(same, -1).sum(1)


TASKS: dict[str, Callable[[LabelledImages], TaskArrays]] = {
    "one_vs_rest": one_vs_rest,
    "superclass": superclass,
}


def task_names(kind: str, images: LabelledImages) -> tuple[str, ...]:
    """Names of the tasks, in task order."""
    if kind == "superclass":
        return images.superclass_names
    return tuple(f"{name} or not" for name in images.class_names)


def task_classes(kind: str, images: LabelledImages) -> int:
    """C, the classes of each task."""
    if kind == "superclass":
        return int(np.bincount(images.superclass_of_class + 1)[1:].max())
    return 2


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of unequal length as one int32 array [T, N], zeros behind the shorter ones."""
    out = np.zeros((len(rows), max(row.size for row in rows)), np.int32)
    for task, row in enumerate(rows):
        out[task, : row.size] = row
    return out
