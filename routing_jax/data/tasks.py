"""Task construction: from one labelled image set to many tasks over stored-once images."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from routing_jax.data.labelled_images import LabelledImages


@dataclass(frozen=True)
class TaskArrays:
    """The tasks of one split, and their examples as NumPy arrays (see `types.MultiTaskData`)."""

    names: tuple[str, ...]
    index: np.ndarray
    """int32 [T, N]."""
    labels: np.ndarray
    """int32 or float32 [T, N]."""
    sizes: np.ndarray
    """int32 [T]."""
    classes: np.ndarray
    """int32 [T], classes of each task; 1 where it predicts a number."""
    objective: str = "classification"
    """A name of `objectives.OBJECTIVES`."""

    def subset(self, rows: list[int]) -> "TaskArrays":
        """The tasks of these numbers, in their order."""
        longest = int(self.sizes[rows].max())
        return dataclasses.replace(
            self,
            names=tuple(self.names[row] for row in rows),
            index=self.index[rows, :longest],
            labels=self.labels[rows, :longest],
            sizes=self.sizes[rows],
            classes=self.classes[rows],
        )


def one_vs_rest(images: LabelledImages) -> TaskArrays:
    """One binary task per class over the same images: label 1 where the image is of that class.

    MNIST-MTL of Rosenbaum et al. 2018. Always answering 0 is right on all but the share of one
    class, which is why balanced accuracy belongs beside accuracy.
    """
    classes = np.arange(len(images.class_names), dtype=np.int32)
    labels = (images.labels[None, :] == classes[:, None]).astype(np.int32)
    return TaskArrays(
        names=tuple(f"{name} or not" for name in images.class_names),
        index=_every_image(labels),
        labels=labels,
        sizes=np.full(classes.size, images.labels.size, np.int32),
        classes=np.full(classes.size, 2, np.int32),
    )


def superclass(images: LabelledImages) -> TaskArrays:
    """One task per superclass over its own images; classes are ranked inside the superclass.

    CIFAR-MTL of Rosenbaum et al. 2018. The rank of the fine label among the fine labels of its
    superclass is the class, so all classes of a task stay distinct (fine label modulo five, as in
    the authors' code, makes them collide). Tasks may have unequal numbers of images and classes, as
    the alphabets of Omniglot have. The random groups of mini-ImageNet are cut the same way.
    """
    if images.superclass_of_class is None:
        raise ValueError(f"{images.name} has no superclasses; use data.tasks=one_vs_rest")
    group = images.superclass_of_class[images.labels]
    rows = [np.flatnonzero(group == task) for task in range(len(images.superclass_names))]
    rank = _rank_in_superclass(images.superclass_of_class)
    return TaskArrays(
        names=images.superclass_names,
        index=padded([row.astype(np.int32) for row in rows]),
        labels=padded([rank[images.labels[row]] for row in rows]),
        sizes=np.array([row.size for row in rows], np.int32),
        classes=_classes_of_superclass(images),
    )


def all_classes(images: LabelledImages) -> TaskArrays:
    """One task: tell all classes apart."""
    return TaskArrays(
        names=(f"{len(images.class_names)} classes",),
        index=_every_image(images.labels[None]),
        labels=images.labels[None].astype(np.int32),
        sizes=np.array([images.labels.size], np.int32),
        classes=np.array([len(images.class_names)], np.int32),
    )


def related_pairs(inputs: LabelledImages) -> TaskArrays:
    """One regression task per target over the same inputs; see `synthetic`."""
    labels = np.ascontiguousarray(inputs.targets.T)
    tasks, examples = labels.shape
    return TaskArrays(
        names=inputs.class_names,
        index=_every_image(labels),
        labels=labels,
        sizes=np.full(tasks, examples, np.int32),
        classes=np.ones(tasks, np.int32),
        objective="regression",
    )


def rotated_copies(images: LabelledImages) -> TaskArrays:
    """Two tasks over the images as they are, and two over the same images turned by 90 degrees.

    Section 5.1 of Maziarz et al. 2019: the tasks of a pair are copies, so they have all reason to
    share, and those of different pairs have little. `images` holds both, see `with_rotated`.
    """
    once = superclass(images)
    twice = np.repeat(np.arange(len(once.names)), 2)
    names = [name for kind in once.names for name in (kind, f"{kind}, copy")]
    return TaskArrays(
        tuple(names), once.index[twice], once.labels[twice], once.sizes[twice], once.classes[twice]
    )


def with_rotated(images: LabelledImages) -> LabelledImages:
    """The images and, behind them, the same turned by 90 degrees, with classes of their own."""
    classes = len(images.class_names)
    turned = np.rot90(images.images, axes=(1, 2))
    return dataclasses.replace(
        images,
        images=np.concatenate([images.images, turned]),
        labels=np.concatenate([images.labels, images.labels + classes]),
        class_names=(*images.class_names, *(f"{name}, rotated" for name in images.class_names)),
        superclass_of_class=np.repeat(np.arange(2, dtype=np.int32), classes),
        superclass_names=("upright", "rotated"),
    )


IMAGES: dict[str, Callable[[LabelledImages], LabelledImages]] = {"rotated_copies": with_rotated}
"""Task sets that need more images than the source has; applied to each split."""


TASKS: dict[str, Callable[[LabelledImages], TaskArrays]] = {
    "one_vs_rest": one_vs_rest,
    "all_classes": all_classes,
    "superclass": superclass,
    "alphabet": superclass,
    "random_groups": superclass,
    "related_pairs": related_pairs,
    "rotated_copies": rotated_copies,
}


def padded(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of unequal length as one array [T, N], zeros behind the shorter ones."""
    out = np.zeros((len(rows), max(row.size for row in rows)), rows[0].dtype)
    for task, row in enumerate(rows):
        out[task, : row.size] = row
    return out


def _every_image(labels: np.ndarray) -> np.ndarray:
    """The index of tasks that all have all images, for labels [T, M]: int32 [T, M]."""
    return np.broadcast_to(np.arange(labels.shape[1], dtype=np.int32), labels.shape)


def _rank_in_superclass(superclass_of_class: np.ndarray) -> np.ndarray:
    """The number of each class among the classes of its superclass: int32 [classes]."""
    same = superclass_of_class[:, None] == superclass_of_class[None, :]
    return np.tril(same, -1).sum(1).astype(np.int32)


def _classes_of_superclass(images: LabelledImages) -> np.ndarray:
    """int32 [superclasses]; the same for every part of a set."""
    superclasses = len(images.superclass_names)
    counts = np.bincount(images.superclass_of_class + 1, minlength=superclasses + 1)
    return counts[1:].astype(np.int32)
