"""From the `data` part of a configuration to the task set that training uses."""

import difflib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from routing_jax.added_tasks import stages
from routing_jax.data import (
    class_folders,
    clusters,
    domains,
    labels,
    placement,
    progress,
    records,
    search,
    sources,
    synthetic,
    tasks,
)
from routing_jax.data.joining import join
from routing_jax.data.labelled_images import LabelledImages
from routing_jax.data.sources import Say
from routing_jax.data.task_set import TaskSet
from routing_jax.data.tasks import TaskArrays
from routing_jax.data.versions import VERSIONS
from routing_jax.errors import UserError
from routing_jax.types import MultiTaskData

TASKS = tasks.TASKS | {"clusters": clusters.leave_one_out_tasks}
"""How a split is cut into tasks, by the names of `data.tasks`."""


def load(data_config: ConfigDict, *, say: Say, room: int | None = None) -> TaskSet:
    """Loads the data set that `data_config` (the `data` part of a configuration) names.

    Images that are streamed (`placement.streams`) stay where they are: `StoredImages` stand for the
    arrays of the task set. Where tasks are named that were there before, `data.old_tasks`, these
    stand in front, their examples are for tests alone, and nothing is streamed.

    Args:
      data_config: a validated ConfigDict.
      say: receives what a person should read: progress of decoding, the notice of a fallback.
      room: bytes of memory available; None takes all into memory but what is to be streamed.

    Raises:
      UserError: the set is nowhere and no fallback is allowed, it is damaged, it has fewer tasks
        than are asked for, a task is left without an example, the set is too large for memory, or
        new tasks do not go with the old ones.
    """
    before = stages(data_config)
    if not before:
        return _load(data_config, say, room)
    return join([_load(stage, say, None) for stage in before], _load(data_config, say, None))


def _load(data_config: ConfigDict, say: Say, room: int | None) -> TaskSet:
    """The tasks that the configuration names, without those before them."""
    splits, fallback = _splits(data_config, say, room)
    if data_config.tasks in tasks.IMAGES:
        more = tasks.IMAGES[data_config.tasks]
        splits = {split: more(images) for split, images in splits.items()}
    parts = _parts(splits, data_config)
    train, test = parts["train"], parts["test"]
    learned = _labelled(_tasks(train, data_config), data_config)
    others = {name: _tasks(part, data_config) for name, part in parts.items() if name != "train"}
    tested = others.pop("test")
    evaluated_on = "validation" if _tunes(data_config) else "test"
    _require_examples({"training": learned, evaluated_on: tested, **others}, data_config)
    if not data_config.share_images:
        learned = labels.without_unlabelled(learned)
    if data_config.target:
        learned = labels.without_labels(learned, task=-1)
    return TaskSet(
        name=train.name,
        embedded_fallback=fallback,
        evaluated_on=evaluated_on,
        task_names=learned.names,
        num_classes=int(learned.classes.max()),
        train=task_major(train.images, learned),
        test=task_major(test.images, tested),
        objective=learned.objective,
        validation=(
            task_major(parts["validation"].images, others["validation"])
            if "validation" in parts
            else None
        ),
    )


def _tunes(data_config: ConfigDict) -> bool:
    """Whether held-out examples take the place of the test set."""
    return data_config.validation_fraction > 0 and data_config.validation_use == "tuning"


def _parts(splits: dict[str, LabelledImages], data_config: ConfigDict) -> dict[str, LabelledImages]:
    """What is learned from, measured on ("test"), and perhaps chosen by ("validation")."""
    if data_config.validation_fraction == 0:
        return splits
    train, held = hold_out(splits["train"], data_config.validation_fraction)
    if _tunes(data_config):
        return {"train": train, "test": held}
    return {"train": train, "test": splits["test"], "validation": held}


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


def _splits(
    data_config: ConfigDict, say: Say, room: int | None
) -> tuple[dict[str, LabelledImages], bool]:
    """Both splits, and whether they are the embedded fallback."""
    name = data_config.name
    if name == "own":
        raise UserError(
            "data.name = own stands for a task set that is given from Python, which this command "
            "does not have: use routing_jax.train, or name a set that can be loaded."
        )
    if name == "digits":
        return sources.embedded_digits(), False
    if name == "synthetic":
        made = synthetic.generate(
            num_pairs=data_config.num_pairs, relatedness=data_config.relatedness
        )
        return made, False
    if name == "digit_domains":
        return _digit_domains(data_config, say), False
    if name == "clusters":
        return _clusters(data_config, say), False
    if name == "class_folders":
        return _class_folders(data_config, say, room), False
    why = ""
    folder = search.find_prepared(name, data_config.dir)
    if folder is None and _may_fall_back(data_config):
        why = _from_network(data_config, say)
        folder = search.find_prepared(name, data_config.dir)
    if folder is not None:
        return _read_or_open(folder, data_config, say, room), False
    advice = _advice(name, data_config.dir, why)
    if not _may_fall_back(data_config):
        raise UserError(advice)
    say(
        "NOTICE: training on scikit-learn's embedded digits (1,797 real 8x8 images), not on MNIST. "
        + advice
    )
    return sources.embedded_digits(), True


def _read(name: str, folder: Path, data_config: ConfigDict, say: Say) -> dict[str, LabelledImages]:
    """Both splits of a prepared set."""
    cache_dir, side = data_config.cache_dir, data_config.image_size
    return sources.read_prepared(name, folder, cache_dir=cache_dir, say=say, image_size=side)


def _read_or_open(
    folder: Path, data_config: ConfigDict, say: Say, room: int | None
) -> dict[str, LabelledImages]:
    """`_read`, or the same with the images left where they are."""
    name, side = data_config.name, data_config.image_size
    size = records.decoded_bytes(folder, side=side)
    if not placement.streams(size, data_config, room=room, say=say):
        return _read(name, folder, data_config, say)
    cache_dir = data_config.cache_dir
    return records.open_records(name, folder, cache_dir=cache_dir, say=say, image_size=side)


def _class_folders(
    data_config: ConfigDict, say: Say, room: int | None
) -> dict[str, LabelledImages]:
    """The splits of a folder of classes."""
    folder, side = Path(data_config.dir), data_config.image_size
    splits = class_folders.open_class_folders(folder, side=side, say=say)
    if data_config.tasks == "superclass" and not splits["train"].superclass_names:
        raise UserError(
            f"data.tasks = superclass needs folders of superclasses, but {folder} holds classes: "
            "put them into folders, train/<superclass>/<class>/<image>, or set data.tasks to "
            "all_classes."
        )
    size = sum(images.images.nbytes for images in splits.values())
    if placement.streams(size, data_config, room=room, say=say):
        return splits
    report = progress.lines(say)
    return {
        split: replace(
            images, images=images.images.read_all(partial(report, f"reading {folder.name} {split}"))
        )
        for split, images in splits.items()
    }


def _read_or_advise(name: str, *, data_config: ConfigDict, say: Say) -> dict[str, LabelledImages]:
    """`_read` for one of several sets, none of which anything stands in for."""
    folder = search.find_prepared(name, data_config.dir)
    if folder is None:
        raise UserError(_advice(name, data_config.dir, ""))
    return _read(name, folder, data_config, say)


def _digit_domains(data_config: ConfigDict, say: Say) -> dict[str, LabelledImages]:
    """The splits of all digit sets; scaling by ink needs the images as stored."""
    side, by_ink = data_config.image_size, data_config.digit_frame == "ink"
    stored = ConfigDict(data_config)
    if by_ink:
        stored.image_size = 0
        say(f"Scaling digits so that each fills {side}x{side} pixels.")
    read = partial(_read_or_advise, data_config=stored, say=say)
    return domains.digit_domains(read, side=side, by_ink=by_ink)


def _clusters(data_config: ConfigDict, say: Say) -> dict[str, LabelledImages]:
    """The splits of three sets in one, or of two where the third is not prepared."""
    names = list(clusters.REQUIRED)
    if search.find_prepared(clusters.OPTIONAL, data_config.dir) is not None:
        names.append(clusters.OPTIONAL)
    found = {name: _read_or_advise(name, data_config=data_config, say=say) for name in names}
    if clusters.OPTIONAL not in found:
        say(
            f"NOTICE: training without the ten tasks of {clusters.OPTIONAL}. "
            + _advice(clusters.OPTIONAL, data_config.dir, "")
        )
    train, _ = hold_out(found["cifar100"]["train"], clusters.HELD_OUT)
    found["cifar100"] = found["cifar100"] | {"train": train}
    return clusters.join(found, say=say)


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


def _tasks(images: LabelledImages, data_config: ConfigDict) -> TaskArrays:
    """The tasks of a split, as many as are asked for."""
    arrays = TASKS[data_config.tasks](images)
    exist, wanted, first = len(arrays.names), data_config.num_tasks, data_config.first_task
    if first >= exist:
        raise UserError(
            f"data.first_task = {first}, but data.name = {images.name} with data.tasks = "
            f"{data_config.tasks} has {exist} tasks, counted from 0: set data.first_task to at "
            f"most {exist - 1}."
        )
    if first and wanted is not None and first + wanted > exist:
        raise UserError(
            f"data.first_task = {first} and data.num_tasks = {wanted}, but data.name = "
            f"{images.name} with data.tasks = {data_config.tasks} has {exist} tasks: set "
            f"data.num_tasks to at most {exist - first}, or to None for all that are left."
        )
    if wanted is not None and wanted > exist:
        raise UserError(
            f"data.num_tasks = {wanted}, but data.name = {images.name} with data.tasks = "
            f"{data_config.tasks} has {exist} tasks: set data.num_tasks to at most {exist}, or to "
            "None for all."
        )
    if data_config.domains != "all" or data_config.target:
        return arrays.subset(domains.rows(data_config.domains, data_config.target))
    if data_config.alphabets:
        return arrays.subset(_named(data_config.alphabets, arrays.names))
    return arrays.subset(list(range(first, first + wanted if wanted else exist)))


def _labelled(arrays: TaskArrays, data_config: ConfigDict) -> TaskArrays:
    """The training examples with the labels that are kept."""
    wanted = data_config.examples_per_class
    if wanted is None:
        return labels.keep_share(arrays, data_config.label_fraction)
    fewest = labels.smallest_class(arrays)
    if wanted > fewest:
        raise UserError(
            f"data.examples_per_class = {wanted}, but a class has only {fewest} training examples: "
            f"set it to at most {fewest}, or to None for all."
        )
    return labels.keep_of_each_class(arrays, wanted)


def _named(alphabets: str, names: tuple[str, ...]) -> list[int]:
    """The numbers of alphabets by their names, "Gujarati,Korean"."""
    wanted = alphabets.split(",")
    unknown = [name for name in wanted if name not in names]
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"data.alphabets: there is no alphabet {unknown[0]!r}{hint}; those that exist: "
            f"{', '.join(names)}."
        )
    if len(set(wanted)) < len(wanted):
        raise UserError(f"data.alphabets = {alphabets}: name each alphabet once.")
    return [names.index(name) for name in wanted]


def _require_examples(splits: dict[str, TaskArrays], data_config: ConfigDict) -> None:
    """Refuses a task that cannot be learned, or not be evaluated."""
    for split, arrays in splits.items():
        counts = labels.is_counted(arrays.labels, arrays.sizes).sum(1)
        empty = [name for name, count in zip(arrays.names, counts, strict=True) if not count]
        if empty:
            raise UserError(
                f"{len(empty)} of {len(counts)} tasks have no labelled {split} example: "
                f"{', '.join(empty[:3])}{' ...' if empty[3:] else ''}. Raise data.label_fraction "
                f"(now {data_config.label_fraction:g}), change data.validation_fraction (now "
                f"{data_config.validation_fraction:g}), or leave the tasks out by data.num_tasks "
                f"(now {data_config.num_tasks})."
            )


def task_major(images: np.ndarray, arrays: TaskArrays) -> MultiTaskData:
    """The arrays of training, without the images [M, ...] that no task uses."""
    used = np.zeros(len(images), bool)
    for row, size in zip(arrays.index, arrays.sizes, strict=True):
        used[row[:size]] = True
    index = arrays.index
    if not used.all():
        images = images[used]
        # Padding points to an image too; the first one is as good as any.
        index = np.where(used, np.cumsum(used) - 1, 0).astype(np.int32)[index]
    uneven = (arrays.classes < arrays.classes.max()).any()
    classes = arrays.classes if uneven else None
    return MultiTaskData(images, index, arrays.labels, arrays.sizes, classes)
