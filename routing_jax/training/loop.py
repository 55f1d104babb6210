"""The host's side of training: compiled segments, and writing, saving and showing between them."""

import time
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.data.loading import TaskSet
from routing_jax.reporting.progress import Progress
from routing_jax.reporting.progress_line import ProgressReport
from routing_jax.reporting.writers import MetricsWriter
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.pace import Pace, Schedule, Stopwatch
from routing_jax.training.program import Program, SegmentReport
from routing_jax.training.state import Hyperparams, TrainState
from routing_jax.training.stopping import StopRequest
from routing_jax.types import MultiTaskData


@dataclass(frozen=True)
class Run:
    """The fixed parts of a training run."""

    program: Program
    hyper: Hyperparams
    tasks: TaskSet
    schedule: Schedule
    examples_per_task: int

    @property
    def task_examples(self) -> int:
        """B, task examples of one step."""
        return self.tasks.num_tasks * self.examples_per_task

    def epochs(self, step: int) -> float:
        """Epochs of the largest task after `step` steps."""
        return step * self.examples_per_task / int(self.tasks.train.sizes.max())


class Outcome(NamedTuple):
    """How a start of a run ended."""

    state: TrainState
    """Its `step` tells whether the run is finished."""
    report: SegmentReport | None
    """Of the last segment; None if there was nothing left to do."""


@dataclass(frozen=True)
class Outputs:
    """Where a run leaves what it does."""

    writer: MetricsWriter
    checkpoints: Checkpoints
    progress: Progress
    stopwatch: Stopwatch


def to_device(data: MultiTaskData) -> MultiTaskData:
    """Puts a split on the device, once for the whole run."""
    return jax.tree.map(lambda array: jnp.asarray(np.asarray(array)), data)


def abstract_state(run: Run) -> TrainState:
    """Shapes and types of the state, without computing it."""
    return jax.eval_shape(run.program.init, run.hyper, run.tasks.train)


def train(run: Run, state: TrainState | None, outputs: Outputs, stop: StopRequest) -> Outcome:
    """Trains to the end of the run, or until a stop is asked for; saves the state either way.

    Args:
      run: the run.
      state: where to go on from, its buffers are given up; None starts at the beginning.
      outputs: receive a record per evaluation, the state at every multiple of `checkpoint_every`,
        and a report per segment.
      stop: looked at between segments.
    """
    outputs.progress.phase("compiling the training step")
    began = time.perf_counter()
    train_data, test_data = to_device(run.tasks.train), to_device(run.tasks.test)
    if state is None:
        state = jax.jit(run.program.init)(run.hyper, train_data)
    advance = _compile(run, state, train_data, test_data)
    outputs.stopwatch.compiled(time.perf_counter() - began)
    pace, step, report = Pace(), int(state.step), None
    while step < run.schedule.total and stop.received is None:
        length = pace.next_length(run.schedule.steps_to_halt(step))
        state, report, seconds = advance(state, steps=length)
        step += length
        pace.stepped(length, seconds)
        outputs.stopwatch.stepped(seconds)
        evaluated = run.schedule.evaluates(step)
        if evaluated:
            state, report, seconds = advance(state, evaluate=True)
            pace.evaluated(seconds)
            outputs.stopwatch.evaluated(seconds)
            outputs.writer.write(step, _record(run, report))
        if pace.seconds_per_step is not None:
            outputs.progress.update(_progress_report(run, report, pace, evaluated=evaluated))
        if run.schedule.saves(step):
            _save(state, outputs)
    _save(state, outputs)
    return Outcome(state, report)


class _Advance(Protocol):
    """A segment of the run, timed."""

    def __call__(
        self, state: TrainState, *, steps: int = 0, evaluate: bool = False
    ) -> tuple[TrainState, SegmentReport, float]:
        """The state afterwards (the one given is used up), the report, and the seconds."""


def _compile(
    run: Run, state: TrainState, train_data: MultiTaskData, test_data: MultiTaskData
) -> _Advance:
    """Compiles the segment, once for the run: its length is an argument."""
    data = (run.hyper, train_data, test_data)
    segment = jax.jit(run.program.segment, donate_argnums=0)
    compiled = segment.lower(state, *data, jnp.int32(1), jnp.asarray(False)).compile()

    def advance(
        state: TrainState, *, steps: int = 0, evaluate: bool = False
    ) -> tuple[TrainState, SegmentReport, float]:
        began = time.perf_counter()
        state, report = compiled(state, *data, jnp.int32(steps), jnp.asarray(evaluate))
        report = jax.device_get(report)
        return state, report, time.perf_counter() - began

    return advance


def _save(state: TrainState, outputs: Outputs) -> None:
    """Logs first: a resume drops records behind its checkpoint, but cannot make up missing ones."""
    outputs.writer.flush()
    outputs.checkpoints.save(state, outputs.stopwatch.read())


def _progress_report(
    run: Run, report: SegmentReport, pace: Pace, *, evaluated: bool
) -> ProgressReport:
    return ProgressReport(
        step=int(report.step),
        loss=float(report.train_loss),
        accuracy=float(report.train_accuracy),
        test_accuracy=float(report.evaluation.accuracy.mean()) if evaluated else None,
        policy_entropy=float(report.policy_entropy.mean()),
        blocks_used=tuple(report.blocks_used.tolist()),
        examples_per_second=run.task_examples / pace.seconds_per_step,
        seconds_left=pace.seconds_left(int(report.step), run.schedule),
    )


def _record(run: Run, report: SegmentReport) -> dict[str, object]:
    """A line of metrics.jsonl, and an entry of the curve in results.json."""
    return {
        "epoch": run.epochs(int(report.step)),
        "train_loss": report.train_loss,
        "train_accuracy": report.train_accuracy,
        "test_accuracy": report.evaluation.accuracy.mean(),
        "test_balanced_accuracy": report.evaluation.balanced_accuracy.mean(),
        "policy_entropy_per_depth": report.policy_entropy,
        "blocks_used_per_depth": report.blocks_used,
    }
