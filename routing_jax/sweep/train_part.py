"""Training one program of a sweep, by the loop that trains a single run."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from rich.console import Console

from routing_jax import files
from routing_jax.data import loading
from routing_jax.reporting import results
from routing_jax.reporting.progress import Progress
from routing_jax.reporting.writers import MetricsWriter, read_records
from routing_jax.sweep.cells_run import AllCellsFailedError, CellsRun, together
from routing_jax.sweep.parts import Part
from routing_jax.training import loop
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.pace import Elapsed, Stopwatch
from routing_jax.training.record import run_record
from routing_jax.training.run import (
    final_evaluation,
    make_run,
    resume,
    say,
    told_by_path,
    write_snapshots,
)
from routing_jax.training.stopping import Stops

Outcome = dict[str, Any]
"""A cell in sweep.json: index, name, settings, command, status, failed_step, results."""


def train_part(part: Part, *, console: Console, stops: Stops, started: float) -> bool:
    """Trains the cells of a program, from the newest checkpoint if there is one.

    Args:
      part: the program; nothing is done if it is finished.
      console: where to show the training.
      stops: the answers to signals.
      started: when the command began, as `time.monotonic()` tells it.

    Returns:
      Whether it is finished; else it was asked to stop, and everything is saved.

    Raises:
      UserError: another process trains it.
      RunError: it cannot go on.
    """
    if part.outcomes is not None:
        return True
    told = partial(say, console)
    with part.workdir.held():
        tasks = loading.load(part.cells[0].config.data, say=told)
        runs = [make_run(cell.config, tasks) for cell in part.cells]
        run = together(runs, about=part.title)
        checkpoints = Checkpoints(part.workdir.checkpoint_dir, dataset=tasks.name)
        with told_by_path(checkpoints):
            state, elapsed, done = resume(run, checkpoints, say=told)
            stopwatch = Stopwatch(started, elapsed)
            outcomes = _train(
                part, run, runs, (state, done), checkpoints, console, stops, stopwatch
            )
            if outcomes is None:
                return False
            files.write_json(part.outcomes_path, outcomes)
    return True


def _train(
    part: Part,
    run: CellsRun,
    runs: Sequence[loop.Run],
    start: tuple[Any, int | None],
    checkpoints: Checkpoints,
    console: Console,
    stops: Stops,
    stopwatch: Stopwatch,
) -> list[Outcome] | None:
    """The outcomes of all cells; None if training was stopped."""
    state, done = start
    with (
        MetricsWriter(part.workdir, resume_step=done) as writer,
        Progress(run.schedule.total, start_step=done or 0, console=console) as progress,
    ):
        outputs = loop.Outputs(writer, checkpoints, progress, stopwatch)
        try:
            outcome = loop.train(run, state, outputs, stops)
        except AllCellsFailedError as error:
            progress.say(str(error))
            failed = _first(_recorded(part), error.failed_steps)
            return [_outcome(part, cell, failed_step=int(step)) for cell, step in enumerate(failed)]
    if stops.received is not None:
        return None
    return _outcomes(part, run, runs, outcome, stopwatch.read())


def _outcomes(
    part: Part,
    run: CellsRun,
    runs: Sequence[loop.Run],
    outcome: loop.Outcome,
    elapsed: Elapsed,
) -> list[Outcome]:
    """The results of each cell; its times are its share of the program's."""
    cells = len(runs)
    evaluation = final_evaluation(run, outcome)
    snapshots = jax.tree.map(np.asarray, outcome.state.snapshots)
    write_snapshots(part.workdir, snapshots, run.tasks.task_names)
    records = read_records(part.workdir.metrics_path)
    failed = _first(_recorded(part), np.zeros(cells, int))
    share = Elapsed(*(seconds / cells for seconds in elapsed))
    parameters = sum(leaf[0].size for leaf in jax.tree.leaves(outcome.state.params))
    outcomes = []
    for cell, step in enumerate(failed):
        if step:
            outcomes.append(_outcome(part, cell, failed_step=int(step)))
            continue
        record = run_record(
            runs[cell],
            jax.tree.map(lambda leaf, cell=cell: leaf[cell], evaluation),
            step=int(outcome.state.step),
            parameters=parameters,
            curve=[_of_cell(entry, cell) for entry in records],
            elapsed=share,
            command=part.commands[cell],
        )
        outcomes.append(_outcome(part, cell, results=results.build_results(record)))
    return outcomes


def _outcome(
    part: Part, cell: int, *, failed_step: int | None = None, results: dict[str, Any] | None = None
) -> Outcome:
    about = part.cells[cell]
    return {
        "index": about.index,
        "name": about.name,
        "settings": about.settings,
        "command": part.commands[cell],
        "status": "failed" if results is None else "ok",
        "failed_step": failed_step,
        "results": results,
    }


def _of_cell(entry: dict[str, Any], cell: int) -> dict[str, Any]:
    """A cell's part of a record."""
    own = {name: value[cell] if isinstance(value, list) else value for name, value in entry.items()}
    del own["failed_step"]
    return own


def _recorded(part: Part) -> np.ndarray:
    """The failed steps of every record: int [records, S]."""
    return np.array([entry["failed_step"] for entry in read_records(part.workdir.metrics_path)])


def _first(recorded: np.ndarray, now: np.ndarray) -> np.ndarray:
    """The first failed step of each cell, 0 for none: int [S]."""
    steps = np.concatenate([recorded.reshape(-1, now.size), now[None]]).astype(np.int64)
    never = np.iinfo(np.int64).max
    first = np.where(steps > 0, steps, never).min(axis=0)
    return np.where(first == never, 0, first)
