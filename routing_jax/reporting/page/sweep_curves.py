"""What a sweep reached against each number that it swept."""

from collections.abc import Sequence

import numpy as np

from routing_jax.reporting.formats import averaged, scale
from routing_jax.reporting.page.collect import FoundSweep
from routing_jax.reporting.page.figures import Figure, line_figure, line_traces
from routing_jax.reporting.sweep_lines import (
    apart,
    settings_label,
    spans_far,
    swept_numbers,
)
from routing_jax.reporting.sweep_summary import Row, summarise

_EXPLAINED = "Line: mean over seeds; band: standard error of the mean."


def sweep_figures(sweep: FoundSweep) -> list[Figure]:
    """Each metric against each swept number; none where no number was swept."""
    rows = [row for row in summarise(sweep.cells) if row.means]
    return [
        _against(sweep, rows, field, metric)
        for field in swept_numbers(rows)
        for metric in rows[0].means
    ]


def _against(sweep: FoundSweep, rows: Sequence[Row], field: str, metric: str) -> Figure:
    """One line for each setting of the other fields."""
    factor, unit = scale(metric)
    words = metric.replace("_", " ")
    traces = []
    for index, (others, line) in enumerate(apart(rows, field).items()):
        line = sorted(line, key=lambda row: row.settings[field])
        values = np.array([row.settings[field] for row in line], float)
        mean = factor * np.array([row.means[metric] for row in line])
        error = factor * np.array([row.errors[metric] or 0.0 for row in line])
        traces += line_traces(settings_label(others), values, mean, error, index=index, marks=True)
    far = spans_far([row.settings[field] for row in rows])
    evaluated_on = sweep.trained[0].results["dataset"]["evaluated_on"]
    failed = sum(cell["results"] is None for cell in sweep.cells)
    return line_figure(
        f"{sweep.name}: {words} against {field}",
        x=field,
        y=f"{evaluated_on} {words} ({unit}{averaged(sweep.trained[0].results)})",
        traces=traces,
        note=f"{_EXPLAINED} {failed} cells failed." if failed else _EXPLAINED,
        **({"xaxis": {"type": "log"}} if far else {}),
    )
