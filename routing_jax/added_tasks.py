"""Tasks that are added to a trained network. Imports no JAX.

A network that took new tasks has a configuration like any other: `data.*` name the new tasks, and
`data.old_tasks` those before. It is a JSON list with an object for each time that tasks were
learned, first to last, which holds the fields of `data` that were not at their defaults then.
"""

import json
from pathlib import Path

import ml_collections

from routing_jax.config import base_config, from_values
from routing_jax.errors import UserError
from routing_jax.workdir import Workdir

OTHER_PROGRAM = "Use the program that it was trained with, or train it anew with this one."
"""What to do where a trained run cannot be read."""

_OF_THE_MACHINE = ("dir", "cache_dir", "input")
"""Where data lie, and how they are read: the same for all tasks of a run."""


def stages(data: ml_collections.ConfigDict) -> list[ml_collections.ConfigDict]:
    """The `data` parts of configurations that the tasks before were learned with, first to last.

    Args:
        data: The `data` part of a validated configuration.
    """
    here = {name: data[name] for name in _OF_THE_MACHINE}
    found = json.loads(data.old_tasks or "[]")
    return [from_values({"data": fields | here}).data for fields in found]


def old_tasks_with(data: ml_collections.ConfigDict) -> str:
    """`data.old_tasks` of a network that has the tasks of `data` and is given more."""
    defaults = base_config().data.to_dict()
    apart = {*_OF_THE_MACHINE, "old_tasks"}
    own = {
        name: value
        for name, value in data.to_dict().items()
        if name not in apart and value != defaults[name]
    }
    return json.dumps([*json.loads(data.old_tasks or "[]"), own])


def config_asked_for(
    place: str | None, *, source: str | None, workdir: Workdir | None
) -> ml_collections.ConfigDict:
    """The configuration of a run that adds tasks to a trained network, but for their names.

    Args:
        place: The work directory of the network, as the command line names it.
        source: The experiment that it names; there should be none.
        workdir: Where the network with more tasks is to be.

    Returns:
        The network's own configuration, locked, with which a run starts from it and learns heads
        and routes; `data` still name the tasks that are there.

    Raises:
        UserError: A flag is missing or one too many, or there is no finished run to be read.
    """
    if source is not None:
        raise UserError(
            "--config with --mode=add_task: the configuration is that of the run in --from; single "
            "fields are set with --config.<field>=<value>."
        )
    if not place or workdir is None:
        raise UserError(
            "--mode=add_task needs --from=DIR, the work directory of the trained run, and "
            "--workdir=DIR, where the network with more tasks is to be; --config.data.* name them."
        )
    trained = Workdir(Path(place).expanduser())
    if workdir.path.resolve() == trained.path.resolve():
        raise UserError(f"--workdir={workdir.path} is the run in --from: name another directory.")
    trained.require_finished(f"--from={place}")
    return _config_to_add_to(trained)


def _config_to_add_to(trained: Workdir) -> ml_collections.ConfigDict:
    config = trained.read_config(remedy=OTHER_PROGRAM)
    config.data.old_tasks = old_tasks_with(config.data)
    config.training.init_from = str(trained.path)
    config.training.trainable = "head,mixing" if _has_own_routes(config) else "head"
    if _counts_blocks_by_tasks(config):
        from routing_jax.reporting.results import read_results  # imports NumPy

        config.model.num_blocks = len(read_results(trained.results_path)["tasks"])
    return config


def _has_own_routes(config: ml_collections.ConfigDict) -> bool:
    """Whether each task learns a route of its own."""
    return config.router.policy != "fixed" and config.router.agent == "per_task"


def _counts_blocks_by_tasks(config: ml_collections.ConfigDict) -> bool:
    """Whether a bank has as many blocks as there are tasks."""
    own = config.router.policy == "fixed" or config.model.block == "components"
    return config.model.num_blocks is None and not own
