"""Task sets of one's own: from arrays, or from a folder of images."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from routing_jax.data.image_files import read_image
from routing_jax.data.labels import is_labelled
from routing_jax.data.loading import TaskSet, task_major
from routing_jax.data.tasks import TaskArrays, padded
from routing_jax.errors import UserError

Examples = tuple[np.ndarray, np.ndarray]
"""Inputs of a task and their labels.

Inputs are uint8 images [N, height, width, channels] or vectors of floats [N, F]; labels [N] are
classes 0, 1, ... (-1 for none), or floats to predict (NaN for none).
"""

_SPLITS = ("train", "test")


def task_set(name: str, *, train: Mapping[str, Examples], test: Mapping[str, Examples]) -> TaskSet:
    """A task set from arrays, for `train`.

    Tasks may differ in size, in their number of classes and in what is labelled. Inputs that are
    the same array in several tasks are stored once.

    Args:
      name: names the set in results; a run is resumed only on a set of the same name.
      train: inputs and labels of each task, by its name.
      test: the same tasks, to evaluate on.

    Raises:
      UserError: arrays do not fit each other, or a task has no labelled example.
    """
    if train.keys() != test.keys() or not train:
        raise UserError(
            f"{name}: the training tasks are {_listed(train)}, those to evaluate on "
            f"{_listed(test)}; give both the same tasks, and at least one."
        )
    splits = {
        split: {task: _checked(f"{name}, task {task!r}, {split}", *given[task]) for task in train}
        for split, given in zip(_SPLITS, (train, test), strict=True)
    }
    _require_alike(name, splits)
    _, first_labels = splits["train"][next(iter(train))]
    objective = "regression" if np.issubdtype(first_labels.dtype, np.floating) else "classification"
    classes = [_num_classes([splits[split][task][1] for split in _SPLITS]) for task in train]
    arrays = {split: _arrays(splits[split], classes, objective) for split in _SPLITS}
    return TaskSet(
        name=name,
        embedded_fallback=False,
        evaluated_on="test",
        task_names=tuple(train),
        num_classes=max(classes),
        train=task_major(*arrays["train"]),
        test=task_major(*arrays["test"]),
        objective=objective,
    )


def task_set_from_folder(
    folder: str | Path, *, image_size: tuple[int, int], channels: int = 3
) -> TaskSet:
    """A task set from image files `<folder>/train/<task>/<class>/<image>`, and `test` likewise.

    The classes of a task are its folders in both splits, in alphabetical order.

    Args:
      folder: its name names the set.
      image_size: height and width that images are scaled to.
      channels: 3 for colour, 1 for grey.

    Raises:
      UserError: there are no such folders, or a file in them cannot be read as an image.
    """
    folder = Path(folder)
    names = {split: _folders(folder / split) for split in _SPLITS}
    splits: dict[str, dict[str, Examples]] = {split: {} for split in _SPLITS}
    for task in names["train"]:
        both = [_folders(folder / split / task) for split in _SPLITS if task in names[split]]
        classes = sorted(set().union(*both))
        for split in _SPLITS:
            if task in names[split]:
                where = folder / split / task
                splits[split][task] = _read_task(where, classes, image_size, channels)
    return task_set(folder.resolve().name, **splits)


def _checked(where: str, inputs: np.ndarray, labels: np.ndarray) -> Examples:
    """Arrays of inputs, the very ones if they are arrays, and labels in the types of training."""
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    images = inputs.dtype == np.uint8 and inputs.ndim == 4
    vectors = np.issubdtype(inputs.dtype, np.floating) and inputs.ndim == 2
    if not (images or vectors):
        raise UserError(
            f"{where}: the inputs are {inputs.dtype} of shape {inputs.shape}; give uint8 images "
            "[N, height, width, channels], or vectors of floats [N, F]."
        )
    numbers = np.issubdtype(labels.dtype, np.floating)
    if labels.shape != inputs.shape[:1] or not (numbers or np.issubdtype(labels.dtype, np.integer)):
        raise UserError(
            f"{where}: the labels are {labels.dtype} of shape {labels.shape}; give an integer or a "
            f"float for each of the {len(inputs)} inputs."
        )
    labels = labels.astype(np.float32 if numbers else np.int32)
    if not is_labelled(labels).any():
        raise UserError(f"{where}: no example has a label; leave the task out, or label some.")
    if not numbers:
        labels = np.maximum(labels, -1)
    return inputs, labels


def _require_alike(name: str, splits: Mapping[str, Mapping[str, Examples]]) -> None:
    """Raises UserError where tasks or splits differ in what must be the same."""
    tasks = [examples for given in splits.values() for examples in given.values()]
    shapes = sorted({f"{x.dtype} {x.shape[1:]}" for x, _ in tasks})
    if len(shapes) > 1:
        raise UserError(f"{name}: inputs differ ({', '.join(shapes)}); give all the same shape.")
    kinds = {np.issubdtype(labels.dtype, np.floating) for _, labels in tasks}
    if len(kinds) > 1:
        raise UserError(
            f"{name}: some tasks have integer labels (classes) and some floats (numbers to "
            "predict); train them in two sets."
        )


def _num_classes(labels: Iterable[np.ndarray]) -> int:
    """C of a task; 1 where a number is predicted."""
    joined = np.concatenate(list(labels))
    return 1 if np.issubdtype(joined.dtype, np.floating) else int(joined.max()) + 1


def _arrays(
    tasks: Mapping[str, Examples], classes: list[int], objective: str
) -> tuple[np.ndarray, TaskArrays]:
    """All inputs of a split, each stored once, and the tasks as rows of them."""
    starts: dict[int, int] = {}
    stored: list[np.ndarray] = []
    rows = []
    for inputs, _ in tasks.values():
        if id(inputs) not in starts:
            starts[id(inputs)] = sum(map(len, stored))
            stored.append(inputs)
        rows.append((starts[id(inputs)] + np.arange(len(inputs))).astype(np.int32))
    arrays = TaskArrays(
        names=tuple(tasks),
        index=padded(rows),
        labels=padded([labels for _, labels in tasks.values()]),
        sizes=np.array([len(row) for row in rows], np.int32),
        classes=np.array(classes, np.int32),
        objective=objective,
    )
    joined = stored[0] if len(stored) == 1 else np.concatenate(stored)
    return joined if joined.dtype == np.uint8 else joined.astype(np.float32, copy=False), arrays


def _folders(folder: Path) -> list[str]:
    """The names of the folders in a folder that has some."""
    names = sorted(path.name for path in folder.glob("*/")) if folder.is_dir() else []
    if not names:
        raise UserError(
            f"{folder} holds no folders: put the images under "
            "<folder>/train/<task>/<class>/ and <folder>/test/<task>/<class>/."
        )
    return names


def _read_task(
    folder: Path, classes: list[str], image_size: tuple[int, int], channels: int
) -> Examples:
    """The images of a task and their classes, file by file in alphabetical order."""
    images, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).glob("*")):
            images.append(read_image(path, image_size, channels))
            labels.append(label)
    if not images:
        raise UserError(f"{folder}: there is no image in any of its folders.")
    return np.stack(images), np.array(labels, np.int32)


def _listed(tasks: Iterable[str]) -> str:
    return ", ".join(tasks) or "none"
