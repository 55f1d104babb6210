"""The record of a run, from its parts."""

import os
import shlex
import sys

import jax
import numpy as np
from ml_collections import ConfigDict

from routing_jax.cli import Command
from routing_jax.reporting import results
from routing_jax.reporting.writers import read_records
from routing_jax.training.evaluation import Evaluation
from routing_jax.training.loop import Run
from routing_jax.training.pace import Elapsed
from routing_jax.training.state import TrainState


def run_record(
    command: Command,
    planned: Run,
    state: TrainState,
    evaluation: Evaluation,
    elapsed: Elapsed,
) -> results.RunRecord:
    """What a run measured, ready for results.json.

    Args:
      command: the command that ran; its work directory holds the curve.
      planned: the run.
      state: the last state.
      evaluation: of that state, as NumPy arrays.
      elapsed: where the time went.
    """
    tasks, config = planned.tasks, command.config
    per_step = (elapsed.train - elapsed.evaluation) / int(state.step)
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
        test={
            "accuracy": evaluation.accuracy[None],
            "balanced_accuracy": evaluation.balanced_accuracy[None],
        },
        curve=[read_records(command.workdir.metrics_path)],
        routing_map=_routing_map(config, tasks.num_tasks, evaluation),
        seconds=results.SecondsRecord(
            total=elapsed.total,
            compile=elapsed.compile,
            first_step=elapsed.first_step,
            train=elapsed.train,
            per_step=per_step,
            save=elapsed.save,
        ),
        examples_per_second=planned.task_examples / per_step,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        config=config.to_dict(),
        command=shlex.join(["python", *sys.argv]),
        device=_device(),
    )


def _routing_map(config: ConfigDict, num_tasks: int, evaluation: Evaluation) -> np.ndarray | None:
    """Greedy blocks [1, T, D], PASS = -1; None where routes are mixtures."""
    if config.model.name != "routing_network":
        return None
    if not config.router.pass_action:
        return evaluation.greedy[None]
    num_blocks = config.model.num_blocks or num_tasks
    return np.where(evaluation.greedy == num_blocks, -1, evaluation.greedy)[None]


def _device() -> str:
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"CPU, {os.cpu_count()} cores"
    return f"{jax.device_count()} x {device.device_kind}"
