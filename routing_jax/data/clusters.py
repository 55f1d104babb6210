"""Three clusters of tasks in one set: CIFAR-100's superclasses, and digits and garments.

Section 5.3 of Maziarz et al. 2019: twenty tasks over the superclasses of CIFAR-100, ten over MNIST
and ten over Fashion-MNIST, each of which leaves out one class. All images are 32x32 in colour.
"""

from collections.abc import Callable, Mapping

import numpy as np

from routing_jax.data.labelled_images import LabelledImages
from routing_jax.data.resizing import enlarged
from routing_jax.data.sources import SPLITS
from routing_jax.data.tasks import TaskArrays, padded

REQUIRED = ("cifar100", "mnist")
OPTIONAL = "fashion_mnist"
"""Ten tasks less where this set is not prepared."""
HELD_OUT = 0.2
"""Share of CIFAR-100's training images that earlier work does not train on."""
SIDE = 32

Say = Callable[[str], None]


def join(
    sets: Mapping[str, Mapping[str, LabelledImages]], *, say: Say
) -> dict[str, LabelledImages]:
    """The splits of all sets as splits of one, whose superclasses are the tasks of CIFAR-100.

    Each set without superclasses is one superclass more, by its name.

    Args:
      sets: "train" and "test" of each set by its name, `REQUIRED` and perhaps `OPTIONAL`.
      say: receives progress lines.
    """
    return {
        split: _joined({name: parts[split] for name, parts in sets.items()}, split, say)
        for split in SPLITS
    }


def leave_one_out_tasks(images: LabelledImages) -> TaskArrays:
    """A task for each superclass of CIFAR-100, and one for each class that another set lacks.

    Args:
      images: as `join` gives them.
    """
    group = images.superclass_of_class[images.labels]
    tasks: list[tuple[str, np.ndarray, np.ndarray]] = []
    for number, name in enumerate(images.superclass_names):
        rows = np.flatnonzero(group == number).astype(np.int32)
        classes = np.flatnonzero(images.superclass_of_class == number)
        if name not in (*REQUIRED, OPTIONAL):
            tasks.append((name, rows, classes))
            continue
        for left in classes:
            others = rows[images.labels[rows] != left]
            title = f"{name} without {images.class_names[left]}"
            tasks.append((title, others, classes[classes != left]))
    names, rows, classes = zip(*tasks, strict=True)
    labels = [
        np.searchsorted(own, images.labels[row]).astype(np.int32)
        for row, own in zip(rows, classes, strict=True)
    ]
    return TaskArrays(
        names=names,
        index=padded(list(rows)),
        labels=padded(labels),
        sizes=np.array([row.size for row in rows], np.int32),
        classes=np.array([own.size for own in classes], np.int32),
    )


def _joined(parts: Mapping[str, LabelledImages], split: str, say: Say) -> LabelledImages:
    images, labels, classes, superclasses = [], [], [], []
    names: list[str] = []
    for name, part in parts.items():
        images.append(_in_colour(part.images, f"{name} {split}", say))
        labels.append(part.labels + len(classes))
        own = part.superclass_of_class
        if own is None:
            own, new = np.zeros(len(part.class_names), np.int32), (name,)
        else:
            new = part.superclass_names
        superclasses.append(np.where(own < 0, -1, own + len(names)))
        classes += part.class_names
        names += new
    missing = "" if OPTIONAL in parts else f" ({OPTIONAL} is not prepared)"
    return LabelledImages(
        " + ".join(parts) + missing,
        np.concatenate(images),
        np.concatenate(labels).astype(np.int32),
        tuple(classes),
        np.concatenate(superclasses).astype(np.int32),
        tuple(names),
    )


def _in_colour(images: np.ndarray, name: str, say: Say) -> np.ndarray:
    """Images as 32x32 in colour; grey ones have their channel three times."""
    if images.shape[1] < SIDE:
        say(f"scaling {name} to {SIDE}x{SIDE}: {len(images):,} images")
        images = enlarged(images, SIDE)
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
