"""A run that starts from what another one has trained.

Zhmoginov, Bashkirova, Sandler, "Compositional Models: Multi-Task Learning and Knowledge Transfer
with Modular Networks", 2021, learn a new task by its head and its mixing weights; here any system
can start from a trained one.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from routing_jax.config import flatten
from routing_jax.data.sources import Say
from routing_jax.errors import UserError
from routing_jax.reporting.results import read_results
from routing_jax.training import loop, sharding
from routing_jax.training.checkpointing import Checkpoints, told_shape
from routing_jax.training.compilation import cached_compilations
from routing_jax.training.state import TrainState, by_path
from routing_jax.training.step import variables_of
from routing_jax.training.streamed import shapes_of
from routing_jax.workdir import Workdir

_SHAPING = ("model.", "dispatch.", "router.", "data.image_size", "data.name", "data.tasks")
"""How the names of the fields begin that a network's arrays depend on."""


class _Source(NamedTuple):
    """What a finished run has left."""

    config: ConfigDict
    dataset: str
    tasks: tuple[str, ...]
    arrays: dict[str, np.ndarray]


def start(run: loop.Run, one: loop.Run, *, say: Say) -> TrainState | None:
    """The state before the first step of a run that `training.init_from` starts from another.

    Parameters and running averages are those that the other run is judged by. Arrays that belong to
    tasks, such as their heads and their mixing weights, are drawn anew unless both runs have the
    same tasks. Everything else begins as in any run.

    Args:
      run: the run, perhaps of many cells.
      one: the run of a cell; the same as `run` where there is only one.
      say: receives a line about what is taken.

    Returns:
      None where the run starts from random draws.

    Raises:
      UserError: the other run is not there, not finished, or has another network.
    """
    place = one.program.config.training.init_from
    if not place:
        return None
    source = _read(Path(place))
    given = _suitable(source, one, place)
    here = by_path(variables_of(loop.abstract_state(one)))
    anew = [name for name in here if name not in given]
    numbers = sum(array.size for array in given.values())
    own = f"; drawn anew for these tasks: {', '.join(anew)}" if anew else ""
    say(f"Starting from {place}: {numbers:,} numbers in {len(given)} arrays{own}.")
    with cached_compilations():
        hyper = sharding.place(run.hyper, run.mesh, run.rules)
        train = loop.to_init(run, loop.to_device(run.tasks.train, run.mesh))
        return run.init(hyper, train, given)


def _read(place: Path) -> _Source:
    workdir = Workdir(place)
    if not workdir.config_path.exists():
        raise UserError(
            f"training.init_from = {place} holds no run: there is no {workdir.config_path}. Name "
            "the work directory of a finished run."
        )
    if workdir.sweep_path.exists() or workdir.programs_dir.exists():
        raise UserError(
            f"training.init_from = {place} holds a sweep: name the work directory of a single run."
        )
    checkpoints = Checkpoints(workdir.checkpoint_dir, dataset="")
    if checkpoints.latest_step() is None:
        raise UserError(
            f"training.init_from = {place} holds a run that has saved nothing yet: train it to its "
            "end first, by the same command that began it."
        )
    if not workdir.results_path.exists():
        raise UserError(
            f"training.init_from = {place} holds a run that is not finished: train it to its end "
            "first, by the same command that began it."
        )
    found = read_results(workdir.results_path)
    arrays = checkpoints.read_network()
    return _Source(workdir.read_config(), found["dataset"]["name"], tuple(found["tasks"]), arrays)


def _suitable(source: _Source, one: loop.Run, place: str) -> dict[str, np.ndarray]:
    """The arrays that the run takes over."""
    here = by_path(variables_of(loop.abstract_state(one)))
    same_tasks = (source.dataset, source.tasks) == (one.tasks.name, one.tasks.task_names)
    if one.program.config.data.target:
        source, own = _with_target(source, one, place), set()
    else:
        own = set() if same_tasks else set(owned_by_tasks(one))
    names = sorted((here.keys() | source.arrays.keys()) - own, key=_parameters_first)
    for name in names:
        there, now = (_told(arrays.get(name)) for arrays in (source.arrays, here))
        if there != now:
            raise UserError(
                f"training.init_from = {place} has another network: {name} is {there} there and "
                f"{now} in this run. {_remedy(source.config, one)}"
            )
    given = {name: array for name, array in source.arrays.items() if name not in own}
    if not any(name.startswith("params.") for name in given):
        raise UserError(
            f"training.init_from = {place} has nothing for this run: its tasks are other ones, and "
            f"all parameters of model.name = {source.config.model.name} belong to tasks. Name a "
            "run whose tasks share parameters."
        )
    return given


def _with_target(source: _Source, one: loop.Run, place: str) -> _Source:
    """The source as if it had the run's tasks: the target, the last of them, is a copy of one.

    Raises:
      UserError: the source has learned other tasks, or the target, or at another temperature.
    """
    config, tasks = one.program.config, one.tasks.task_names
    labelled, target = tasks[:-1], config.data.target
    told = f"training.init_from = {place} has learned {', '.join(source.tasks)}"
    missing = [name for name in labelled if name not in source.tasks]
    if source.dataset != one.tasks.name or missing:
        raise UserError(
            f"{told} of {source.dataset}, and the sources of this run are {', '.join(labelled)} of "
            f"{one.tasks.name}: train them first, or name them alike in data.domains."
        )
    if target in source.tasks:
        raise UserError(
            f"{told}, and the target of this run, {target}, is among them: name a run without it "
            "in data.domains."
        )
    _require_temperature(source, one, place)
    start = config.adaptation.start_from or labelled[0]
    rows = [source.tasks.index(name) for name in (*labelled, start)]
    axes, arrays = owned_by_tasks(one), dict(source.arrays)
    for name, axis in axes.items():
        # An array of another shape stays as it is, and is told then.
        if name in arrays and arrays[name].shape[axis : axis + 1] == (len(source.tasks),):
            arrays[name] = np.take(arrays[name], rows, axis)
    return source._replace(tasks=tasks, arrays=arrays)


def _require_temperature(source: _Source, one: loop.Run, place: str) -> None:
    """Mixing weights keep their meaning only at the temperature that they have ended at."""
    ended = float(source.arrays.get("batch_stats.router.temperature", 1.0))
    now = {float(one.hyper.temperature), float(one.hyper.temperature_end)}
    if not all(math.isclose(ended, value, rel_tol=0.01) for value in now):
        raise UserError(
            f"training.init_from = {place} ended at a temperature of {ended:.3g} of its mixing "
            f"weights: set router.temperature to {ended:.3g} and router.temperature_end to None."
        )


def owned_by_tasks(one: loop.Run) -> dict[str, int]:
    """The arrays that belong to tasks: their shapes change with the number of tasks.

    Returns:
      The axis of tasks by path; -1 for an array that is there for some numbers of tasks only.
    """
    usual = by_path(variables_of(loop.abstract_state(one)))
    program, train = one.program, shapes_of(one.tasks.train)
    more = train.index.shape[0] + 1
    config = program.config.copy_and_resolve_references()
    if config.router.routes[0].isdigit():  # a table has to hold one for each task
        config.router.routes += " " + config.router.routes.split()[0]
    rows = {
        field: jax.ShapeDtypeStruct((more, *array.shape[1:]), array.dtype)
        for field, array in train._asdict().items()
        if field != "images" and array is not None
    }
    shape = program.shape._replace(num_tasks=more)
    wider = dataclasses.replace(program, config=config, shape=shape)
    state = jax.eval_shape(wider.init, one.hyper, train._replace(**rows))
    changed = by_path(variables_of(state))
    return {
        name: _axis(usual.get(name), changed.get(name))
        for name in usual | changed
        if _told(usual.get(name)) != _told(changed.get(name))
    }


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


def _remedy(there: ConfigDict, one: loop.Run) -> str:
    """What to change so that the networks are alike."""
    before, now = flatten(there), flatten(one.program.config)
    differing = _differing(before, now)
    if not differing:
        return "Name a run whose images and classes have the sizes of this one's."
    return f"Fields of the network that differ: {', '.join(differing)}. Set them as they are there."


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} ({before[name]!r} there, {now[name]!r} here)"
        for name in now
        if name.startswith(_SHAPING) and before.get(name) != now[name]
    ]
