"""When training comes back to the host, and how long it takes."""

import time
from typing import NamedTuple

SEGMENT_SECONDS = 1.0
"""Aim for a segment: long enough to cost nothing, short enough for a prompt live line."""


class Schedule(NamedTuple):
    """Where a run must come back to the host; in steps."""

    total: int
    eval_every: int
    checkpoint_every: int

    def evaluates(self, step: int) -> bool:
        """Whether an evaluation belongs to this step."""
        return step % self.eval_every == 0 or step == self.total

    def saves(self, step: int) -> bool:
        """Whether a checkpoint belongs to this step."""
        return step % self.checkpoint_every == 0 or step == self.total

    def steps_to_halt(self, step: int) -> int:
        """Steps until the next evaluation, checkpoint or the end."""
        every = (self.eval_every, self.checkpoint_every)
        return min([self.total - step, *(size - step % size for size in every)])

    def evaluations_after(self, step: int) -> int:
        """Evaluations still to come after `step`."""
        return -(-self.total // self.eval_every) - step // self.eval_every


class Pace:
    """Measures steps and chooses the length of the next segment.

    The first segment is one step, so that the time to the first step is known. It also warms the
    machine up: its pace bounds the second, which is at most ten steps, and is then forgotten. Later
    segments take `segment_seconds`. Lengths are an argument of the compiled segment, not a part of
    it.
    """

    def __init__(self, segment_seconds: float = SEGMENT_SECONDS) -> None:
        self._segment_seconds = segment_seconds
        self.seconds_per_step: float | None = None
        """Of the newest segments; None before the second."""
        self._first: float | None = None  # seconds of the first step
        self._evaluation = 0.0  # seconds of the newest evaluation

    def next_length(self, steps_to_halt: int) -> int:
        """Steps of the next segment, at least 1 and at most `steps_to_halt`, which is positive."""
        if self._first is None:
            return 1
        if self.seconds_per_step is None:
            steps_to_halt = min(steps_to_halt, 10)
        length = round(self._segment_seconds / max(self.seconds_per_step or self._first, 1e-6))
        return max(1, min(steps_to_halt, length))

    def stepped(self, steps: int, seconds: float) -> None:
        """Takes in a segment; the newest counts for half, so that the pace follows the machine."""
        if self._first is None:
            self._first = seconds / steps
            return
        newest = seconds / steps
        before = self.seconds_per_step
        self.seconds_per_step = newest if before is None else (before + newest) / 2

    def evaluated(self, seconds: float) -> None:
        """Takes in an evaluation."""
        self._evaluation = seconds

    def seconds_left(self, step: int, schedule: Schedule) -> float:
        """An estimate of the seconds to the end of the run."""
        steps = (schedule.total - step) * (self.seconds_per_step or 0.0)
        return steps + schedule.evaluations_after(step) * self._evaluation


class Elapsed(NamedTuple):
    """Seconds that a run has taken, over all its starts."""

    total: float = 0.0
    """Since the command."""
    compile: float = 0.0
    """Compiling the training segment."""
    first_step: float = 0.0
    """From the first start's command to the end of the first step."""
    train: float = 0.0
    """In training steps and evaluations."""
    evaluation: float = 0.0
    """In evaluations."""
    save: float = 0.0
    """Waiting for checkpoints; they are written while training goes on."""
    wait: float = 0.0
    """In training steps, waiting for images that are streamed."""


class Stopwatch:
    """Adds this start's times to those of earlier starts.

    Args:
      started: when this start's command began, as `time.monotonic()` tells it.
      before: what earlier starts took.
    """

    def __init__(self, started: float, before: Elapsed) -> None:
        self._started = started
        self._before = before
        self._elapsed = before

    def compiled(self, seconds: float) -> None:
        """Takes in a compilation."""
        self._elapsed = self._elapsed._replace(compile=self._elapsed.compile + seconds)

    def stepped(self, seconds: float) -> None:
        """Takes in training steps."""
        self._elapsed = self._elapsed._replace(
            train=self._elapsed.train + seconds,
            first_step=self._elapsed.first_step or self._total(),
        )

    def evaluated(self, seconds: float) -> None:
        """Takes in an evaluation."""
        self._elapsed = self._elapsed._replace(
            train=self._elapsed.train + seconds, evaluation=self._elapsed.evaluation + seconds
        )

    def saved(self, seconds: float) -> None:
        """Takes in a wait for a checkpoint, which itself holds the time of those before."""
        self._elapsed = self._elapsed._replace(save=self._elapsed.save + seconds)

    def waited(self, seconds: float) -> None:
        """Takes in a wait for images."""
        self._elapsed = self._elapsed._replace(wait=self._elapsed.wait + seconds)

    def read(self) -> Elapsed:
        """The times up to now."""
        return self._elapsed._replace(total=self._total())

    def _total(self) -> float:
        return self._before.total + time.monotonic() - self._started
