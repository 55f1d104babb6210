"""Which examples have a label, and data sets that lose a share of theirs.

No label is -1 where labels are classes, and NaN where they are numbers. Nothing is learned from
such an example and it counts in no metric; see `objectives`.
"""

import dataclasses

import jax
import numpy as np

from routing_jax.data.tasks import TaskArrays, padded
from routing_jax.types import MultiTaskData

Labels = np.ndarray | jax.Array


def is_labelled(labels: Labels) -> Labels:
    """Where there is a label: bool of the shape of `labels`."""
    if np.issubdtype(labels.dtype, np.floating):
        return labels == labels  # all but NaN
    return labels >= 0


def is_counted(labels: Labels, sizes: Labels) -> Labels:
    """Where a row of examples [T, N] has a labelled one, and no padding: bool [T, N]."""
    return is_labelled(labels) & (
        np.arange(labels.shape[1], dtype=np.int32)[None, :] < sizes[:, None]
    )


def keep_share(arrays: TaskArrays, fraction: float) -> TaskArrays:
    """Keeps about `fraction` of the labels and takes the others away.

    Whether the label of an image for a task stays depends on the two numbers alone, the image's and
    the task's, so that all methods and seeds learn from the same labels, and a larger share holds
    all labels of a smaller one.

    Args:
      arrays: the examples of every task.
      fraction: in (0, 1].
    """
    if fraction == 1:
        return arrays
    kept = _lots(arrays) < fraction * 2.0**32
    missing = np.nan if np.issubdtype(arrays.labels.dtype, np.floating) else -1
    labels = np.where(kept, arrays.labels, np.asarray(missing, arrays.labels.dtype))
    return dataclasses.replace(arrays, labels=labels)


def keep_of_each_class(arrays: TaskArrays, count: int) -> TaskArrays:
    """Keeps the labels of `count` examples of each class of each task and takes the others away.

    They are drawn as those of `keep_share`, so that a larger count holds all of a smaller one.

    Args:
      arrays: the examples of every task; labels are classes.
      count: at most `smallest_class` of them.
    """
    found = np.full_like(arrays.labels, -1)
    for task, (row, lots) in enumerate(zip(arrays.labels, _lots(arrays), strict=True)):
        real = row[: arrays.sizes[task]]
        for label in range(arrays.classes[task]):
            of_class = np.flatnonzero(real == label)
            kept = of_class[np.argsort(lots[of_class], kind="stable")[:count]]
            found[task, kept] = label
    return dataclasses.replace(arrays, labels=found)


def without_labels(arrays: TaskArrays, *, task: int) -> TaskArrays:
    """The tasks, one of which has lost all its labels; its examples stay."""
    found = arrays.labels.copy()
    found[task] = -1
    return dataclasses.replace(arrays, labels=found)


def smallest_class(arrays: TaskArrays) -> int:
    """Labelled examples of the smallest class of any task; labels are classes."""
    counted = is_counted(arrays.labels, arrays.sizes)
    return min(
        int(np.bincount(row[keep], minlength=classes)[:classes].min())
        for row, keep, classes in zip(arrays.labels, counted, arrays.classes, strict=True)
    )


def _lots(arrays: TaskArrays) -> np.ndarray:
    """A random number for each example [T, N] that the image's and the task's numbers give alone.

    uint32, evenly spread.
    """
    tasks = np.arange(arrays.index.shape[0], dtype=np.uint32)[:, None]
    return _scatter(arrays.index.astype(np.uint32) ^ _scatter(tasks))


def without_unlabelled(arrays: TaskArrays) -> TaskArrays:
    """The tasks without the examples that have no label for them; not for shared images."""
    rows = labelled_rows(arrays)
    return dataclasses.replace(arrays, **rows) if rows else arrays


def labelled_rows(examples: TaskArrays | MultiTaskData) -> dict[str, np.ndarray]:
    """`index`, `labels` and `sizes` of the examples that have a label; nothing if all have one."""
    index, labels, sizes = examples.index, examples.labels, examples.sizes
    counted = is_counted(labels, sizes)
    if counted.sum() == sizes.sum():
        return {}
    return {
        "index": padded([row[keep] for row, keep in zip(index, counted, strict=True)]),
        "labels": padded([row[keep] for row, keep in zip(labels, counted, strict=True)]),
        "sizes": counted.sum(1).astype(np.int32),
    }


def _scatter(numbers: np.ndarray) -> np.ndarray:
    """A 32-bit integer hash, one to one (Wellons' "lowbias32"): uint32 to uint32."""
    numbers = (numbers + np.uint32(0x9E3779B9)).astype(np.uint32)
    numbers = (numbers ^ (numbers >> 16)) * np.uint32(0x7FEB352D)
    numbers = (numbers ^ (numbers >> 15)) * np.uint32(0x846CA68B)
    return numbers ^ (numbers >> 16)
