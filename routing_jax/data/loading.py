"""From the `data` part of a configuration to the task set that training uses."""

from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict

from routing_jax.data import progress, search, sources, tasks
from routing_jax.data.sources import LabelledImages, Say
from routing_jax.data.versions import VERSIONS
from routing_jax.errors import UserError
from routing_jax.types import MultiTaskData


@dataclass(frozen=True)
class TaskSet:
    """Everything about the data of a run. Arrays are NumPy; the loop moves them to the device."""

    name: str
    """Name of the data set that is really used."""
    embedded_fallback: bool
    """The embedded digits stand in for a set that was asked for and not found."""
    evaluated_on: str
    """`"test"`, or `"validation"` where a part of the training images is held out."""
    task_names: tuple[str, ...]
    num_classes: int
    """C, classes of each task."""
    train: MultiTaskData
    test: MultiTaskData
    """What is evaluated on; the held-out images where there are any."""

    @property
    def num_tasks(self) -> int:
        """T."""
        return len(self.task_names)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width, channels)."""
        return self.train.images.shape[1:]


def load(data_config: ConfigDict, *, say: Say) -> TaskSet:
    """Loads the data set that `data_config` (the `data` part of a configuration) names.

    Args:
      data_config: a validated ConfigDict.
      say: receives what a person should read: progress of decoding, the notice of a fallback.

    Raises:
      UserError: the set is nowhere and no fallback is allowed, or it is damaged.
    """
    splits, fallback = _splits(data_config, say)
    train, test, evaluated_on = splits["train"], splits["test"], "test"
    if data_config.validation_fraction > 0:
        train, test = hold_out(train, data_config.validation_fraction)
        evaluated_on = "validation"
    return TaskSet(
        name=train.name,
        embedded_fallback=fallback,
        evaluated_on=evaluated_on,
        task_names=tasks.task_names(data_config.tasks, train),
        num_classes=tasks.task_classes(data_config.tasks, train),
        train=_task_major(train, data_config.tasks),
        test=_task_major(test, data_config.tasks),
    )


def hold_out(images: LabelledImages, fraction: float) -> tuple[LabelledImages, LabelledImages]:
    """Splits off the last `fraction` of each class (at least one image of each, never all).

    The split is fixed, so that all methods are tuned on the same held-out images.
    """
    held = np.zeros(images.labels.size, bool)
    for label in np.unique(images.labels):
        rows = np.flatnonzero(images.labels == label)
        count = min(max(round(fraction * rows.size), 1), rows.size - 1)
        held[rows[rows.size - count :]] = True
    return images.subset(np.flatnonzero(~held)), images.subset(np.flatnonzero(held))


def _splits(data_config: ConfigDict, say: Say) -> tuple[dict[str, LabelledImages], bool]:
    """Both splits, and whether they are the embedded fallback."""
    name = data_config.name
    if name == "digits":
        return sources.embedded_digits(), False
    why = ""
    folder = search.find_prepared(name, data_config.dir)
    if folder is None and _may_fall_back(data_config):
        why = _from_network(data_config, say)
        folder = search.find_prepared(name, data_config.dir)
    if folder is not None:
        return sources.read_prepared(name, folder, cache_dir=data_config.cache_dir, say=say), False
    advice = _advice(name, data_config.dir, why)
    if not _may_fall_back(data_config):
        raise UserError(advice)
    say(
        "NOTICE: training on scikit-learn's embedded digits (1,797 real 8x8 images), not on MNIST. "
        + advice
    )
    return sources.embedded_digits(), True


def _may_fall_back(data_config: ConfigDict) -> bool:
    return data_config.name == "mnist" and data_config.fallback != "none"


def _from_network(data_config: ConfigDict, say: Say) -> str:
    """Prepares MNIST where it is looked for first, if the network has it; returns why not."""
    from routing_jax.data.preparation import mnist_from_network

    data_dir = search.search_path(data_config.dir)[0]
    return mnist_from_network(data_dir, say=say, report=progress.lines(say))


def _advice(name: str, data_dir: str, why: str) -> str:
    """Says that a set is missing, or there in another version only, and what to do."""
    others = ", ".join(str(folder) for folder in search.other_versions(name, data_dir))
    if others:
        state = f"is needed in version {VERSIONS[name]}, but prepared only as: {others}"
    else:
        state = f"is not prepared in any of: {search.searched(name, data_dir)}"
    return (
        f"The data set {name} {state}{why and '; '}{why}. To prepare "
        f"it, run: python -m routing_jax.data.prepare {name} (it downloads the original files; "
        "--from=DIR takes them from a directory, --data_dir=DIR says where to prepare the set). "
        "Another place is named with --config.data.dir=DIR or ROUTING_JAX_DATA_DIR=DIR."
    )


def _task_major(images: LabelledImages, kind: str) -> MultiTaskData:
    arrays = tasks.TASKS[kind](images)
    return MultiTaskData(images.images, arrays.index, arrays.labels, arrays.sizes)
