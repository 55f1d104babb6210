"""The lines of a page: trained networks that differ only in their seed, as one with its error."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from routing_jax.config import flatten
from routing_jax.reporting.merge import differences, merge
from routing_jax.reporting.page.trained import Source, Trained
from routing_jax.reporting.sweep_lines import settings_label
from routing_jax.reporting.sweep_summary import SEED, standard_error
from routing_jax.workdir import FIELDS_WITHOUT_EFFECT

_MOST_NAMES = 3
_NO_FIELDS = (*FIELDS_WITHOUT_EFFECT, SEED, "sweep")
"""Fields of a configuration that do not tell two lines apart."""


@dataclass(frozen=True)
class Line:
    """What a curve or a row of a table stands for.

    Attributes:
        label: for a reader.
        results: of all its seeds, as one results.json.
        sources: where the routing of each seed lies.
        members: the results that were joined.
    """

    label: str
    results: dict[str, Any]
    sources: tuple[Source, ...]
    members: tuple[dict[str, Any], ...]

    @property
    def fields(self) -> dict[str, Any]:
        """The configuration by dotted name, without what has no effect on a mean over seeds."""
        return _fields(self.results)


def lines_of_runs(runs: Sequence[Trained]) -> list[Line]:
    """Runs in the order they were named, joined where they differ only in their seed."""
    return [_line(group, _joined_names(group)) for group in _groups(runs)]


def lines_of_sweep(name: str, trained: Sequence[Trained]) -> list[Line]:
    """The settings of a sweep, in the order of the grid."""
    groups = _groups(trained)
    fields = [_fields(group[0].results) for group in groups]
    differing = differing_fields(fields)
    labels = [
        settings_label(tuple((field, own.get(field)) for field in differing)) for own in fields
    ]
    return [_line(group, f"{name}: {label}") for group, label in zip(groups, labels, strict=True)]


def differing_fields(configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields of which not all configurations have the same value, in their order."""
    names = dict.fromkeys(name for fields in configurations for name in fields)
    first = configurations[0]
    return [
        name
        for name in names
        if any(fields.get(name, ...) != first.get(name, ...) for fields in configurations)
    ]


def mean_and_error(
    line: Line, quantity: Callable[[Mapping[str, Any]], float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """A quantity of the curves: its steps [i], its mean over seeds, and the error of that mean.

    Args:
        line: the line.
        quantity: of an entry of a curve.

    Returns:
        The error is None for a single seed. Steps that not all seeds have are left out.
    """
    curves = [{entry["step"]: quantity(entry) for entry in c} for c in line.results["curve"]]
    steps = sorted(set.intersection(*map(set, curves)))
    values = np.array([[curve[step] for step in steps] for curve in curves], float)
    if len(curves) == 1:
        return np.array(steps), values[0], None
    errors = [standard_error(column) for column in values.T.tolist()]
    return np.array(steps), values.mean(axis=0), np.array(errors)


def _groups(trained: Sequence[Trained]) -> list[list[Trained]]:
    """Each group holds a seed once: the same seed again is another line."""
    groups: list[list[Trained]] = []
    for one in trained:
        group = next((group for group in groups if _belongs(one, group)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def _belongs(one: Trained, group: Sequence[Trained]) -> bool:
    first = group[0].results
    seeds = {seed for member in group for seed in member.results["seeds"]}
    joined = any(len(results["seeds"]) > 1 for results in (first, one.results))
    return (
        not joined  # what was joined before, stands by itself
        and not differences(first, one.results)
        and list(one.results["test"]) == list(first["test"])
        and seeds.isdisjoint(one.results["seeds"])
    )


def _line(group: Sequence[Trained], label: str) -> Line:
    members = tuple(one.results for one in group)
    results = members[0] if len(members) == 1 else merge(members)
    return Line(label, results, tuple(s for one in group for s in one.sources), members)


def _fields(results: Mapping[str, Any]) -> dict[str, Any]:
    fields = flatten(results["config"])
    return {name: value for name, value in fields.items() if name not in _NO_FIELDS}


def _joined_names(group: Sequence[Trained]) -> str:
    names = [one.name for one in group]
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: _MOST_NAMES - 1])} and {len(names) - _MOST_NAMES + 1} more"
