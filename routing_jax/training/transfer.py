"""A run that starts from what another one has trained.

Zhmoginov, Bashkirova, Sandler, "Compositional Models: Multi-Task Learning and Knowledge Transfer
with Modular Networks", 2021, learn a new task by its head and its mixing weights; here any system
can start from a trained one. Where tasks are added to its own, see `training.adding`.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from routing_jax.added_tasks import OTHER_PROGRAM
from routing_jax.config_adaptation import TURNED
from routing_jax.data.sources import Say
from routing_jax.errors import UserError
from routing_jax.reporting.results import read_results
from routing_jax.training import adding, loop, sharding
from routing_jax.training.checkpointing import Checkpoints, told_shape
from routing_jax.training.compilation import cached_compilations
from routing_jax.training.manifest import newest_version, told_version
from routing_jax.training.state import TrainState, by_path
from routing_jax.training.step import variables_of
from routing_jax.training.streamed import shapes_of
from routing_jax.training.trainable import chosen
from routing_jax.workdir import Workdir

_MIXING = "params.router.logits"
_SHAPING = ("model.", "dispatch.", "router.", "data.image_size", "data.name", "data.tasks")
"""How the names of the fields begin that a network's arrays depend on."""


class _Source(NamedTuple):
    """What a finished run has left."""

    named: str
    """How the user named it."""
    config: ConfigDict
    dataset: str
    tasks: tuple[str, ...]
    arrays: dict[str, np.ndarray]
    told_version: str
    """Says that another version of the program saved it; "" for this one."""


def start(run: loop.Run, one: loop.Run, *, say: Say) -> TrainState | None:
    """The state before the first step of a run that `training.init_from` starts from another.

    Parameters and running averages are those that the other run is judged by. Arrays that belong to
    tasks, such as their heads and their mixing weights, are drawn anew unless both runs have the
    same tasks, but for mixing weights with `router.mixing_start=source`. Everything else begins as
    in any run.

    Args:
      run: the run, perhaps of many cells.
      one: the run of a cell; the same as `run` where there is only one.
      say: receives a line about what is taken.

    Returns:
      None where the run starts from random draws.

    Raises:
      UserError: the other run is not there, not finished, has another network, or mixes at another
        temperature.
    """
    place = one.program.config.training.init_from
    if not place:
        return None
    source = _read(Path(place))
    given = _added_to(source, one) if one.tasks.num_old else _suitable(source, one)
    here = by_path(variables_of(loop.abstract_state(one)))
    anew = [name for name in here if name not in given or given[name].shape != here[name].shape]
    numbers = sum(array.size for array in given.values())
    own = f"; drawn anew for these tasks: {', '.join(anew)}" if anew else ""
    if one.tasks.num_old:
        own = f"; rows for {one.tasks.num_learned} new tasks in: {', '.join(anew)}"
    say(f"Starting from {place}: {numbers:,} numbers in {len(given)} arrays{own}.")
    if anew:
        _tell_of_new_tasks(source, one, say)
    with cached_compilations():
        hyper = sharding.place(run.hyper, run.mesh, run.rules)
        train = loop.to_init(run, loop.to_device(run.tasks.train, run.mesh))
        return run.init(hyper, train, given)


def _tell_of_new_tasks(source: _Source, one: loop.Run, say: Say) -> None:
    """Says where their mixing weights come from, and which the source has learned after all."""
    if one.program.config.router.mixing_start == "source":
        say("New tasks start from the mean of its mixing weights.")
    learned = [] if one.tasks.num_old else _learned_before(source, one)
    if learned:
        say(
            f"NOTICE: that run has learned {len(learned)} of these {len(one.tasks.task_names)} "
            f"tasks, so they are not new to its blocks: {', '.join(learned)}."
        )


def _learned_before(source: _Source, one: loop.Run) -> list[str]:
    """The tasks of the run that the other run has; its data may be several sets, added up."""
    if one.tasks.name not in source.dataset.split(" + "):
        return []
    there = {name.removesuffix(f" ({one.tasks.name})") for name in source.tasks}
    return [name for name in one.tasks.task_names if name in there]


def _read(place: Path) -> _Source:
    workdir, named = Workdir(place), f"training.init_from = {place}"
    workdir.require_finished(named)
    found = read_results(workdir.results_path)
    return _Source(
        named=named,
        config=workdir.read_config(remedy=OTHER_PROGRAM),
        dataset=found["dataset"]["name"],
        tasks=tuple(found["tasks"]),
        arrays=Checkpoints(workdir.checkpoint_dir, dataset="").read_network(),
        told_version=told_version(newest_version(workdir.checkpoint_dir)),
    )


def _suitable(source: _Source, one: loop.Run) -> dict[str, np.ndarray]:
    """The arrays that the run takes over."""
    here = by_path(variables_of(loop.abstract_state(one)))
    same_tasks = (source.dataset, source.tasks) == (one.tasks.name, one.tasks.task_names)
    if one.program.config.data.target:
        source, own = _with_target(source, one), set()
    else:
        own = set() if same_tasks else set(owned_by_tasks(one))
        if own and one.program.config.router.mixing_start == "source":
            rows = _mean_mixing(source, one.tasks.num_tasks)
            source, own = source._replace(arrays=source.arrays | rows), own - {_MIXING}
    _require_alike(source, one, here, apart=own)
    _require_temperature(source, one)
    given = {name: array for name, array in source.arrays.items() if name not in own}
    if not any(name.startswith("params.") for name in given):
        raise UserError(
            f"{source.named} has nothing for this run: its tasks are other ones, and all "
            f"parameters of model.name = {source.config.model.name} belong to tasks. Name a run "
            "whose tasks share parameters."
        )
    return given


def _with_target(source: _Source, one: loop.Run) -> _Source:
    """The source as if it had the run's tasks: the target, the last of them, is a copy of one.

    Raises:
      UserError: the source has learned other tasks, the target, or digits of another size.
    """
    config, tasks = one.program.config, one.tasks.task_names
    labelled, target = tasks[:-1], config.data.target
    told = f"{source.named} has learned {', '.join(source.tasks)}"
    missing = [name for name in labelled if name not in source.tasks]
    if source.dataset != one.tasks.name or missing:
        raise UserError(
            f"{told} of {source.dataset}, and the sources of this run are {', '.join(labelled)} of "
            f"{one.tasks.name}: train them first, or name them alike in data.domains."
        )
    for name in (target, TURNED.get(target)):
        if name in source.tasks:
            why = "" if name == target else f"has the images of {name}, which "
            raise UserError(
                f"{told}, and the target of this run, {target}, {why}is among them: name a run "
                "without it in data.domains."
            )
    frames = [found.data.digit_frame for found in (source.config, config)]
    if frames[0] != frames[1]:
        raise UserError(
            f"{source.named} has learned with data.digit_frame = {frames[0]}, and this run has "
            f"{frames[1]}: set it as it is there, or name a run with it."
        )
    start = config.adaptation.start_from or labelled[0]
    rows = [source.tasks.index(name) for name in (*labelled, start)]
    axes, arrays = owned_by_tasks(one), dict(source.arrays)
    for name, axis in axes.items():
        # An array of another shape stays as it is, and is told then.
        if name in arrays and arrays[name].shape[axis : axis + 1] == (len(source.tasks),):
            arrays[name] = np.take(arrays[name], rows, axis)
    return source._replace(tasks=tasks, arrays=arrays)


def _require_temperature(source: _Source, one: loop.Run) -> None:
    """Raises UserError where mixing weights would stay, or be drawn, at another temperature.

    They keep their meaning only at the temperature that they have ended at. It stays unless running
    averages are trained, and with a target the sources' weights stay in any case.
    """
    name, config = "batch_stats.router.temperature", one.program.config
    anew = {"mixing", "statistics"} <= chosen(config.training.trainable)
    if name not in source.arrays or (anew and not config.data.target):
        return
    ended = float(source.arrays[name])
    now = {float(one.hyper.temperature), float(one.hyper.temperature_end)}
    if not all(math.isclose(ended, value, rel_tol=0.01) for value in now):
        raise UserError(
            f"{source.named} ended at a temperature of {ended:.3g} of its mixing "
            f"weights: set router.temperature to {ended:.3g} and router.temperature_end to None."
        )


def _added_to(source: _Source, one: loop.Run) -> dict[str, np.ndarray]:
    """All arrays of a network that tasks are added to; what is drawn for new ones has old rows."""
    adding.require_same_tasks(source.named, source.dataset, source.tasks, one.tasks)
    adding.require_same_answers(source.named, source.config, one.program.config)
    before = network_of_tasks(one, one.tasks.num_old)
    _require_alike(source, one, before)
    arrays = source.arrays
    if one.program.config.router.mixing_start == "source":
        new = _mean_mixing(source, one.tasks.num_learned)[_MIXING]
        arrays = arrays | {_MIXING: np.concatenate([arrays[_MIXING], new])}
    return adding.with_new_averages(arrays, by_path(variables_of(loop.abstract_state(one))))


def _mean_mixing(source: _Source, count: int) -> dict[str, np.ndarray]:
    """The mean of the logits [T, D, K] of its tasks as [count, D, K]; nothing if it has none."""
    if _MIXING not in source.arrays:  # which is told where arrays are compared
        return {}
    mean = source.arrays[_MIXING].mean(0, keepdims=True)
    return {_MIXING: np.repeat(mean, count, axis=0)}


def _require_alike(
    source: _Source, one: loop.Run, wanted: Mapping[str, Any], *, apart: Collection[str] = ()
) -> None:
    """Raises UserError unless the source has the arrays that are wanted; some are left `apart`."""
    names = sorted((wanted.keys() | source.arrays.keys()) - set(apart), key=_parameters_first)
    for name in names:
        there, now = (_told(arrays.get(name)) for arrays in (source.arrays, wanted))
        if there != now:
            raise UserError(
                f"{source.named} has another network: {name} is {there} there and {now} in this "
                f"run. {_remedy(source, one)}"
            )


def owned_by_tasks(one: loop.Run) -> dict[str, int]:
    """The arrays that belong to tasks: their shapes change with the number of tasks.

    Returns:
      The axis of tasks by path; -1 for an array that is there for some numbers of tasks only.
    """
    usual = by_path(variables_of(loop.abstract_state(one)))
    changed = network_of_tasks(one, one.tasks.num_tasks + 1)
    return {
        name: _axis(usual.get(name), changed.get(name))
        for name in usual | changed
        if _told(usual.get(name)) != _told(changed.get(name))
    }


def network_of_tasks(one: loop.Run, num_tasks: int) -> dict[str, Any]:
    """Shapes of the arrays that a run's network would have for so many tasks, by path."""
    program, train = one.program, shapes_of(one.tasks.train)
    config = program.config.copy_and_resolve_references()
    if config.router.routes[0].isdigit():  # a table has to hold one for each task
        config.router.routes += " " + config.router.routes.split()[0]
    rows = {
        field: jax.ShapeDtypeStruct((num_tasks, *array.shape[1:]), array.dtype)
        for field, array in train._asdict().items()
        if field != "images" and array is not None
    }
    shape = program.shape._replace(num_tasks=num_tasks, num_old=0)
    other = dataclasses.replace(program, config=config, shape=shape)
    return by_path(variables_of(jax.eval_shape(other.init, one.hyper, train._replace(**rows))))


def _axis(before: jax.ShapeDtypeStruct | None, after: jax.ShapeDtypeStruct | None) -> int:
    """The first axis in which two shapes differ; -1 unless both are there."""
    if before is None or after is None:
        return -1
    pairs = zip(before.shape, after.shape, strict=True)
    return next(axis for axis, (old, new) in enumerate(pairs) if old != new)


def _parameters_first(name: str) -> tuple[bool, str]:
    return not name.startswith("params."), name


def _told(array: Any) -> str:
    return "missing" if array is None else told_shape(array)


def _remedy(source: _Source, one: loop.Run) -> str:
    """What to change so that the networks are alike."""
    differing = adding.differing(source.config, one.program.config, _SHAPING)
    remedy = "Name a run whose images and classes have the sizes of this one's."
    if one.tasks.num_old:  # its fields are the same, and its images are
        remedy = OTHER_PROGRAM
    elif differing:
        listed = ", ".join(differing)
        remedy = f"Fields of the network that differ: {listed}. Set them as they are there."
    return " ".join(filter(None, [source.told_version, remedy]))
