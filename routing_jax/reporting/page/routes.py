"""Routing over training as a page holds it: bytes that the browser unpacks and draws."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from routing_jax.errors import UserError
from routing_jax.reporting.overlap import shared_depths
from routing_jax.reporting.page.figures import shown
from routing_jax.reporting.page.lines import Line
from routing_jax.reporting.routing_file import MOST_SNAPSHOTS, Routing, read_routing
from routing_jax.reporting.similarity import alike_side_by_side, task_similarity

MOST_BYTES = 2_000_000
"""Of all routing on a page, packed."""
_LEVELS = 255


@dataclass(frozen=True)
class Kind:
    """How routing is to be read.

    Attributes:
        title: of its map.
        value: what a number of it is.
        mark: what a marked cell is.
        similarity: what two tasks are compared by.
    """

    title: str
    value: str
    mark: str
    similarity: str


KINDS = {
    "routes": Kind(
        "Routing map", "probability", "most probable", "share of depths with the same block"
    ),
    "switches": Kind(
        "Allocation matrix",
        "probability of being on",
        "on (at least 0.5)",
        "cosine of on/off patterns",
    ),
    "weights": Kind("Mixing weights", "weight", "largest weight", "cosine of weights"),
}


def pack_routes(
    lines: Sequence[Line], *, most_bytes: int = MOST_BYTES
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """The routing of all lines, as plain values for the page.

    Args:
        lines: of the page.
        most_bytes: that the arrays may take together.

    Returns:
        An entry for each line whose routing can be read, and (label, what is wrong) of the others.
    """
    found, problems, files = [], [], {}
    for line in lines:
        try:
            found.append((line, _read(line, files)))
        except UserError as error:
            problems.append((line.label, str(error)))
    snapshots = MOST_SNAPSHOTS
    packed = [_pack(line, routings, snapshots) for line, routings in found]
    while (size := sum(map(_bytes, packed))) > most_bytes and snapshots > 1:
        snapshots = max(1, int(0.95 * snapshots * most_bytes / size))
        packed = [_pack(line, routings, snapshots) for line, routings in found]
    if snapshots < max((len(one.steps) for _, seeds in found for one in seeds), default=0):
        problems.append(("routing maps", f"at most {snapshots} snapshots each fit on this page"))
    return packed, problems


def kind_of(results: Mapping[str, Any]) -> str:
    """The key in `KINDS` of a network's routing."""
    if results["allocation"] is not None:
        return "switches"
    return "weights" if results["routing_map"] is None else "routes"


def similarity(patterns: np.ndarray, kind: str) -> np.ndarray:
    """How alike tasks are, float64 [T, T], from the routing [T, D, A] of a kind."""
    if kind == "routes":
        return shared_depths(patterns.argmax(-1))
    return task_similarity(patterns >= 0.5 if kind == "switches" else patterns)


def _read(line: Line, files: dict[Path, Routing]) -> list[Routing]:
    """The routing of each seed; `files` holds what was read before: cells of a sweep share one."""
    routings = []
    for source in line.sources:
        if source.path not in files:
            files[source.path] = read_routing(source.path)
        whole = files[source.path]
        try:
            one = whole.probabilities[source.row]
            fits = one.shape[:2] == (len(whole.steps), len(whole.tasks)) and one.ndim == 4
        except IndexError:
            fits = False
        if not fits or not one.size or not np.isfinite(one).all():
            raise UserError(f"{source.path} does not hold the routing of this run")
        routings.append(Routing(one, whole.steps, whole.tasks))
    return routings


def _pack(line: Line, routings: Sequence[Routing], snapshots: int) -> dict[str, Any]:
    kind, config = kind_of(line.results), line.fields
    is_columns = config.get("model.name") == "cross_stitch"
    last = [routing.probabilities[-1] for routing in routings]
    alike = np.mean([similarity(patterns, kind) for patterns in last], axis=0)
    return {
        "label": line.label,
        "kind": vars(KINDS[kind]) | {"marks": kind},
        "action": "column" if is_columns else "block",
        "tasks": [shown(task) for task in routings[0].tasks],
        "pass": bool(config.get("router.pass_action")) and kind == "routes",
        "seeds": [
            {"seed": seed} | _pack_snapshots(routing, snapshots)
            for seed, routing in zip(line.results["seeds"], routings, strict=True)
        ],
        "order": alike_side_by_side(alike).tolist(),
        "similarity": _pack_array(alike),
    }


def _pack_snapshots(routing: Routing, snapshots: int) -> dict[str, Any]:
    count = len(routing.steps)
    # From the last backwards, which is the one that has to be there.
    kept = np.unique(np.linspace(count - 1, 0, min(count, snapshots)).round().astype(int))
    return {
        "steps": routing.steps[kept].tolist(),
        "probabilities": _pack_array(routing.probabilities[kept]),
    }


def _pack_array(values: np.ndarray) -> dict[str, Any]:
    """An array of numbers in [0, 1] or beyond as bytes: 255 equal steps from low to high."""
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    levels = np.round((values - low) / (high - low) * _LEVELS).astype(np.uint8)
    return {
        "shape": list(values.shape),
        "low": low,
        "high": high,
        "gzip": packed_bytes(levels.tobytes()),
    }


def packed_bytes(content: bytes) -> str:
    """Bytes as the page's scripts unpack them: gzip in base 64; equal input, equal output."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


def _bytes(entry: Mapping[str, Any]) -> int:
    arrays = [entry["similarity"], *(seed["probabilities"] for seed in entry["seeds"])]
    return sum(len(array["gzip"]) for array in arrays)
