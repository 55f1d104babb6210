"""Submitting the programs of a sweep to SLURM as a job array, with submitit."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.helpers import DelayedSubmission

from routing_jax.sweep.parts import Part
from routing_jax.sweep.request import Slurm
from routing_jax.sweep.workers import worker_command
from routing_jax.workdir import Workdir

_MOST_TIMES = 100_000
"""How often a job whose time is up goes on in a new one: without end, in effect."""


@dataclass
class Job:
    """Trains one program; called on the machine that SLURM chooses.

    Attributes:
      root: work directory of the sweep.
      number: of the program, counted from 0.
      settings: see `read_parts`.
      worker: number of the process that trains; None before it is started.
    """

    root: Path
    number: int
    settings: dict[str, Any]
    worker: int | None = None

    def __call__(self) -> None:
        """Raises CalledProcessError if training fails; a stopped one is saved and not finished."""
        command = worker_command(self.root, self.number, self.settings)
        # Not `subprocess.run`, which kills the process where submitit leaves by an exception.
        with subprocess.Popen(command) as process:
            self.worker = process.pid
            status = process.wait()
        if status:
            raise subprocess.CalledProcessError(status, command)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit submits anew when the job's time is up: it goes on from its checkpoint."""
        if self.worker is not None:
            with suppress(ProcessLookupError, ChildProcessError):  # it has ended
                os.kill(self.worker, signal.SIGTERM)
                # WNOWAIT: `__call__`, which this interrupts, is the one to hear how it ended.
                os.waitid(os.P_PID, self.worker, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Job(self.root, self.number, self.settings))


def submit(parts: Sequence[Part], root: Workdir, slurm: Slurm, settings: dict[str, Any]) -> str:
    """Submits the programs that are not finished; returns what to tell the user."""
    executor = submitit.AutoExecutor(
        folder=root.jobs_dir, cluster="slurm", slurm_max_num_timeout=_MOST_TIMES
    )
    asked = {"gpus_per_node": slurm.gpus or None, "cpus_per_task": slurm.cpus}
    executor.update_parameters(
        slurm_partition=slurm.partition,
        timeout_min=slurm.minutes,
        **{name: count for name, count in asked.items() if count is not None},
    )
    jobs = submit_to(executor, parts, root, settings)
    numbers = ", ".join(job.job_id for job in jobs)
    return (
        f"Submitted {len(jobs)} jobs to {slurm.partition} ({numbers}); their logs are in "
        f"{root.jobs_dir}. The last one to end writes {root.sweep_path}; the same command without "
        "--slurm.partition shows the table, or trains here what is missing."
    )


def submit_to(
    executor: submitit.Executor, parts: Sequence[Part], root: Workdir, settings: dict[str, Any]
) -> list[submitit.Job[None]]:
    """Submits a job for each program that is not finished, as one array."""
    waiting = [part for part in parts if part.outcomes is None]
    if not waiting:
        return []
    with executor.batch():
        path = root.path.absolute()
        return [executor.submit(Job(path, part.number, settings)) for part in waiting]
