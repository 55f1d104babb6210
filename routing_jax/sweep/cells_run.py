"""The run of several cells at once: what the training loop's reports mean for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routing_jax.errors import RunError
from routing_jax.reporting.formats import higher_is_better, measured
from routing_jax.reporting.progress_line import ProgressReport
from routing_jax.sweep.cells import CellsProgram, of_cell, stack_hyperparams, stacked_together
from routing_jax.training import sharding
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.loop import Run
from routing_jax.training.pace import Pace
from routing_jax.training.program import SegmentReport

_SEGMENT_SECONDS = 5.0


class AllCellsFailedError(RunError):
    """No cell of a program is left to train.

    Attributes:
      failed_steps: int [S], as in `failed_steps`.
    """

    def __init__(self, failed: np.ndarray) -> None:
        super().__init__(f"All {failed.size:,} cells have diverged by step {failed.max():,}.")
        self.failed_steps = failed


@dataclass(frozen=True)
class CellsRun(Run):
    """A `Run` whose program is a `CellsProgram`. Single cells may diverge; the others go on."""

    program: CellsProgram
    about: str = ""
    """Which program of the sweep this is, for the live line."""

    @property
    def rules(self) -> sharding.Rules:
        """The cells are split over devices."""
        return sharding.CELLS

    @property
    def segment_seconds(self) -> float:
        """Longer than for a single run: every segment costs each cell part of a step."""
        return _SEGMENT_SECONDS

    def require_sound(self, report: SegmentReport, checkpoints: Checkpoints) -> None:
        """Raises AllCellsFailedError if no cell is left."""
        failed = failed_steps(report)
        if failed.all():
            checkpoints.finish()
            raise AllCellsFailedError(failed)

    def tested(self, report: SegmentReport) -> dict[str, float]:
        """Medians over the cells that have not failed."""
        sound = failed_steps(report) == 0
        found = self.metrics(report)
        return {name: float(np.median(v[sound].mean(-1))) for name, v in found.items()}

    def record(self, report: SegmentReport) -> dict[str, object]:
        """As of a single run, each value a list over cells, and the step at which each failed."""
        failed = failed_steps(report)
        own = [super(CellsRun, self).record(of_cell(report, cell)) for cell in range(failed.size)]
        return {name: [record[name] for record in own] for name in own[0]} | {"failed_step": failed}

    def progress_report(
        self, report: SegmentReport, pace: Pace, tested: dict[str, float]
    ) -> ProgressReport:
        """Medians over the cells that have not failed; the note tells their number and spread."""
        sound = failed_steps(report) == 0
        shown = report.train_metrics or {"loss": report.train_loss}
        return ProgressReport(
            step=int(report.step),
            loss=float(np.median(report.train_loss[sound])),
            metrics={name: float(np.median(v[sound])) for name, v in report.train_metrics.items()},
            test_metrics=tested,
            policy_entropy=float(np.median(report.policy_entropy[sound].mean(-1))),
            blocks_used=tuple(np.median(report.blocks_used[sound], axis=0).astype(int).tolist()),
            examples_per_second=sound.size * self.task_examples / pace.seconds_per_step,
            seconds_left=pace.seconds_left(int(report.step), self.schedule),
            watched_on=self.tasks.watched_on,
            note=", ".join(filter(None, [spread(*next(iter(shown.items())), sound), self.about])),
        )


def together(runs: Sequence[Run], *, about: str) -> CellsRun:
    """One run of cells that differ in traced fields only."""
    first = runs[0]
    return CellsRun(
        program=CellsProgram(first.program, stacked_together(len(runs))),
        hyper=stack_hyperparams([run.hyper for run in runs]),
        tasks=first.tasks,
        schedule=first.schedule,
        examples_per_task=first.examples_per_task,
        tasks_a_step=first.tasks_a_step,
        mesh=first.mesh,
        about=about,
    )


def failed_steps(report: SegmentReport) -> np.ndarray:
    """The step at which each cell failed, as far as the report tells; 0 for sound ones: int [S]."""
    return np.where(report.bad_step > 0, report.bad_step, np.where(report.finite, 0, report.step))


def spread(metric: str, values: np.ndarray, sound: np.ndarray) -> str:
    """How far apart the sound cells are, such as "median of 7 cells (90.1 % to best 99.2 %)".

    Args:
      metric: what was measured; an accuracy is best where it is largest, an error where smallest.
      values: [S].
      sound: bool [S], at least one.
    """
    found, failed = values[sound], int((~sound).sum())
    worst, best = found.max(), found.min()
    if higher_is_better(metric):
        worst, best = best, worst
    between = f"{measured(metric, worst)} to best {measured(metric, best)}"
    of = f"median of {found.size} cells ({between})"
    return f"{of}, {failed} failed" if failed else of
