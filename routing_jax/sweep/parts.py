"""The compiled programs of a sweep: which cells each trains, so that each fits into memory."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_collections
from jax.sharding import Mesh

from routing_jax import config as config_lib
from routing_jax import files
from routing_jax.cli import Command
from routing_jax.data import loading
from routing_jax.errors import UserError
from routing_jax.mesh import SWEEP, one_device
from routing_jax.reporting.formats import mebibytes
from routing_jax.sweep.axes import parse_axes
from routing_jax.sweep.cells import stacked_together
from routing_jax.sweep.commands import cell_command
from routing_jax.sweep.plan import Cell, Group, group_cells, make_cells
from routing_jax.training import loop, memory, processes
from routing_jax.training.run import make_run
from routing_jax.workdir import FIELDS_WITHOUT_EFFECT, Workdir

_MEMORY_SHARE = 0.5
"""Of the memory available, what the estimates may take together; they are lower bounds."""


@dataclass(frozen=True)
class Part:
    """A program of a sweep.

    Attributes:
      number: counted from 0.
      count: of all programs.
      cells: that it trains.
      commands: one for each cell, which trains it alone.
      needed: bytes of memory, at least.
      workdir: of this program.
    """

    number: int
    count: int
    cells: tuple[Cell, ...]
    commands: tuple[str, ...]
    needed: int
    workdir: Workdir

    @property
    def title(self) -> str:
        """Such as "program 2 of 3"; empty for the only one."""
        return f"program {self.number + 1} of {self.count}" if self.count > 1 else ""

    @property
    def outcomes_path(self) -> Path:
        """Where what became of each cell is written, when the program is finished."""
        return self.workdir.path / "cells.json"

    @property
    def outcomes(self) -> list[dict[str, Any]] | None:
        """What became of each cell, as in sweep.json; None before it is finished."""
        try:
            return json.loads(self.outcomes_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None


def plan_parts(command: Command, mesh: Mesh | None = None, *, say: loading.Say) -> list[Part]:
    """The programs of a sweep: those of its first start, or new ones, which are then written down.

    Args:
      command: the sweep.
      mesh: what each program runs on; one device if None.
      say: see `loading.load`.

    Raises:
      UserError: a cell cannot fit into memory, the data cannot be loaded, or the cells of a program
        cannot be split evenly over the mesh.
    """
    root, sweep, mesh = command.workdir, command.sweep, mesh or one_device()
    if processes.is_first() and not root.plan_path.exists():
        workers = sweep.workers or 1
        most = math.ceil(len(sweep.cells) / workers)
        parts = [
            {"cells": [cell.index for cell in cells], "bytes": needed}
            for group, run in _loaded(group_cells(sweep.cells), mesh, say)
            for cells, needed in _split(group, run, most=most, workers=workers)
        ]
        plan = {"launch": list(command.launch), "given": sweep.given, "programs": parts}
        files.write_json(root.plan_path, plan)
    processes.wait_for_all("planned the sweep")
    parts = _read(root, sweep.cells)
    _require_even(parts, mesh)
    return parts


def read_parts(root: Workdir, settings: Mapping[str, Any]) -> list[Part]:
    """The programs of a sweep that was planned in this work directory.

    Args:
      root: of the sweep.
      settings: values of this start, by dotted name, for fields that do not decide about results;
        see `settings_of_start`.
    """
    stored = config_lib.flatten(root.read_config())
    config = config_lib.from_values(stored | dict(settings))
    return _read(root, make_cells(config, parse_axes([config.sweep])))


def settings_of_start(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The values that may be others than at the first start, such as where the data lie."""
    values = config_lib.flatten(config)
    return {field: values[field] for field in FIELDS_WITHOUT_EFFECT}


def side_by_side(parts: Sequence[Part], workers: int) -> int:
    """How many programs may be trained at once, so that any of them fit into memory together.

    The plan sees to it for as many workers as the first start has; a later one may have more.

    Args:
      parts: the programs.
      workers: how many are asked for.

    Returns:
      In 1 .. workers.
    """
    available = memory.available_bytes()
    if available is None:
        return workers
    largest = sorted((part.needed for part in parts if part.outcomes is None), reverse=True)
    while workers > 1 and sum(largest[:workers]) > _MEMORY_SHARE * available:
        workers -= 1
    return workers


def plan_lines(parts: Sequence[Part]) -> list[str]:
    """The plan for a reader: a line for all, and one for each program."""
    cells = sum(len(part.cells) for part in parts)
    programs = "1 program" if len(parts) == 1 else f"{len(parts)} programs"
    lines = [f"The sweep has {cells:,} cells in {programs}:"]
    for part in parts:
        static = group_cells(part.cells)[0].static_settings
        about = ", ".join(f"{field} = {value}" for field, value in static.items())
        done = "; finished" if part.outcomes is not None else ""
        lines.append(
            f"  program {part.number + 1}: {len(part.cells):,} cells{about and f' ({about})'}, "
            f"at least {mebibytes(part.needed)} of memory{done}"
        )
    return lines


def _loaded(
    groups: Sequence[Group], mesh: Mesh, say: loading.Say
) -> Iterator[tuple[Group, loop.Run]]:
    """Each group with the run of its first cell; equal data are loaded once."""
    data, tasks = None, None
    for group in groups:
        config = group.cells[0].config
        if config.data.input == "stream":
            raise UserError(
                "data.input = stream and a sweep clash: the cells of a program share a data set in "
                "memory; set data.input to memory."
            )
        if config.data != data:
            data, tasks = config.data, loading.load(config.data, say=say)
        yield group, make_run(config, tasks, mesh)


def _split(
    group: Group, run: loop.Run, *, most: int, workers: int
) -> Iterator[tuple[tuple[Cell, ...], int]]:
    """Cuts a group into equal parts that fit, with the bytes that each device needs at least."""
    memory.require_memory(run)
    needed, available = memory.estimate(run), memory.available_bytes()
    cells, devices = len(group.cells), run.mesh.shape[SWEEP]
    each = math.ceil(cells / devices)
    together = min(each, math.ceil(most / devices))
    if available is not None:
        room = int(_MEMORY_SHARE * available / workers)
        while together > 1 and _bytes(needed, together) > room:
            together -= 1
    count = math.ceil(each / together)
    edges = [min(cells, devices * (each * number // count)) for number in range(count + 1)]
    for start, stop in zip(edges, edges[1:], strict=False):
        yield group.cells[start:stop], _bytes(needed, math.ceil((stop - start) / devices))


def _require_even(parts: Sequence[Part], mesh: Mesh) -> None:
    devices = mesh.shape[SWEEP]
    for part in parts:
        if len(part.cells) % devices and part.outcomes is None:
            raise UserError(
                f"--mesh={SWEEP}:{devices} and {part.title or 'a program'} of {len(part.cells)} "
                "cells clash: cells are split evenly; sweep a multiple of "
                f"{devices} values of fields that one program trains, or name another mesh."
            )


def _bytes(needed: memory.Needed, cells: int) -> int:
    """What so many cells of a device need: all states twice, before and after a segment."""
    working = (needed.gradients + needed.activations) * stacked_together(cells)
    return needed.data + 2 * cells * needed.state + working


def _read(root: Workdir, cells: Sequence[Cell]) -> list[Part]:
    try:
        plan = json.loads(root.plan_path.read_text(encoding="utf-8"))
        return [
            _part(plan, number, tuple(cells[index] for index in entry["cells"]), root)
            for number, entry in enumerate(plan["programs"])
        ]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(
            f"{root.plan_path} cannot be read ({error}): choose another --workdir, or start anew "
            "with --overwrite."
        ) from error


def _part(plan: dict[str, Any], number: int, cells: tuple[Cell, ...], root: Workdir) -> Part:
    launch, given = plan["launch"], plan["given"]
    return Part(
        number=number,
        count=len(plan["programs"]),
        cells=cells,
        commands=tuple(cell_command(launch, cell, given=given, root=root.path) for cell in cells),
        needed=plan["programs"][number]["bytes"],
        workdir=Workdir(root.programs_dir / f"{number:03d}"),
    )
