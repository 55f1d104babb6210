"""Tiny whole runs from the command line, in this process."""

import json
import os
import signal
from pathlib import Path

import pytest

import launch
from routing_jax.reporting.progress import Progress

ROOT = Path(launch.__file__).parent
TINY = (
    "--config.model.encoder=flatten",
    "--config.model.width=16",
    "--config.training.steps=12",
    "--config.training.eval_every=4",
    "--config.training.checkpoint_every=5",
    "--config.training.examples_per_task=8",
)


def start(workdir: Path, *arguments: str, experiment: str = "mnist_mtl.py:digits") -> int:
    program = str(ROOT / "launch.py")
    config = f"--config={ROOT / 'experiments' / experiment}"
    return launch.main([program, config, f"--workdir={workdir}", *arguments])


def read(workdir: Path) -> dict:
    return json.loads((workdir / "results.json").read_text())


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> None:
    """Sends this process a signal when the run reports `step` or later."""
    update = Progress.update

    def update_and_signal(self, report):
        update(self, report)
        if report.step >= step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Progress, "update", update_and_signal)
