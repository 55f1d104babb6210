"""What a command asks of a sweep. Imports no JAX."""

import dataclasses
import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from routing_jax.errors import UserError
from routing_jax.sweep.commands import cell_command
from routing_jax.sweep.plan import Cell


@dataclasses.dataclass(frozen=True)
class Slurm:
    """Where jobs run, and what each asks for.

    Attributes:
        partition: Of the cluster.
        minutes: Time limit.
        gpus: Number of GPUs.
        cpus: Number of cores; None leaves it to the cluster.
    """

    partition: str
    minutes: int
    gpus: int
    cpus: int | None


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The grid of a command, and how it is to be trained.

    Attributes:
        cells: All of them, checked.
        given: Every field's value as the experiment alone sets it, by dotted name.
        print_only: Whether to print the cells as plain commands and train none.
        workers: Processes to train the programs in; None for this one.
        slurm: Where to submit them; None for this machine.
    """

    cells: tuple[Cell, ...]
    given: dict[str, Any]
    print_only: bool
    workers: int | None
    slurm: Slurm | None

    def commands(self, launch: Sequence[str], root: Path) -> list[str]:
        """A command for each cell that trains it alone; see `cell_command`."""
        return [cell_command(launch, cell, given=self.given, root=root) for cell in self.cells]


def require_slurm() -> None:
    """Raises UserError where jobs cannot be submitted."""
    if importlib.util.find_spec("submitit") is None:
        raise UserError(
            "--slurm.partition needs the package submitit, which is not installed: "
            "pip install -c constraints.txt -e '.[slurm]'."
        )
    if shutil.which("sbatch") is None:
        raise UserError(
            "--slurm.partition: there is no SLURM here (the command sbatch is not found). Submit "
            "from a machine of the cluster, or use --sweep_workers=N."
        )
