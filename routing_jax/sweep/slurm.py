"""Submitting the programs of a sweep to SLURM as a job array, with submitit."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import submitit
from submitit.helpers import DelayedSubmission

from routing_jax.sweep.parts import Part
from routing_jax.sweep.request import Slurm
from routing_jax.workdir import Workdir


@dataclass(frozen=True)
class Job:
    """Trains one program; called on the machine that SLURM chooses."""

    root: Path
    number: int

    def __call__(self) -> None:
        """Raises CalledProcessError if training fails; a stopped one is saved and not finished."""
        command = [sys.executable, "-m", "routing_jax.sweep.worker", self.root, self.number]
        subprocess.run([str(part) for part in command], check=True)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit submits anew when the job's time is up: it goes on from its checkpoint."""
        return DelayedSubmission(self)


def submit(parts: Sequence[Part], root: Workdir, slurm: Slurm) -> str:
    """Submits the programs that are not finished; returns what to tell the user."""
    executor = submitit.AutoExecutor(folder=root.jobs_dir, cluster="slurm")
    executor.update_parameters(slurm_partition=slurm.partition, timeout_min=slurm.minutes)
    jobs = submit_to(executor, parts, root)
    numbers = ", ".join(job.job_id for job in jobs)
    return (
        f"Submitted {len(jobs)} jobs to {slurm.partition} ({numbers}); their logs are in "
        f"{root.jobs_dir}. The last one to end writes {root.sweep_path}; the same command without "
        "--slurm.partition shows the table, or trains here what is missing."
    )


def submit_to(
    executor: submitit.Executor, parts: Sequence[Part], root: Workdir
) -> list[submitit.Job[None]]:
    """Submits a job for each program that is not finished, as one array."""
    waiting = [part for part in parts if part.outcomes is None]
    if not waiting:
        return []
    with executor.batch():
        return [executor.submit(Job(root.path.absolute(), part.number)) for part in waiting]
