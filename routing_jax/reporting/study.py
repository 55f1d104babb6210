"""The rows of result tables: which methods are compared, and what each one's results say.

`results/tables.toml` lists the tables and their rows; a row's numbers come from its results file
alone, which holds several seeds (see `reporting.merge`).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from routing_jax.errors import UserError
from routing_jax.reporting.allocation import taken_of_blocks
from routing_jax.reporting.quoted import Quoted
from routing_jax.reporting.results import learned_test, read_results
from routing_jax.reporting.similarity import inside_and_across, task_similarity
from routing_jax.reporting.sweep_summary import standard_error
from routing_jax.reporting.tuning import Tuning

_LISTS = ("epochs", "metrics", "families")
"""Fields of a table that are lists."""
_NEAR = 0.05
"""How far, in epochs per epoch, an evaluation may lie from the epoch that a column asks for."""


@dataclass(frozen=True)
class Row:
    """A method of a table.

    Attributes:
        name: of the method.
        results: its results file, below the directory of the table of rows.
        command: trains all of its seeds, and goes on where it was stopped.
        paper: what the paper reports, in percent, by epoch as text; empty where it has no number.
        tag: how sure these numbers are: reported, quoted or recollected.
        where: swept values of the row's cells, where the command sweeps more than seeds.
        written: what the command writes the results to; of a single run, results.json.
    """

    name: str
    results: str
    command: str
    paper: Mapping[str, float] = field(default_factory=dict)
    tag: str = ""
    where: Sequence[str] = ()
    written: str = "sweep.json"

    @property
    def commands(self) -> tuple[str, str]:
        """What trains the row's runs, and what makes its results file of them."""
        workdir = self.command.split("--workdir=")[-1].split()[0]
        where = "".join(f" --where {value}" for value in self.where)
        merged = f"results/{self.results} {workdir}/{self.written}"
        return self.command, f"python -m routing_jax.reporting.merge {merged}{where}"


@dataclass(frozen=True)
class Study:
    """A table.

    Attributes:
        name: by which documents ask for it.
        caption: says what the numbers are.
        rows: the methods.
        epochs: at which the first metric is shown.
        metrics: shown after training besides, such as "balanced_accuracy".
        task: the only one whose metrics are shown; empty for the mean over all that were learned.
        reference: the name of the row that the others are subtracted from, seed by seed.
        allocation: whether to show how many blocks are on, and what the layers cost.
        trained: whether to show how many of the parameters train.
        families: of each task the name of its family; shows how alike blocks that are on, or mixing
            weights, are inside families and across, if given.
    """

    name: str
    caption: str
    rows: tuple[Row, ...]
    epochs: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()
    task: str = ""
    reference: str = ""
    allocation: bool = False
    trained: bool = False
    families: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its standard error, None for one seed."""

    mean: float
    error: float | None


def read_studies(path: Path) -> dict[str, Study | Tuning | Quoted]:
    """The tables of a TOML file, by name; what they name, `trials` or `cells`, says their kind.

    Raises:
        UserError: it is not TOML, or a table or row lacks a field or has an unknown one.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _table(name, dict(table)) for name, table in tables.items()}
    except FileNotFoundError:
        raise UserError(f"there is no {path}, which lists the tables and their rows") from None
    except (tomllib.TOMLDecodeError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a list of tables and rows: {error}") from None


def read_row(directory: Path, row: Row) -> dict[str, Any] | None:
    """The results of a row; None before it was run.

    Raises:
        UserError: the file is cut off or holds something else.
    """
    path = directory / row.results
    return read_results(path) if path.exists() else None


def at_epoch(results: Mapping[str, Any], metric: str, epoch: int) -> Estimate | None:
    """A test metric after so many epochs; None where no seed was evaluated about then."""
    values = []
    for curve in results["curve"]:
        entry = min(curve, key=lambda entry: abs(entry["epoch"] - epoch))
        if abs(entry["epoch"] - epoch) > _NEAR * epoch:
            return None
        values.append(entry[f"test_{metric}"])
    return estimate(values)


def steps_to_share(results: Mapping[str, Any], metric: str, share: float = 0.9) -> Estimate | None:
    """Steps until a metric has reached `share` of what it ends with, between evaluations by a line.

    The first crossing counts. None where the metric ends at zero, and where the first evaluation
    already lies behind the crossing.
    """
    values = []
    for curve in results["curve"]:
        steps = [entry["step"] for entry in curve]
        metrics = [entry[f"test_{metric}"] for entry in curve]
        goal = share * metrics[-1]
        i = next(i for i, value in enumerate(metrics) if value >= goal)
        if i == 0:
            return None
        values.append(float(np.interp(goal, metrics[i - 1 : i + 1], steps[i - 1 : i + 1])))
    return estimate(values)


def tested(results: Mapping[str, Any], metric: str, task: str = "") -> list[float]:
    """A metric after training, for each seed.

    Args:
        results: of one or several seeds.
        metric: such as "accuracy".
        task: the only task that counts; empty for the mean over those that the run learned.

    Raises:
        UserError: the results have no such task.
    """
    if not task:
        return learned_test(results)[metric]["per_seed"]
    if task not in results["tasks"]:
        raise UserError(
            f"a table in results/tables.toml is of the task {task!r}, and {results['experiment']} "
            f"has: {', '.join(results['tasks'])}."
        )
    if "per_seed_and_task" not in results["test"][metric]:
        raise UserError(
            f"the results of {results['experiment']} do not tell {task!r} of each seed, as those "
            "of earlier versions do not: join its seeds again with reporting.merge."
        )
    place = results["tasks"].index(task)
    return [tasks[place] for tasks in results["test"][metric]["per_seed_and_task"]]


def paired(
    reference: Mapping[str, Any], other: Mapping[str, Any], metric: str, task: str = ""
) -> tuple[Estimate, int] | None:
    """How far the reference ends above another method, over the seeds that both have.

    Returns:
        The difference and the number of seeds; None where they have none in common.
    """
    ours, theirs = (
        dict(zip(results["seeds"], tested(results, metric, task), strict=True))
        for results in (reference, other)
    )
    common = [seed for seed in ours if seed in theirs]
    if not common:
        return None
    return estimate([ours[seed] - theirs[seed] for seed in common]), len(common)


def number_on(results: Mapping[str, Any]) -> Estimate | None:
    """The number of blocks that are on, a mean over tasks; None where blocks are not switched."""
    if results.get("allocation") is None:
        return None
    counts = [
        [sum(len(blocks) for blocks in depths) for depths in tasks]
        for tasks in results["allocation"]
    ]
    return estimate([float(np.mean(tasks)) for tasks in counts])


def mean_multiply_adds(results: Mapping[str, Any]) -> Estimate | None:
    """Of the routed layers for one example, a mean over tasks; None where it is not known."""
    costs = results.get("multiply_adds")
    return None if costs is None else estimate([float(np.mean(t)) for t in costs["per_task"]])


def cosines(
    results: Mapping[str, Any], families: Sequence[str]
) -> tuple[Estimate, Estimate] | None:
    """How alike the blocks of two tasks of one family are, and of two of different ones.

    Args:
        results: of one or several seeds.
        families: of each task the name of its family.

    Returns:
        The mean cosine inside families and across, of the blocks that are on or of mixing weights;
        None where there is neither.

    Raises:
        UserError: the results have other tasks than families are given for.
    """
    found = taken_of_blocks(results)
    if found is None:
        return None
    if len(results["tasks"]) != len(families):
        raise UserError(
            f"{len(families)} families are named for {len(results['tasks'])} tasks of "
            f"{results['experiment']}; name one for each task, in results/tables.toml."
        )
    alike = [inside_and_across(task_similarity(pattern), families) for pattern in found]
    inside, across = zip(*alike, strict=True)
    return estimate(inside), estimate(across)


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of one value for each seed, with its standard error."""
    return Estimate(float(np.mean(values)), standard_error(values))


def _table(name: str, table: dict[str, Any]) -> Study | Tuning | Quoted:
    for kind, mark in ((Tuning, "trials"), (Quoted, "cells")):
        if mark in table:
            return kind(**table)
    return _study(name, table)


def _study(name: str, table: dict[str, Any]) -> Study:
    rows = tuple(Row(**row) for row in table.pop("rows"))
    lists = {key: tuple(table.pop(key)) for key in _LISTS if key in table}
    study = Study(name=name, rows=rows, **lists, **table)
    if study.reference and study.reference not in [row.name for row in rows]:
        raise ValueError(f"{name} has no row named {study.reference!r}, its reference")
    return study
