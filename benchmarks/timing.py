"""Timing two or more programs against each other, and printing what came of it."""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import jax

from routing_jax.reporting.provenance import git_commit, versions

_ROUND_SECONDS = 0.3
"""Aim for the time that one side takes in a round; single steps are too short to time."""

Run = Callable[[int], object]
"""Takes a number of steps and waits for their result."""


def interleaved(sides: Mapping[str, Run], *, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of one step of each side, per round; all sides take their turn in every round.

    Args:
      sides: compiled programs by name; each takes a number of steps.
      rounds: measured rounds, after one that warms up and sets the steps of a round.
    """
    steps = {name: _steps_of_a_round(run) for name, run in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            times[name].append(1000 * _seconds(run, steps[name]) / steps[name])
    return times


def report(
    benchmark: str,
    settings: Mapping[str, Any],
    times: Mapping[str, Sequence[float]],
    *,
    against: str,
    examples: int | None = None,
    gigabytes: Mapping[str, float] | None = None,
) -> None:
    """Prints a JSON line for each side, with its ratio to the side `against`, round by round.

    With the `examples` of a step the lines also say how many are done in a second; with the
    `gigabytes` that a step of a side reads and writes, how many of those.
    """
    gigabytes = gigabytes or {}
    for name, milliseconds in times.items():
        ratios = [mine / other for mine, other in zip(milliseconds, times[against], strict=True)]
        figures = {
            "milliseconds": spread(milliseconds),
            "ratio": spread(ratios) | {"to": against},
        }
        if examples is not None:
            figures["examples_per_second"] = round(1000 * examples / median(milliseconds))
        if name in gigabytes:
            rates = [1000 * gigabytes[name] / value for value in milliseconds]
            figures["gigabytes_per_second"] = spread(rates)
        print_line(benchmark, name, settings, figures)


def print_line(
    benchmark: str, name: str, settings: Mapping[str, Any], figures: Mapping[str, Any]
) -> None:
    """Prints a JSON line: what was measured, and on what, with which versions and command."""
    line = {
        "benchmark": benchmark,
        "name": name,
        "settings": dict(settings),
        **figures,
        "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores",
        "versions": versions(),
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "git_commit": git_commit(),
    }
    print(json.dumps(line), flush=True)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest, to four digits."""
    rounded = {"median": median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.4g}") for name, value in rounded.items()}


def fastest(runs: Sequence[Run]) -> Run:
    """The run that takes the least time for three steps, after one that warms up."""
    if len(runs) == 1:
        return runs[0]
    for run in runs:
        _seconds(run, 1)
    return min(runs, key=lambda run: _seconds(run, 3))


def _steps_of_a_round(run: Run) -> int:
    _seconds(run, 1)
    return max(1, round(_ROUND_SECONDS / max(_seconds(run, 3) / 3, 1e-6)))


def _seconds(run: Run, steps: int) -> float:
    began = time.perf_counter()
    jax.block_until_ready(run(steps))
    return time.perf_counter() - began
