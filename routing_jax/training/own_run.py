"""Runs on task sets of one's own, started from Python."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from routing_jax import config as config_lib
from routing_jax.added_tasks import config_asked_for
from routing_jax.cli import Command
from routing_jax.config_fields import FIELDS
from routing_jax.data.joining import join
from routing_jax.data.labels import labelled_rows
from routing_jax.data.task_set import TaskSet
from routing_jax.errors import ConfigError, UserError
from routing_jax.objectives import OBJECTIVES
from routing_jax.reporting.results import read_results
from routing_jax.training.run import run
from routing_jax.training.stopping import Stops
from routing_jax.workdir import Workdir


def train(
    config: ConfigDict, tasks: TaskSet, *, workdir: str | Path, overwrite: bool = False
) -> dict[str, Any]:
    """Trains on a task set as `launch.py` trains on those it can load.

    All that a run writes is written to the work directory; the same call resumes a stopped run, and
    shows a finished one again.

    Args:
      config: a configuration, such as `base_config()` with some fields set; of its fields `data.*`
        only `data.share_images` and `data.augment` count.
      tasks: see `task_set`.
      workdir: directory of the run.
      overwrite: remove an earlier run there first.

    Returns:
      What `results.json` holds.

    Raises:
      UserError: something in the input has to be mended first.
      RunError: the run had begun and cannot go on.
    """
    config = config_lib.from_values(config.to_dict())
    config.data.name = config.data.tasks = "own"
    return _run(config, tasks, workdir, overwrite=overwrite)


def add_tasks(
    trained: str | Path,
    old: TaskSet | Sequence[TaskSet],
    new: TaskSet,
    *,
    workdir: str | Path,
    changes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Adds tasks to a network that `train` trained, as `launch.py --mode=add_task` does.

    Each new task learns its route and its head; what the old tasks are answered does not change.

    Args:
      trained: work directory of the network, which has `model.head=own`.
      old: the task set that it was trained on; several in their order where it took tasks before.
      new: the tasks to add.
      workdir: directory of the run, and of the network with all tasks.
      changes: fields of the trained run's configuration to set anew, by dotted name, such as
        {"training.steps": 500}.
      overwrite: remove an earlier run there first.

    Returns:
      What `results.json` holds; `new_tasks` is of the new ones.

    Raises:
      UserError: something in the input has to be mended first.
      RunError: the run had begun and cannot go on.
    """
    changes = dict(changes or {})
    config = config_asked_for(str(trained), source=None, workdir=Workdir(Path(workdir)))
    unknown = [config_lib.unknown_field_message(name) for name in changes if name not in FIELDS]
    if unknown:
        raise UserError("\n".join(unknown))
    config.update_from_flattened_dict(changes)
    config_lib.resolve_length(config, changes)
    tasks = join([old] if isinstance(old, TaskSet) else old, new)
    return _run(config, tasks, workdir, overwrite=overwrite)


def _run(
    config: ConfigDict, tasks: TaskSet, workdir: str | Path, *, overwrite: bool
) -> dict[str, Any]:
    config_lib.validate(config)
    _require_fit(config, tasks)
    if not config.data.share_images:  # then an example without a label would only fill the batch
        labelled = tasks.train._replace(**labelled_rows(tasks.train))
        tasks = dataclasses.replace(tasks, train=labelled)
    command = Command((), "train", config, Workdir(Path(workdir)), overwrite)
    started = time.monotonic()
    with command.settled_workdir():
        run(command, Stops(), started=started, tasks=tasks)
    return read_results(command.workdir.results_path)


def _require_fit(config: ConfigDict, tasks: TaskSet) -> None:
    """Raises ConfigError for fields that do not go with the tasks."""
    problems = []
    if len(tasks.image_shape) == 1 and config.model.encoder != "flatten":
        problems.append("the inputs are vectors, not images; set model.encoder to flatten")
    if len(tasks.image_shape) == 1 and config.data.augment != "none":
        problems.append("the inputs are vectors, not images; set data.augment to none")
    rewards = OBJECTIVES[tasks.objective].final_rewards
    if config.reward.final not in rewards:
        problems.append(f"the tasks predict numbers; set reward.final to {' or '.join(rewards)}")
    if problems:
        raise ConfigError(f"The configuration does not fit {tasks.name}: {'; '.join(problems)}.")
