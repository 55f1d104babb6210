"""Training the programs of a sweep side by side, in processes of this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from routing_jax.errors import RunError
from routing_jax.reporting.formats import measured
from routing_jax.reporting.progress import SECONDS_BETWEEN_LOG_LINES
from routing_jax.reporting.writers import read_records
from routing_jax.sweep.cells_run import spread
from routing_jax.sweep.parts import Part
from routing_jax.training.run import say
from routing_jax.training.stopping import Stops
from routing_jax.workdir import Workdir

_SECONDS_BETWEEN_LOOKS = 0.2
_ACCELERATOR_MEMORY = 0.9
"""Share of an accelerator's memory that all workers get together."""


@dataclass(frozen=True)
class _Worker:
    """A process, and the program that it trains."""

    part: Part
    slot: int
    process: subprocess.Popen[bytes]


def train_in_workers(
    parts: Sequence[Part],
    root: Workdir,
    settings: Mapping[str, Any],
    *,
    workers: int,
    console: Console,
    stops: Stops,
) -> bool:
    """Trains all programs, at most `workers` at a time, each on its share of the cores.

    What a process prints goes to `log.txt` in the folder of its program. The processes end with
    this one, however it ends, and save what they have.

    Args:
      parts: the programs; those that are finished are left alone.
      root: work directory of the sweep.
      settings: see `read_parts`.
      workers: processes at most.
      console: where to show them.
      stops: the answers to signals.

    Returns:
      Whether all are finished; else a stop was asked for.

    Raises:
      RunError: programs failed; the others were trained to their end.
    """
    waiting = [part for part in parts if part.outcomes is None]
    shares, environment = cpu_shares(workers), worker_environment(workers)
    start = partial(_start, settings=settings, environment=environment)
    running: list[_Worker] = []
    failed: list[_Worker] = []
    view = _View(console, parts)
    with stops.deferred(), view:
        while running or (waiting and stops.received is None):
            taken = {worker.slot for worker in running}
            free = [slot for slot in range(workers) if slot not in taken]
            if stops.received is None:
                for slot, part in zip(free, list(waiting), strict=False):
                    running.append(start(part, root, slot, cpus=shares[slot]))
                    waiting.remove(part)
            else:
                for worker in running:
                    worker.process.stdin.close()  # which asks it to stop
            ended = [worker for worker in running if worker.process.poll() is not None]
            for worker in ended:
                worker.process.stdin.close()
            failed += [worker for worker in ended if _has_failed(worker, stops)]
            running = [worker for worker in running if worker not in ended]
            view.show(running=len(running), waiting=len(waiting))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    if failed:
        raise RunError("\n".join(_failure(worker) for worker in failed))
    return all(part.outcomes is not None for part in parts)


def worker_command(root: Path, number: int, settings: Mapping[str, Any]) -> list[str]:
    """The command that trains one program; for `settings` see `read_parts`."""
    options = [str(root), str(number), f"--settings={json.dumps(settings)}"]
    return [sys.executable, "-m", "routing_jax.sweep.worker", *options]


def cpu_shares(workers: int) -> list[list[int]]:
    """The cores of each worker: equal shares, or one core each where there are too few."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if not cores:
        return [[]] * workers
    each = max(1, len(cores) // workers)
    return [[cores[(slot * each + i) % len(cores)] for i in range(each)] for slot in range(workers)]


def worker_environment(workers: int) -> dict[str, str]:
    """The environment of each worker: an accelerator's memory is shared like the cores."""
    share = _ACCELERATOR_MEMORY / workers
    return os.environ | {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{share:.4f}"}


def _start(
    part: Part,
    root: Workdir,
    slot: int,
    *,
    cpus: Sequence[int],
    settings: Mapping[str, Any],
    environment: Mapping[str, str],
) -> _Worker:
    part.workdir.path.mkdir(parents=True, exist_ok=True)
    command = worker_command(root.path, part.number, settings)
    command += ["--while_parent_lives", *([f"--cpus={','.join(map(str, cpus))}"] if cpus else [])]
    with (part.workdir.path / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # so that Ctrl-C reaches this process alone
        )
    return _Worker(part, slot, process)


def _has_failed(worker: _Worker, stops: Stops) -> bool:
    """Whether a process that ended did not finish, though it was not asked to stop from here."""
    unasked = stops.received is None and worker.part.outcomes is None
    return worker.process.returncode != 0 or unasked


def _failure(worker: _Worker) -> str:
    log = worker.part.workdir.path / "log.txt"
    return f"{worker.part.title or 'The program'} failed: {_reason(worker, log)} ({log})"


def _reason(worker: _Worker, log: Path) -> str:
    status = worker.process.returncode
    if status < 0:
        memory = ": out of memory?" if status == -signal.SIGKILL else ""
        return f"its process was killed by signal {-status}{memory}"
    if status == 0:
        return "its process was stopped from outside; everything is saved, the same command goes on"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {status}"


class _View:
    """One line about all cells: live on a terminal, now and then in a log."""

    def __init__(self, console: Console, parts: Sequence[Part]) -> None:
        self._console = console
        self._parts = parts
        self._status = console.status("starting") if console.is_interactive else None
        self._last = ("", -SECONDS_BETWEEN_LOG_LINES)

    def __enter__(self) -> "_View":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, *, running: int, waiting: int) -> None:
        finished = len(self._parts) - running - waiting
        text = f"programs: {finished} ended, {running} at work, {waiting} waiting"
        text = ", ".join(filter(None, [text, self._cells()]))
        if self._status is not None:
            self._status.update(text)
        elif text != self._last[0] and (
            time.monotonic() - self._last[1] >= SECONDS_BETWEEN_LOG_LINES or not running
        ):
            say(self._console, text)
            self._last = (text, time.monotonic())

    def _cells(self) -> str:
        """Test accuracies of all cells as they were logged last."""
        newest = [record for record in map(_newest_record, self._parts) if record is not None]
        if not newest:
            return ""
        metric = next(name for name in newest[0] if name.startswith("test_"))
        values = np.array([v or 0.0 for record in newest for v in record[metric]])
        sound = np.array([step == 0 for record in newest for step in record["failed_step"]])
        if not sound.any():
            return f"{sound.size} failed"
        median = measured(metric, np.median(values[sound]))
        return f"{metric.replace('_', ' ')} {median}, {spread(metric, values, sound)}"


def _newest_record(part: Part) -> dict[str, Any] | None:
    try:
        return read_records(part.workdir.metrics_path)[-1]
    except (OSError, IndexError, json.JSONDecodeError):
        return None
