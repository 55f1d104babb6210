"""The host's side of training: compiled segments, and writing, saving and showing between them."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from routing_jax.data.loading import TaskSet
from routing_jax.errors import RunError
from routing_jax.mesh import one_device
from routing_jax.reporting import provenance
from routing_jax.reporting.progress import Progress
from routing_jax.reporting.progress_line import ProgressReport
from routing_jax.reporting.writers import MetricsWriter
from routing_jax.training import processes, sharding
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.compilation import cached_compilations
from routing_jax.training.evaluation import Evaluation
from routing_jax.training.pace import SEGMENT_SECONDS, Pace, Schedule, Stopwatch
from routing_jax.training.products_on_cpu import compile_traced
from routing_jax.training.program import Arrays, Program, SegmentReport
from routing_jax.training.state import Hyperparams, TrainState, judged
from routing_jax.training.stopping import Stops
from routing_jax.training.streamed import (
    Feed,
    Position,
    Segments,
    chunk_like,
    first_images,
    is_streamed,
    shapes_of,
)
from routing_jax.training.streamed_evaluation import StreamedEvaluation
from routing_jax.types import MultiTaskData


@dataclass(frozen=True)
class Run:
    """The fixed parts of a training run."""

    program: Program
    hyper: Hyperparams
    tasks: TaskSet
    schedule: Schedule
    examples_per_task: int
    tasks_a_step: int
    """All that are learned, or 1 where they take turns."""
    mesh: Mesh = field(default_factory=one_device)

    def init(
        self, hyper: Hyperparams, train: MultiTaskData, given: Arrays | None = None
    ) -> TrainState:
        """`program.init`, compiled; the state lies where `rules` say."""
        with jax.set_mesh(self.mesh):
            return self._init(hyper, train, given)

    @cached_property
    def _init(self) -> Callable[..., TrainState]:
        """Traced once, whether for its shapes or its values."""

        def init(*arguments: object) -> TrainState:
            return sharding.constrain(self.program.init(*arguments), self.mesh, self.rules)

        return jax.jit(init)

    def segment(self, *arguments: object) -> tuple[TrainState, SegmentReport]:
        """`program.segment`, to be traced; the report lies where `rules` say."""
        state, report = self.program.segment(*arguments)
        return state, sharding.constrain(report, self.mesh, self.rules)

    def evaluate(self, state: TrainState) -> Evaluation:
        """The evaluation of what a state would be judged by, as NumPy arrays."""

        def evaluate(*arguments: object) -> Evaluation:
            return sharding.constrain(self.program.evaluate(*arguments), self.mesh, self.rules)

        hyper, test = sharding.place(self.hyper, self.mesh, self.rules), self.tasks.test
        if is_streamed(test):
            return StreamedEvaluation(self, test)(judged(state), hyper)
        test = to_device(test, self.mesh)
        with cached_compilations(), jax.set_mesh(self.mesh):
            return sharding.to_host(jax.jit(evaluate)(judged(state), hyper, test))

    @property
    def task_examples(self) -> int:
        """B, task examples of one step."""
        return self.tasks_a_step * self.examples_per_task

    def epochs(self, step: int) -> float:
        """Epochs of the largest task after `step` steps."""
        drawn = step * self.task_examples / self.tasks.num_learned
        return drawn / int(self.tasks.train.sizes.max())

    # What follows is all in which a sweep's run differs.

    @property
    def rules(self) -> sharding.Rules:
        """Where its arrays lie."""
        return sharding.STATE

    @property
    def segment_seconds(self) -> float:
        """Aim for a segment."""
        return SEGMENT_SECONDS

    def require_sound(self, report: SegmentReport, checkpoints: Checkpoints) -> None:
        """Raises RunError if the segment was not sound; a state like that is never saved."""
        if report.bad_step == 0 and report.finite:
            return
        where = (
            f"The loss of step {report.bad_step:,} is"
            if report.bad_step
            else f"The parameters after step {report.step:,} are"
        )
        checkpoints.finish()
        config, last = self.program.config, checkpoints.latest_step()
        kept = "Nothing was saved" if last is None else f"The checkpoint of step {last:,} is kept"
        raise RunError(
            f"{where} not finite: training has diverged. {kept}. Lower optimizer.learning_rate "
            f"(now {config.optimizer.learning_rate:g}) or router.learning_rate (now "
            f"{config.router.learning_rate:g}), and train in another --workdir or with --overwrite."
        )

    def tested(self, report: SegmentReport) -> dict[str, float]:
        """The test metrics for the live line, of the tasks that are learned."""
        return {name: float(v.mean()) for name, v in self.metrics(report).items()}

    def metrics(self, report: SegmentReport) -> dict[str, np.ndarray]:
        """The test metrics of the tasks that are learned, by name."""
        num_old = self.tasks.num_old
        return {name: v[..., num_old:] for name, v in report.evaluation.metrics.items()}

    def record(self, report: SegmentReport) -> dict[str, object]:
        """A line of metrics.jsonl, and an entry of the curve in results.json."""
        return {
            "epoch": self.epochs(int(report.step)),
            "train_loss": report.train_loss,
            **{f"train_{name}": value for name, value in report.train_metrics.items()},
            **{f"test_{name}": v.mean() for name, v in self.metrics(report).items()},
            "policy_entropy_per_depth": report.policy_entropy,
            "blocks_used_per_depth": report.blocks_used,
        }

    def progress_report(
        self, report: SegmentReport, pace: Pace, tested: dict[str, float]
    ) -> ProgressReport:
        """The state of the training for the live line."""
        return ProgressReport(
            step=int(report.step),
            loss=float(report.train_loss),
            metrics={name: float(value) for name, value in report.train_metrics.items()},
            test_metrics=tested,
            policy_entropy=float(report.policy_entropy.mean()),
            blocks_used=tuple(report.blocks_used.tolist()),
            examples_per_second=self.task_examples / pace.seconds_per_step,
            seconds_left=pace.seconds_left(int(report.step), self.schedule),
            watched_on=self.tasks.watched_on,
        )


class Outcome(NamedTuple):
    """How a start of a run ended."""

    state: TrainState
    """Its `step` tells whether the run is finished."""
    report: SegmentReport | None
    """Of the last segment; None if there was nothing left to do."""
    stopped: bool
    """A signal asked for it."""


@dataclass(frozen=True)
class Outputs:
    """Where a run leaves what it does."""

    writer: MetricsWriter
    checkpoints: Checkpoints
    progress: Progress
    stopwatch: Stopwatch


def to_device(data: MultiTaskData, mesh: Mesh | None = None) -> MultiTaskData:
    """Puts a split on all devices of a mesh, or on one, once for the whole run.

    Images that are streamed stay where they are; what is put there has None for them.
    """
    if is_streamed(data):
        data = data._replace(images=None)
    return sharding.place(data, mesh or one_device())


def to_init(run: Run, train: MultiTaskData) -> MultiTaskData:
    """What `run.init` needs of a training split that `to_device` gave."""
    return train if train.images is not None else train._replace(images=first_images(run))


def abstract_state(run: Run) -> TrainState:
    """Shapes, types and shardings of the state, without computing it."""
    with jax.set_mesh(run.mesh):
        state = run._init.eval_shape(run.hyper, shapes_of(run.tasks.train))
    return sharding.described(state, run.mesh, run.rules)


def train(
    run: Run,
    state: TrainState | None,
    outputs: Outputs,
    stops: Stops,
    *,
    position: Position | None = None,
) -> Outcome:
    """Trains to the end of the run, or until a stop is asked for; saves the state either way.

    Args:
      run: the run.
      state: where to go on from, its buffers are given up; None starts at the beginning.
      outputs: receive a record per evaluation, the state at every multiple of `checkpoint_every`,
        and a report per segment.
      stops: asked between segments; before the first there is nothing to save.
      position: of streamed images, as the checkpoint of the state has it.

    Raises:
      RunError: training has diverged, or a checkpoint cannot be written.
      OSError: a log cannot be written.
    """
    outputs.progress.phase("compiling the training step")
    began = time.perf_counter()
    state, advance = compile_segments(
        run, state, waited=outputs.stopwatch.waited, position=position
    )
    outputs.stopwatch.compiled(time.perf_counter() - began)
    with stops.deferred(), outputs.checkpoints, contextlib.closing(advance):
        return _train(run, state, advance, outputs, stops)


def _train(
    run: Run, state: TrainState, advance: "Advance", outputs: Outputs, stops: Stops
) -> Outcome:
    """Segment by segment."""
    pace, step, report, tested = Pace(run.segment_seconds), int(state.step), None, {}
    while True:
        left = run.schedule.steps_to_halt(step)
        length, stopped = processes.agree(left and pace.next_length(left), stops)
        if stopped or not left:
            break
        state, report, seconds = advance(state, steps=length)
        step += length
        run.require_sound(report, outputs.checkpoints)
        outputs.checkpoints.check()
        pace.stepped(length, seconds)
        outputs.stopwatch.stepped(seconds)
        if run.schedule.evaluates(step):
            state, report, seconds = advance(state, evaluate=True)
            pace.evaluated(seconds)
            outputs.stopwatch.evaluated(seconds)
            outputs.writer.write(step, run.record(report))
            tested = run.tested(report)
        if pace.seconds_per_step is not None:
            outputs.progress.update(run.progress_report(report, pace, tested))
        if run.schedule.saves(step):
            _save(state, outputs, advance.position)
    _save(state, outputs, advance.position, wait=True)
    _, stopped = processes.agree(0, stops)
    return Outcome(state, report, stopped)


class Advance(Protocol):
    """Takes segments of the run, and times them."""

    position: Position | None
    """Where the reading of streamed images is; None where they are in memory."""

    def __call__(
        self, state: TrainState, *, steps: int = 0, evaluate: bool = False
    ) -> tuple[TrainState, SegmentReport, float]:
        """The state afterwards (the one given is used up), the report, and the seconds."""

    def close(self) -> None:
        """Ends what works beside it."""


class _InMemory:
    """The segments of a run whose data are on its devices."""

    position = None

    def __init__(self, compiled: jax.stages.Compiled, data: Sequence[object]) -> None:
        self._compiled, self._data = compiled, data

    def __call__(
        self, state: TrainState, *, steps: int = 0, evaluate: bool = False
    ) -> tuple[TrainState, SegmentReport, float]:
        """See `Advance`."""
        began = time.perf_counter()
        state, report = self._compiled(state, *self._data, np.int32(steps), np.bool_(evaluate))
        report = sharding.to_host(report)
        return state, report, time.perf_counter() - began

    def close(self) -> None:
        """Nothing works beside it."""


def compile_segments(
    run: Run,
    state: TrainState | None,
    *,
    waited: Callable[[float], None],
    position: Position | None = None,
) -> tuple[TrainState, Advance]:
    """The state before the first segment, and the segments; their data are put on the devices.

    Args:
      run: the run.
      state: see `train`.
      waited: receives the seconds of each wait for streamed images.
      position: see `train`.
    """
    provenance.git_commit()  # of the code that trains; the checkout may move on meanwhile
    hyper = sharding.place(run.hyper, run.mesh, run.rules)
    train_data = to_device(run.tasks.train, run.mesh)
    with cached_compilations():
        if state is None:
            state = run.init(hyper, to_init(run, train_data))
        if is_streamed(run.tasks.train):
            return state, _streamed(run, state, hyper, train_data, waited, position)
        data = (hyper, train_data, to_device(run.tasks.watched, run.mesh))
        return state, _InMemory(_compile(run, state, data), data)


def _streamed(
    run: Run,
    state: TrainState,
    hyper: Hyperparams,
    labels: MultiTaskData,
    waited: Callable[[float], None],
    position: Position | None,
) -> Segments:
    """The first images are read while the segment is compiled."""
    step = int(state.step)
    feed = Feed(run, step=step, position=position)
    evaluation = StreamedEvaluation(run, run.tasks.watched)
    nothing = sharding.place(evaluation.nothing(state, hyper), run.mesh)
    return Segments(
        feed,
        _compile(run, state, (hyper, chunk_like(run, labels), nothing)),
        hyper=hyper,
        labels=labels,
        evaluate=lambda now: sharding.place(evaluation(now, hyper), run.mesh),
        nothing=nothing,
        step=step,
        waited=waited,
    )


def _compile(
    run: Run,
    state: TrainState,
    data: tuple[Hyperparams, MultiTaskData, MultiTaskData | Evaluation],
) -> jax.stages.Compiled:
    """Compiles the segment, once for the run: its length is an argument."""
    where = jax.tree.map(lambda leaf: leaf.sharding, state)
    segment = jax.jit(run.segment, donate_argnums=0, out_shardings=(where, None))
    with jax.set_mesh(run.mesh):
        return compile_traced(segment.trace(state, *data, np.int32(1), np.bool_(False)))


def _save(
    state: TrainState, outputs: Outputs, position: Position | None, *, wait: bool = False
) -> None:
    """Comes after logging: a resume drops later records, but makes up no missing ones."""
    began = time.perf_counter()
    outputs.checkpoints.save(state, outputs.stopwatch.read(), position)
    if wait:
        outputs.checkpoints.finish()
    outputs.stopwatch.saved(time.perf_counter() - began)
