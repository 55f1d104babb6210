"""What the lines of a page ran on, and the commands that run them again."""

from collections.abc import Sequence
from typing import Any

from routing_jax.reporting.formats import duration, mebibytes, rate
from routing_jax.reporting.page.collect import FoundSweep
from routing_jax.reporting.page.lines import Line
from routing_jax.reporting.page.tables import MISSING, Cell, Table, number


def machines(lines: Sequence[Line]) -> Table:
    """A row for each line: device, versions, commit, time and memory."""
    columns = ["run", "device", "versions", "commit", "time of a seed", "examples/s", "peak memory"]
    return Table("What it ran on", columns, [_row(line) for line in lines])


def commands(runs: Sequence[Line], sweeps: Sequence[FoundSweep]) -> list[tuple[str, list[str]]]:
    """(label, commands): one for each seed of a run, one for a whole sweep."""
    found = [(line.label, [member["command"] for member in line.members]) for line in runs]
    for sweep in sweeps:
        cells = [cell.get("command", MISSING) for cell in sweep.cells]
        found.append((sweep.name, [sweep.command] if sweep.command else cells))
    return found


def _row(line: Line) -> list[Cell]:
    results = line.results
    versions = [f"{name} {version}" for name, version in results["versions"].items() if version]
    seconds, memory = results["seconds"]["total"], results["peak_memory_bytes"]
    speed = results["examples_per_second"]
    return [
        Cell(line.label),
        Cell(results["device"]),
        Cell(", ".join(versions)),
        Cell(_short(results["git_commit"])),
        number(seconds, duration(seconds)),
        number(speed, rate(speed)),
        number(memory, mebibytes(memory) if memory == memory else MISSING),
    ]


def _short(commit: Any) -> str:
    return str(commit)[:10] if commit else MISSING
