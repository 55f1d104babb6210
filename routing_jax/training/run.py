"""A whole run: from a checked command to the table at its end."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from routing_jax.cli import Command
from routing_jax.data import loading
from routing_jax.errors import RunError, UserError
from routing_jax.mesh import one_device
from routing_jax.models.factory import DataShape
from routing_jax.reporting import figures, results, routing_file, summary
from routing_jax.reporting.progress import Progress
from routing_jax.reporting.writers import MetricsWriter, NoWriter, read_records
from routing_jax.training import loop, processes, sharding
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.evaluation import Evaluation
from routing_jax.training.memory import require_memory, room
from routing_jax.training.pace import Elapsed, Schedule, Stopwatch
from routing_jax.training.program import Program
from routing_jax.training.quiet import quiet_libraries
from routing_jax.training.record import run_record
from routing_jax.training.state import Snapshots, TrainState, hyperparams
from routing_jax.training.stopping import Stops
from routing_jax.training.streamed import Position
from routing_jax.training.transfer import start
from routing_jax.workdir import Workdir

_MOST_EXAMPLES = 2**31 - 1
"""Examples of a task that a run can draw: their positions are int32."""


def run(
    command: Command, stops: Stops, *, started: float, tasks: loading.TaskSet | None = None
) -> int:
    """Trains or evaluates, as the command says.

    Args:
      command: the checked command; its work directory is claimed.
      stops: the answers to signals.
      started: when the command began, as `time.monotonic()` tells it.
      tasks: the task set; by default the one that the configuration names is loaded.

    Returns:
      The exit code.

    Raises:
      UserError: something outside the program has to be mended first.
      RunError: the run had begun and cannot go on.
    """
    console = own_console()
    quiet_libraries()
    mesh = sharding.mesh_for(command.devices)
    if tasks is None:
        tasks = loading.load(command.config.data, say=partial(say, console), room=room())
    planned = make_run(command.config, tasks, mesh)
    checkpoints = Checkpoints(command.workdir.checkpoint_dir, dataset=tasks.name)
    if command.mode == "evaluate":
        return _evaluate(command, planned, checkpoints, console)
    if _is_finished(command.workdir, planned, checkpoints):
        return _show_again(command.workdir, console)
    require_memory(planned)
    with told_by_path(checkpoints):
        return _train(command, planned, checkpoints, console, stops, started)


def make_run(
    config: ConfigDict, tasks: loading.TaskSet, mesh: jax.sharding.Mesh | None = None
) -> loop.Run:
    """The training run of a validated configuration on loaded data.

    Args:
      config: the whole configuration.
      tasks: the data.
      mesh: what it runs on; one device if None.

    Raises:
      UserError: the run draws more examples of a task than can be counted, its tasks are to share
        images and have different ones, or it cannot be split evenly over the mesh.
    """
    training, index = config.training, tasks.train.index
    if config.data.share_images and (index != index[:1]).any():
        raise UserError(
            "data.share_images = True needs tasks over the same images, and the training examples "
            "of these tasks are different ones: set data.share_images to false."
        )
    examples = int(tasks.train.sizes.max())
    turns = tasks.num_learned if training.round_robin else 1
    rounds = -(-(training.epochs or 0) * examples // training.examples_per_task)
    total = training.steps or turns * rounds
    if total // turns * training.examples_per_task > _MOST_EXAMPLES:
        raise UserError(
            f"{total:,} steps of {training.examples_per_task:,} examples a task are more than "
            f"{_MOST_EXAMPLES:,} examples: lower training.steps, training.epochs or "
            "training.examples_per_task."
        )
    shape = DataShape(
        tasks.num_tasks, tasks.num_classes, tasks.image_shape, tasks.objective, tasks.num_old
    )
    mesh = mesh or one_device()
    sharding.require_even(config, shape, mesh)
    return loop.Run(
        program=Program(config, shape, total),
        hyper=hyperparams(config),
        tasks=tasks,
        schedule=Schedule(total, training.eval_every, training.checkpoint_every),
        examples_per_task=training.examples_per_task,
        tasks_a_step=tasks.num_learned // turns,
        mesh=mesh,
    )


def own_console() -> Console:
    """Where this process shows what it does: of several only the first one does."""
    return Console(quiet=not processes.is_first())


def _is_finished(workdir: Workdir, planned: loop.Run, checkpoints: Checkpoints) -> bool:
    return checkpoints.latest_step() == planned.schedule.total and workdir.results_path.exists()


def _show_again(workdir: Workdir, console: Console) -> int:
    """Shows the table of a finished run."""
    say(console, f"The run in {workdir.path} is finished; --overwrite starts it anew.")
    _show(results.read_results(workdir.results_path), workdir, console)
    return 0


@contextmanager
def told_by_path(checkpoints: Checkpoints) -> Iterator[None]:
    """Turns a failure to write into a message: a full disk is no fault of the program."""
    try:
        yield
    except OSError as error:
        last = checkpoints.latest_step()
        kept = "starts again" if last is None else f"resumes from the checkpoint of step {last:,}"
        raise RunError(
            f"{error.filename or 'the output'} cannot be written: {error.strerror or error}. "
            f"The same command {kept}."
        ) from error


def _train(
    command: Command,
    planned: loop.Run,
    checkpoints: Checkpoints,
    console: Console,
    stops: Stops,
    started: float,
) -> int:
    """Trains to the end, from the newest whole checkpoint if there is one."""
    workdir, total = command.workdir, planned.schedule.total
    told = partial(say, console)
    state, elapsed, done, position = resume(planned, checkpoints, say=told)
    if state is None:
        state = start(planned, planned, say=told)
    stopwatch = Stopwatch(started, elapsed)
    with (
        own_writer(workdir, resume_step=done) as writer,
        Progress(total, start_step=done or 0, console=console) as progress,
    ):
        outputs = loop.Outputs(writer, checkpoints, progress, stopwatch)
        outcome = loop.train(planned, state, outputs, stops, position=position)
        if outcome.stopped:
            reached = f"Stopped by {stops.received.name} after step {int(outcome.state.step):,}"
            progress.say(f"{reached}; everything is saved. The same command resumes the run.")
            return stops.exit_status
        progress.phase("writing results and figures")
        evaluation = final_evaluation(planned, outcome)
        if processes.is_first():
            _write(command, planned, outcome.state, evaluation, stopwatch)
    if processes.is_first():
        _show(results.read_results(workdir.results_path), workdir, console)
    return 0


def own_writer(workdir: Workdir, *, resume_step: int | None) -> MetricsWriter | NoWriter:
    """The log of this process: of several only the first one has one."""
    if not processes.is_first():
        return NoWriter()
    return MetricsWriter(workdir, resume_step=resume_step)


def resume(
    planned: loop.Run, checkpoints: Checkpoints, *, say: loading.Say
) -> tuple[TrainState | None, Elapsed, int | None, Position | None]:
    """The state to go on from, the time it took, its step, and where the reading of streamed images
    was; None where nothing was saved.
    """
    restored = None
    if checkpoints.latest_step() is not None:
        restored = checkpoints.restore(loop.abstract_state(planned))
        for line in restored.damaged:
            say(f"{line} Training goes on from step {restored.step:,}.")
    processes.wait_for_all("looked for checkpoints")
    if processes.is_first():
        checkpoints.remove_unfinished()
        if restored is not None:
            # Orderly saving needs the steps behind it to be free again; they will be the same.
            checkpoints.remove_after(restored.step)
    if restored is None:
        return None, Elapsed(), None, None
    return restored.state, restored.elapsed, restored.step, restored.position


def _evaluate(
    command: Command, planned: loop.Run, checkpoints: Checkpoints, console: Console
) -> int:
    """Evaluates the newest whole checkpoint and shows the table; nothing is written."""
    restored = checkpoints.restore(loop.abstract_state(planned))
    state, elapsed = restored.state, restored.elapsed
    for line in restored.damaged:
        say(console, line)
    with console.status(f"evaluating step {int(state.step):,}"):
        evaluation = planned.evaluate(state)
    if not processes.is_first():
        return 0
    record = _record(command, planned, state, evaluation, elapsed)
    say(console, f"{command.workdir.path}: checkpoint of step {int(state.step):,}")
    console.print(summary.task_table(results.build_results(record)))
    return 0


def final_evaluation(planned: loop.Run, outcome: loop.Outcome) -> Evaluation:
    """The evaluation of what a run is judged by, as NumPy arrays."""
    # The last evaluation was of something else, or there was none: killed behind the last save.
    if outcome.state.best is not None or outcome.report is None:
        return planned.evaluate(outcome.state)
    return outcome.report.evaluation


def write_snapshots(workdir: Workdir, snapshots: Snapshots, task_names: Sequence[str]) -> None:
    """Writes routing.npz; the snapshots have a leading S axis, and all S took them together."""
    taken = np.flatnonzero(snapshots.steps[0] >= 0)
    routing_file.write_routing(
        workdir.routing_path,
        snapshots.probabilities[:, taken],
        snapshots.steps[0, taken],
        task_names,
    )


def _record(
    command: Command,
    planned: loop.Run,
    state: TrainState,
    evaluation: Evaluation,
    elapsed: Elapsed,
) -> results.RunRecord:
    return run_record(
        planned,
        evaluation,
        step=int(state.step),
        params=state.params,
        best=state.best,
        curve=read_records(command.workdir.metrics_path),
        elapsed=elapsed,
        command=shlex.join(["python", *sys.argv]),
    )


def _write(
    command: Command,
    planned: loop.Run,
    state: TrainState,
    evaluation: Evaluation,
    stopwatch: Stopwatch,
) -> None:
    """Writes routing.npz, the figures and, last, results.json: where it stands, all is done."""
    workdir = command.workdir
    snapshots = jax.tree.map(lambda leaf: np.asarray(leaf)[None], state.snapshots)
    write_snapshots(workdir, snapshots, planned.tasks.task_names)
    record = _record(command, planned, state, evaluation, stopwatch.read())
    routing = routing_file.read_routing(workdir.routing_path)
    figures.draw_all(results.build_results(record), routing, workdir.figures_dir)
    record = _record(command, planned, state, evaluation, stopwatch.read())
    results.write_results(workdir.results_path, results.build_results(record))


def _show(found: dict[str, object], workdir: Workdir, console: Console) -> None:
    """The table, one line of figures, and where everything lies."""
    console.print(summary.task_table(found))
    say(console, summary.figures_line(found))
    for line in summary.written_files(workdir):
        say(console, line)


def say(console: Console, text: str) -> None:
    """Prints a line as it is; a terminal wraps it, a log keeps it whole."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
