"""The record of a run, from its parts."""

import os
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from routing_jax.config_components import num_blocks
from routing_jax.devices import mesh_text
from routing_jax.reporting import results
from routing_jax.reporting.formats import higher_is_better
from routing_jax.training import adaptation
from routing_jax.training.cost import routed_cost
from routing_jax.training.evaluation import Evaluation
from routing_jax.training.loop import Run
from routing_jax.training.pace import Elapsed
from routing_jax.training.state import Best
from routing_jax.types import Params


def run_record(
    planned: Run,
    evaluation: Evaluation,
    *,
    step: int,
    params: Params,
    best: Best | None = None,
    curve: Sequence[results.CurveEntry],
    elapsed: Elapsed,
    command: str,
) -> results.RunRecord:
    """What a run measured, ready for results.json.

    Args:
      planned: the run.
      evaluation: of the state that it is judged by, as NumPy arrays.
      step: of its last state.
      params: its network's parameters, of one seed.
      best: what the run is judged by, as NumPy arrays; None for that state.
      curve: the records of its evaluations.
      elapsed: where the time went.
      command: as typed.
    """
    tasks, config = planned.tasks, planned.program.config
    seconds = _seconds(elapsed, step)
    return results.RunRecord(
        experiment=config.experiment,
        dataset=results.DatasetRecord(
            name=tasks.name,
            embedded_fallback=tasks.embedded_fallback,
            num_train=int(tasks.train.images.shape[0]),
            num_test=int(tasks.test.images.shape[0]),
            evaluated_on=tasks.evaluated_on,
        ),
        tasks=tasks.task_names,
        seeds=[config.training.seed],
        test={name: values[None] for name, values in evaluation.metrics.items()},
        recalls=None if evaluation.recalls is None else evaluation.recalls[None],
        curve=[curve],
        routing_map=_routing_map(config, tasks.num_tasks, evaluation),
        allocation=_allocation(config, evaluation),
        mixing_weights=_mixing_weights(config, evaluation),
        multiply_adds=routed_cost(planned.program, evaluation, _allocation(config, evaluation)),
        selection=_selection(best, next(iter(evaluation.metrics))),
        seconds=seconds,
        examples_per_second=planned.task_examples / seconds.per_step,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        trained_parameters=adaptation.numbers(config, params, num_old=tasks.num_old),
        num_old=tasks.num_old,
        config=config.to_dict(),
        command=command,
        device=_device(planned.mesh),
    )


def _seconds(elapsed: Elapsed, step: int) -> results.SecondsRecord:
    """Where the time of a run of so many steps went."""
    return results.SecondsRecord(
        total=elapsed.total,
        compile=elapsed.compile,
        first_step=elapsed.first_step,
        train=elapsed.train,
        per_step=(elapsed.train - elapsed.evaluation) / step,
        save=elapsed.save,
        wait=elapsed.wait,
    )


def _routing_map(config: ConfigDict, num_tasks: int, evaluation: Evaluation) -> np.ndarray | None:
    """Greedy blocks [1, T, D], PASS = -1; None where routes are mixtures."""
    if not _takes_one_block(config):
        return None
    if not config.router.pass_action:
        return evaluation.greedy[None]
    last = num_blocks(config.model, num_tasks)
    return np.where(evaluation.greedy == last, -1, evaluation.greedy)[None]


def _takes_one_block(config: ConfigDict) -> bool:
    """Whether one block serves a task at each depth."""
    if config.model.name == "compositional":
        return config.router.policy == "fixed" or config.dispatch.apply == "select"
    return config.model.name == "routing_network"


def _mixing_weights(config: ConfigDict, evaluation: Evaluation) -> np.ndarray | None:
    """float32 [1, T, D, K]; None where blocks are not mixed."""
    if config.model.name not in ("compositional", "soft_mixture"):
        return None
    return evaluation.routing[None]


def _allocation(config: ConfigDict, evaluation: Evaluation) -> np.ndarray | None:
    """Which blocks are on, bool [1, T, D, K]; None where blocks are not switched on and off."""
    if config.model.name != "gumbel_matrix":
        return None
    return evaluation.routing[None] >= 0.5


def _selection(best: Best | None, metric: str) -> results.SelectionRecord | None:
    if best is None:
        return None
    value = float(best.score) if higher_is_better(metric) else -float(best.score)
    return results.SelectionRecord("validation", metric, [int(best.step)], [value])


def _device(mesh: Mesh) -> str:
    """What a run was on, such as "8 x NVIDIA H200 (data:4,block:2)"."""
    device = mesh.devices.flat[0]
    name = device.device_kind
    if device.platform == "cpu":
        name = f"CPU, {os.cpu_count()} cores"
        if mesh.size == 1:
            return name
    axes = mesh_text(mesh.shape)
    return f"{mesh.size} x {name}{axes and f' ({axes})'}"
