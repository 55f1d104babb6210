"""results.json: one run's figures with everything needed to judge and repeat them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from routing_jax.errors import UserError
from routing_jax.files import write_json
from routing_jax.reporting.provenance import git_commit, peak_memory_bytes, versions

CurveEntry = Mapping[str, Any]
PER_TASK = ("recalls", "routing_map", "allocation", "mixing_weights")
"""What is told of each seed and task; None where there is no such thing."""


@dataclass(frozen=True)
class DatasetRecord:
    """The data a run learned from.

    Attributes:
        name: of the data set that was used.
        embedded_fallback: the embedded digits stood in for a data set that was not found.
        num_train: training examples.
        num_test: examples of the set that `evaluated_on` names.
        evaluated_on: "test" or "validation".
    """

    name: str
    embedded_fallback: bool
    num_train: int
    num_test: int
    evaluated_on: str


@dataclass(frozen=True)
class SecondsRecord:
    """Where the time went, in seconds.

    Attributes:
        total: from the command to the end of the last evaluation.
        compile: spent compiling.
        first_step: from the command to the first training step.
        train: spent in training steps and the evaluations among them.
        per_step: of `train`, for one step.
        save: training waited for checkpoints; no part of `train`.
        wait: of `train`, waiting for images that are streamed.
    """

    total: float
    compile: float
    first_step: float
    train: float
    per_step: float
    save: float
    wait: float = 0.0


@dataclass(frozen=True)
class SelectionRecord:
    """How the steps were chosen that a run is judged by; S seeds.

    Attributes:
        evaluated_on: the set they were chosen by, "validation"; it is the one of the curve.
        metric: what was best there, in the mean over tasks.
        step: [S], the best step of each seed.
        value: [S], of the metric at that step.
    """

    evaluated_on: str
    metric: str
    step: Sequence[int]
    value: Sequence[float]


@dataclass(frozen=True)
class CostRecord:
    """Multiply-adds of the routed layers for one example; encoder and heads are left out.

    Attributes:
        of_block: [D][K] of each block.
        per_task: [S, T] of the blocks that a task runs: those that are on, or on its route; where
            routes depend on the input, the mean over test examples.
    """

    of_block: Sequence[Sequence[int]]
    per_task: np.ndarray


@dataclass(frozen=True)
class RunRecord:
    """What only the run itself knows; S seeds trained side by side.

    Attributes:
        experiment: name of the experiment.
        dataset: the data it learned from.
        tasks: names of the T tasks.
        seeds: the S seeds.
        test: [S, T] per metric, of the final evaluation; accuracies are fractions.
        recalls: [S, T, C], the share of each class of the final evaluation that was answered
            rightly, NaN where a task has no such class; None where answers are no classes.
        curve: [S][i], entries with step, epoch, train_loss, policy_entropy_per_depth [D],
            blocks_used_per_depth [D] and the mean of each metric, as test_accuracy, over the tasks
            that are learned, on the set that `selection` or else the data set names.
        routing_map: [S, T, D] greedy blocks, PASS = -1; None where routes are mixtures.
        allocation: bool [S, T, D, K], which blocks are on; None where blocks are not switched.
        mixing_weights: [S, T, D, K], what tasks take of each block; None where blocks are not
            mixed.
        multiply_adds: what the routed layers cost; None where it is not known.
        selection: by what the best step of each seed was chosen, where `test` and what blocks and
            routes are told of were measured; None where the last step counts.
        seconds: where the time went.
        examples_per_second: training examples of all tasks and seeds, over `seconds.train`.
        parameters: numbers of one seed's network, its router included.
        trained_parameters: how many of them train; the rest stays as it was at the start.
        config: the resolved configuration as nested plain dictionaries.
        command: as typed.
        device: what it ran on, in words.
        num_old: tasks of the network that the others were added to; they come first.
    """

    experiment: str
    dataset: DatasetRecord
    tasks: Sequence[str]
    seeds: Sequence[int]
    test: Mapping[str, np.ndarray]
    recalls: np.ndarray | None
    curve: Sequence[Sequence[CurveEntry]]
    routing_map: np.ndarray | None
    allocation: np.ndarray | None
    mixing_weights: np.ndarray | None
    multiply_adds: CostRecord | None
    selection: SelectionRecord | None
    seconds: SecondsRecord
    examples_per_second: float
    parameters: int
    trained_parameters: int
    config: Mapping[str, Any]
    command: str
    device: str
    num_old: int = 0


def build_results(record: RunRecord) -> dict[str, Any]:
    """The contents of results.json, in plain Python values.

    Raises:
        ValueError: an array does not have one entry per seed and task.
    """
    _check_shapes(record)
    return {
        "experiment": record.experiment,
        "dataset": asdict(record.dataset),
        "tasks": list(record.tasks),
        "seeds": list(record.seeds),
        "test": {name: over_seeds(np.asarray(values)) for name, values in record.test.items()},
        "recalls": _plain(record.recalls),
        "new_tasks": _new_tasks(record),
        "curve": [[_plain_entry(entry) for entry in entries] for entries in record.curve],
        "routing_map": _plain(record.routing_map),
        "allocation": _blocks_on(record.allocation),
        "mixing_weights": _plain(record.mixing_weights),
        "multiply_adds": _costs(record.multiply_adds),
        "selection": None if record.selection is None else asdict(record.selection),
        "seconds": asdict(record.seconds),
        "examples_per_second": record.examples_per_second,
        "parameters": record.parameters,
        "trained_parameters": record.trained_parameters,
        "config": dict(record.config),
        "command": record.command,
        "versions": versions(),
        "device": record.device,
        "git_commit": git_commit(),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _new_tasks(record: RunRecord) -> dict[str, Any] | None:
    """What was measured on tasks that were added; None where none were."""
    if not record.num_old:
        return None
    new = {name: np.asarray(values)[:, record.num_old :] for name, values in record.test.items()}
    return {
        "tasks": list(record.tasks[record.num_old :]),
        "test": {name: over_seeds(values) for name, values in new.items()},
    }


def learned_test(results: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of the tasks that a run learned: of all, or of those that it added."""
    return (results.get("new_tasks") or results)["test"]


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Writes results.json at once or not at all; numbers that are not finite become null."""
    write_json(path, dict(results))


def read_results(path: Path) -> dict[str, Any]:
    """The contents of a results.json.

    Raises:
        UserError: there is none, or it is not a whole results.json.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {path}: has the run finished?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is cut off or not JSON ({error})") from None
    if not isinstance(results, dict) or "experiment" not in results:
        raise UserError(f"{path} is JSON, but not the results of a run")
    return results


def over_seeds(values: np.ndarray) -> dict[str, Any]:
    """A metric [S, T]: its mean, the error of that mean over seeds, means per task and per seed."""
    per_seed = values.mean(axis=1, dtype=np.float64)
    count = len(per_seed)
    return {
        "mean": float(per_seed.mean()),
        "stderr": float(per_seed.std(ddof=1) / np.sqrt(count)) if count > 1 else None,
        "per_task": values.mean(axis=0, dtype=np.float64).tolist(),
        "per_seed": per_seed.tolist(),
        "per_seed_and_task": values.astype(np.float64).tolist(),
    }


def _plain(array: np.ndarray | None) -> list[Any] | None:
    return None if array is None else np.asarray(array).tolist()


def _blocks_on(allocation: np.ndarray | None) -> list[Any] | None:
    """[seed][task][depth], the numbers of the blocks that are on."""
    if allocation is None:
        return None
    return [
        [[np.flatnonzero(blocks).tolist() for blocks in task] for task in seed]
        for seed in allocation
    ]


def _costs(costs: CostRecord | None) -> dict[str, Any] | None:
    if costs is None:
        return None
    of_block = [list(blocks) for blocks in costs.of_block]
    return multiply_adds(of_block, np.asarray(costs.per_task).tolist())


def multiply_adds(of_block: list[list[int]], per_task: list[list[float]]) -> dict[str, Any]:
    """What routed layers cost: see `CostRecord`.

    Returns:
        Both, the sum over all blocks, and the share of it that the tasks save in the mean.
    """
    total = sum(map(sum, of_block))
    saved = 1 - float(np.mean(per_task)) / total if total else 0.0
    return {"of_block": of_block, "all_blocks": total, "per_task": per_task, "share_saved": saved}


def _plain_entry(entry: CurveEntry) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in entry.items()}


def _check_shapes(record: RunRecord) -> None:
    expected = (len(record.seeds), len(record.tasks))
    shapes = {f"test {name}": np.shape(values) for name, values in record.test.items()}
    if record.multiply_adds is not None:
        shapes["multiply_adds"] = np.shape(record.multiply_adds.per_task)
    for name in PER_TASK:
        if getattr(record, name) is not None:
            shapes[name] = np.shape(getattr(record, name))[:2]
    wrong = {name: shape for name, shape in shapes.items() if shape != expected}
    if wrong:
        raise ValueError(f"expected (seeds, tasks) = {expected}, got {wrong}")
    if len(record.curve) != len(record.seeds):
        raise ValueError(f"{len(record.curve)} curves for {len(record.seeds)} seeds")
