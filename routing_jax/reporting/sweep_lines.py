"""Which lines a figure of a sweep has: the numbers swept, and the settings besides them."""

from collections.abc import Sequence
from typing import Any

from routing_jax.reporting.sweep_summary import Row

Settings = tuple[tuple[str, Any], ...]


def swept_numbers(rows: Sequence[Row]) -> list[str]:
    """The fields, besides the seed, of which a sweep has several numbers."""
    return [field for field in rows[0].settings if _is_swept_number(rows, field)]


def apart(rows: Sequence[Row], field: str | None) -> dict[Settings, list[Row]]:
    """The rows by all of their settings but one, in the order of the grid."""
    groups: dict[Settings, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.cells[0]["index"]):
        others = tuple(item for item in row.settings.items() if item[0] != field)
        groups.setdefault(others, []).append(row)
    return groups


def settings_label(settings: Settings) -> str:
    """Such as "router.agent = single, model.depth = 2"; "all cells" where nothing is set."""
    return ", ".join(f"{field} = {value}" for field, value in settings) or "all cells"


_FAR = 30
"""How many times the least the largest number is where a linear axis crowds the small ones."""


def spans_far(values: Sequence[float]) -> bool:
    """Whether positive numbers reach so far apart that an axis of them is better logarithmic."""
    return min(values) > 0 and max(values) >= _FAR * min(values)


def _is_swept_number(rows: Sequence[Row], field: str) -> bool:
    values = {row.settings[field] for row in rows}
    return len(values) > 1 and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
