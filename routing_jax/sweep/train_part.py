"""Training one program of a sweep, by the loop that trains a single run."""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from routing_jax import files
from routing_jax.data import loading
from routing_jax.reporting import results
from routing_jax.reporting.progress import Progress
from routing_jax.reporting.writers import read_records
from routing_jax.sweep.cells_run import AllCellsFailedError, CellsRun, together
from routing_jax.sweep.parts import Part
from routing_jax.training import loop, processes, sharding
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.pace import Elapsed, Stopwatch
from routing_jax.training.record import run_record
from routing_jax.training.run import (
    final_evaluation,
    make_run,
    own_writer,
    resume,
    say,
    told_by_path,
    write_snapshots,
)
from routing_jax.training.stopping import Stops
from routing_jax.training.transfer import start

Outcome = dict[str, Any]
"""A cell in sweep.json: index, name, settings, command, status, failed_step, results."""


def train_part(
    part: Part,
    mesh: Mesh | None = None,
    *,
    about: str,
    console: Console,
    stops: Stops,
    started: float,
) -> bool:
    """Trains the cells of a program, from the newest checkpoint if there is one.

    Args:
      part: the program; nothing is done if it is finished.
      mesh: what it runs on; one device if None.
      about: what to show of the sweep besides this program's training.
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
    with part.workdir.held() if processes.is_first() else contextlib.nullcontext():
        tasks = loading.load(part.cells[0].config.data, say=partial(say, console))
        runs = [make_run(cell.config, tasks, mesh) for cell in part.cells]
        checkpoints = Checkpoints(part.workdir.checkpoint_dir, dataset=tasks.name)
        with told_by_path(checkpoints):
            outcomes = _train(
                part,
                together(runs, about=about),
                runs,
                checkpoints,
                console=console,
                stops=stops,
                started=started,
            )
            if outcomes is None:
                return False
            if processes.is_first():
                files.write_json(part.outcomes_path, outcomes)
            processes.wait_for_all("wrote what became of the cells")
    return True


def _train(
    part: Part,
    run: CellsRun,
    runs: Sequence[loop.Run],
    checkpoints: Checkpoints,
    *,
    console: Console,
    stops: Stops,
    started: float,
) -> list[Outcome] | None:
    """The outcomes of all cells; None if training was stopped."""
    told = partial(say, console)
    state, elapsed, done, _ = resume(run, checkpoints, say=told)
    if state is None:
        state = start(run, runs[0], say=told)
    stopwatch = Stopwatch(started, elapsed)
    with (
        own_writer(part.workdir, resume_step=done) as writer,
        Progress(run.schedule.total, start_step=done or 0, console=console) as progress,
    ):
        outputs = loop.Outputs(writer, checkpoints, progress, stopwatch)
        try:
            outcome = loop.train(run, state, outputs, stops)
        except AllCellsFailedError as error:
            progress.say(str(error))
            if not processes.is_first():
                return []
            failed = _first_failures(part, error.failed_steps)
            return [_outcome(part, cell, failed_step=step) for cell, step in enumerate(failed)]
    if outcome.stopped:
        return None
    return _outcomes(part, run, runs, outcome, stopwatch.read())


def _outcomes(
    part: Part, run: CellsRun, runs: Sequence[loop.Run], outcome: loop.Outcome, elapsed: Elapsed
) -> list[Outcome]:
    """What became of each cell; the times of one are its share of the program's.

    Of several processes all take part, and only the first one gets to know.
    """
    evaluation = final_evaluation(run, outcome)
    snapshots = sharding.to_host(outcome.state.snapshots)
    if not processes.is_first():
        return []
    write_snapshots(part.workdir, snapshots, run.tasks.task_names)
    records = read_records(part.workdir.metrics_path)
    share = Elapsed(*(seconds / len(runs) for seconds in elapsed))
    params = jax.tree.map(lambda leaf: leaf[0], outcome.state.params)

    def results_of(cell: int) -> dict[str, Any]:
        record = run_record(
            runs[cell],
            jax.tree.map(lambda leaf: leaf[cell], evaluation),
            step=int(outcome.state.step),
            params=params,
            best=jax.tree.map(lambda leaf: leaf[cell], outcome.state.best),
            curve=[_of_cell(entry, cell) for entry in records],
            elapsed=share,
            command=part.commands[cell],
        )
        return results.build_results(record)

    return [
        _outcome(part, cell, failed_step=step)
        if step
        else _outcome(part, cell, results=results_of(cell))
        for cell, step in enumerate(_first_failures(part, np.zeros(len(runs), int)))
    ]


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


def _first_failures(part: Part, now: np.ndarray) -> list[int]:
    """The first failed step of each cell, 0 for none.

    Args:
      part: the program, with the records of its evaluations.
      now: int [S], what is known since the last of them.
    """
    recorded = [entry["failed_step"] for entry in read_records(part.workdir.metrics_path)]
    columns = zip(*recorded, now.tolist(), strict=True)
    return [min(filter(None, steps), default=0) for steps in columns]
