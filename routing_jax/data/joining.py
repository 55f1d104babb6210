"""The tasks of a trained network, and new ones behind them, as one task set."""

from collections.abc import Sequence

import numpy as np

from routing_jax.data.stored_images import StoredImages
from routing_jax.data.task_set import TaskSet
from routing_jax.errors import UserError
from routing_jax.types import MultiTaskData


def join(earlier: Sequence[TaskSet], new: TaskSet) -> TaskSet:
    """Puts new tasks behind those that a network has.

    What is learned from are the new tasks alone; what is tested, or chosen by, are all.

    Args:
      earlier: the tasks of the network, in the order in which it learned them; at least one set.
      new: the new tasks.

    Raises:
      UserError: the network has a new task already, or cannot take it: its images have another
        shape or are not in memory, it has more classes, or is of another kind; or it is to be
        tested on another split.
    """
    sets, classes = [*earlier, new], earlier[0].num_classes
    _require_in_memory(sets)
    _require_new(earlier, new)
    _require_alike(earlier[0], new)
    return TaskSet(
        name=" + ".join(dict.fromkeys(one.name for one in sets)),
        embedded_fallback=any(one.embedded_fallback for one in sets),
        evaluated_on=new.evaluated_on,
        task_names=_names(sets),
        num_classes=classes,
        train=new.train._replace(classes=_offered([new], classes)),
        test=_all_of(sets, [one.test for one in sets], classes),
        objective=new.objective,
        validation=(
            None
            if new.validation is None
            else _all_of(sets, [one.validation for one in sets], classes)
        ),
        num_old=sum(one.num_tasks for one in earlier),
    )


def _require_in_memory(sets: Sequence[TaskSet]) -> None:
    """Raises UserError for images that are read while training goes on."""
    for one in sets:
        if any(isinstance(data.images, StoredImages) for data in (one.train, one.test)):
            raise UserError(
                f"The images of {one.name} are read while training goes on, and those of old and "
                "new tasks are held together: give arrays, such as numpy.asarray makes of them."
            )


def _require_new(earlier: Sequence[TaskSet], new: TaskSet) -> None:
    there = {(one.name, task) for one in earlier for task in one.task_names}
    again = [task for task in new.task_names if (new.name, task) in there]
    if again:
        which = ", ".join(again[:3]) + (" ..." if len(again) > 3 else "")
        raise UserError(
            f"{len(again)} of the {new.num_tasks} new tasks are there already, of {new.name}: "
            f"{which}. Name others with data.first_task and data.num_tasks, data.alphabets, "
            "data.tasks or data.name."
        )


def _require_alike(first: TaskSet, new: TaskSet) -> None:
    """Raises UserError for new tasks that do not go with the first ones of the network."""
    if new.objective != first.objective:
        raise UserError(
            f"The network was trained for {first.objective}, and the new tasks ask for "
            f"{new.objective}: name others with data.name."
        )
    if new.image_shape != first.image_shape:
        raise UserError(
            f"The network takes inputs of {_told(first)}, and those of the new tasks are of "
            f"{_told(new)}: name others with data.name, or scale images with data.image_size."
        )
    if new.num_classes > first.num_classes:
        raise UserError(
            f"The heads of the network have {first.num_classes} classes, and a new task has "
            f"{new.num_classes}: name tasks of at most {first.num_classes} classes."
        )
    split, before = _held_out(new), _held_out(first)
    if split != before:
        raise UserError(
            f"The tasks of the network were {before}, and the new ones are to be {split}: set "
            "data.validation_fraction and data.validation_use as they are there."
        )


def _told(tasks: TaskSet) -> str:
    return "x".join(map(str, tasks.image_shape))


def _held_out(tasks: TaskSet) -> str:
    """What is done with held-out examples."""
    chosen = "" if tasks.validation is None else " at the best step on held-out examples"
    return f"tested on the {tasks.evaluated_on} examples{chosen}"


def _names(sets: Sequence[TaskSet]) -> tuple[str, ...]:
    """Names of all tasks; one that is taken by another data set's task tells its own set."""
    names: list[str] = []
    for one in sets:
        taken = set(names)
        names += [f"{name} ({one.name})" if name in taken else name for name in one.task_names]
    return tuple(names)


def _all_of(
    sets: Sequence[TaskSet], splits: Sequence[MultiTaskData], classes: int
) -> MultiTaskData:
    """The same split of all sets as one; images that sets have in common are held once."""
    images, starts = _stacked([split.images for split in splits])
    index = [split.index + np.int32(start) for split, start in zip(splits, starts, strict=True)]
    return MultiTaskData(
        images,
        _rows(index),
        _rows([split.labels for split in splits]),
        np.concatenate([split.sizes for split in splits]),
        _offered(sets, classes),
    )


def _stacked(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """All arrays behind each other, equal ones once, and where each begins."""
    different, starts, length = [], [], 0
    for array in arrays:
        same = [start for start, other in different if np.array_equal(other, array)]
        if not same:
            different.append((length, array))
            length += len(array)
        starts.append(same[0] if same else different[-1][0])
    return np.concatenate([array for _, array in different]), starts


def _rows(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Rows [t, N] of unequal N as one array, zeros behind the shorter ones."""
    longest = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, longest - part.shape[1]))) for part in parts])


def _offered(sets: Sequence[TaskSet], classes: int) -> np.ndarray | None:
    """How many of the C outputs each task of some sets has; None where each has all."""
    counts = np.concatenate([_classes(one) for one in sets])
    return None if (counts == classes).all() else counts


def _classes(tasks: TaskSet) -> np.ndarray:
    """int32 [T]."""
    if tasks.test.classes is not None:
        return tasks.test.classes
    return np.full(tasks.num_tasks, tasks.num_classes, np.int32)
