"""The record of a run, from its parts."""

import os
from collections.abc import Sequence

import jax
import numpy as np

from routing_jax.reporting import results
from routing_jax.training.evaluation import Evaluation
from routing_jax.training.loop import Run
from routing_jax.training.pace import Elapsed


def run_record(
    planned: Run,
    evaluation: Evaluation,
    *,
    step: int,
    parameters: int,
    curve: Sequence[results.CurveEntry],
    elapsed: Elapsed,
    command: str,
) -> results.RunRecord:
    """What a run measured, ready for results.json.

    Args:
      planned: the run.
      evaluation: of its last state, as NumPy arrays.
      step: of that state.
      parameters: trained numbers of its network.
      curve: the records of its evaluations.
      elapsed: where the time went.
      command: as typed.
    """
    tasks, config = planned.tasks, planned.program.config
    per_step = (elapsed.train - elapsed.evaluation) / step
    num_blocks = config.model.num_blocks or tasks.num_tasks
    routes = np.where(evaluation.greedy == num_blocks, -1, evaluation.greedy)
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
        curve=[curve],
        routing_map=routes[None],
        seconds=results.SecondsRecord(
            total=elapsed.total,
            compile=elapsed.compile,
            first_step=elapsed.first_step,
            train=elapsed.train,
            per_step=per_step,
            save=elapsed.save,
        ),
        examples_per_second=planned.task_examples / per_step,
        parameters=parameters,
        config=config.to_dict(),
        command=command,
        device=_device(),
    )


def _device() -> str:
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"CPU, {os.cpu_count()} cores"
    return f"{jax.device_count()} x {device.device_kind}"
