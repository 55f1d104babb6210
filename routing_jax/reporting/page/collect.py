"""Reads the work directories of a report; one that is broken is named and leaves the others."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from routing_jax import config as config_lib
from routing_jax.errors import UserError
from routing_jax.reporting.page.trained import Source, Trained, checked
from routing_jax.reporting.results import read_results
from routing_jax.reporting.sweep_summary import Cell, read_sweep
from routing_jax.sweep.commands import sweep_command
from routing_jax.workdir import Workdir


@dataclass(frozen=True)
class FoundSweep:
    """A finished sweep.

    Attributes:
        name: for a reader.
        cells: of its sweep.json, with their results checked.
        trained: the cells that finished, in the order of `cells`.
        command: trains all of it; None where its plan cannot be read.
    """

    name: str
    cells: list[Cell]
    trained: list[Trained]
    command: str | None


@dataclass
class Found:
    """What was found in the work directories.

    Attributes:
        runs: single runs.
        sweeps: finished sweeps.
        problems: (name, what is wrong) of what is left out.
    """

    runs: list[Trained] = field(default_factory=list)
    sweeps: list[FoundSweep] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def collect(workdirs: Sequence[Path]) -> Found:
    """Reads all work directories.

    Raises:
        UserError: there is nothing to show in any of them.
    """
    found = Found()
    for workdir, name in zip(workdirs, short_names(workdirs), strict=True):
        try:
            _read(Workdir(workdir), name, found)
        except UserError as error:
            found.problems.append((name, str(error)))
        except OSError as error:
            reason = f"{error.filename or workdir} cannot be read: {error.strerror or error}"
            found.problems.append((name, reason))
    if not found.runs and not found.sweeps:
        reasons = "".join(f"\n  {reason}" for _, reason in found.problems)
        raise UserError(f"there is nothing to report:{reasons}")
    return found


def short_names(workdirs: Sequence[Path]) -> list[str]:
    """The paths as a reader needs them: without the directory that all have in common."""
    paths = [Path(os.path.abspath(path)) for path in workdirs]
    common = Path(os.path.commonpath([path.parent for path in paths]))
    if len(paths) == 1:
        return [paths[0].name]
    return [str(path.relative_to(common)) for path in paths]


def _read(workdir: Workdir, name: str, found: Found) -> None:
    if not workdir.path.is_dir():
        what = "is a file" if workdir.path.exists() else "does not exist"
        raise UserError(f"--workdir={workdir.path} {what}; name the directory of a run or sweep")
    if workdir.sweep_path.exists() or workdir.plan_path.exists():
        found.sweeps.append(_read_cells(workdir, name, found))
    else:
        results = checked(read_results(workdir.results_path), workdir.results_path)
        sources = [Source(workdir.routing_path, row) for row in range(len(results["seeds"]))]
        found.runs.append(Trained(name, results, tuple(sources)))


def _read_cells(workdir: Workdir, name: str, found: Found) -> FoundSweep:
    """A sweep; cells that diverged or cannot be read are named as problems."""
    cells, sources = read_sweep(workdir.sweep_path), _sources(workdir)
    kept, trained = [], []
    for cell in cells:
        try:
            kept.append(_checked(cell, workdir.sweep_path))
        except UserError as error:
            found.problems.append((name, str(error)))
            continue
        if cell["results"] is None:
            found.problems.append((name, _diverged(cell)))
        else:
            source = sources.get(cell["index"], Source(workdir.programs_dir, 0))
            trained.append(Trained(name, kept[-1]["results"], (source,)))
    if not trained:
        raise UserError(f"{workdir.sweep_path} has no cell that finished")
    return FoundSweep(name, kept, trained, _command(workdir))


def _command(workdir: Workdir) -> str | None:
    """Trains the sweep again; None where what it was started with cannot be read."""
    try:
        plan = json.loads(workdir.plan_path.read_text(encoding="utf-8"))
        values = config_lib.flatten(workdir.read_config())
        return sweep_command(plan["launch"], values, given=plan["given"], root=workdir.path)
    except (OSError, ValueError, TypeError, KeyError, UserError):
        return None


def _checked(cell: Any, path: Path) -> Cell:
    kinds = {"index": int, "settings": dict, "results": dict | None}
    for name, kind in kinds.items():
        if not (isinstance(cell, dict) and isinstance(cell.get(name, ...), kind)):
            raise UserError(f"{path} has a cell without {name!r}")
    results = cell["results"]
    return cell | {"results": None if results is None else checked(results, path)}


def _diverged(cell: Cell) -> str:
    settings = ", ".join(f"{name} = {value}" for name, value in cell["settings"].items())
    return f"the cell {settings} failed at step {cell.get('failed_step')}"


def _sources(workdir: Workdir) -> dict[int, Source]:
    """Where each cell's routing lies, by the number of the cell."""
    sources = {}
    for folder in sorted(workdir.programs_dir.glob("*")):
        program = Workdir(folder)
        try:
            cells = json.loads((folder / "cells.json").read_text(encoding="utf-8"))
            rows = {cell["index"]: row for row, cell in enumerate(cells)}
        except (OSError, ValueError, TypeError, KeyError):
            continue  # its cells then have no routing, which is said of each
        sources |= {index: Source(program.routing_path, row) for index, row in rows.items()}
    return sources
