"""Runs of `launch.py` in processes of their own, which account for their own steps."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

Side = TypeVar("Side")
ROOT = Path(__file__).resolve().parents[1]


def launch(
    flags: Mapping[str, object], workdir: Path, *, environment: Mapping[str, str] | None = None
) -> None:
    """Runs the command to its end.

    Args:
      flags: by name.
      workdir: of the run.
      environment: variables beside those of now.

    Raises:
      SystemExit: It failed; with what it printed.
    """
    arguments = [f"--{name}={value}" for name, value in (flags | {"workdir": workdir}).items()]
    done = subprocess.run(
        [sys.executable, "launch.py", *arguments],
        cwd=ROOT,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        command = shlex.join(["python", "launch.py", *arguments])
        raise SystemExit(f"{command}\nended with {done.returncode}:\n{done.stderr}")


def choose(
    about: str, steps: Mapping[str, int], arguments: Sequence[str] | None
) -> tuple[dict[str, int], int]:
    """What the command line of a benchmark asks for: experiments with their steps, and rounds.

    Args:
      about: the benchmark, for `--help`.
      steps: of a run of each experiment; `--quick` takes the first one alone.
      arguments: None for those of the process.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="the digits alone, one round")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds")
    options = parser.parse_args(arguments)
    if options.quick:
        return dict(list(steps.items())[:1]), 0
    return dict(steps), options.rounds


def short_run(experiment: str, steps: int) -> dict[str, object]:
    """Flags of a run of so many steps, with nothing else to do but them."""
    return {
        "config": experiment,
        "config.training.epochs": None,
        "config.training.steps": steps,
        "config.training.eval_every": steps,
        "config.training.checkpoint_every": steps,
    }


def in_turn(
    sides: Mapping[str, Side], measure: Callable[[Side], float], *, rounds: int
) -> dict[str, list[float]]:
    """What each side measures, per round; all take their turn in every round.

    Args:
      sides: by name.
      measure: runs one.
      rounds: measured ones, after one that compiles; 0 for that one alone.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1 + rounds):
        for name, side in sides.items():
            value = measure(side)
            if number or not rounds:
                times[name].append(value)
    return times


def results_of(workdir: Path) -> dict[str, Any]:
    """What a run has written."""
    return json.loads((workdir / "results.json").read_text())
