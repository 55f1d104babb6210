"""Draws what the methods of a table reach against how many parameters each of them trains.

python -m routing_jax.reporting.parameters_figure transfer.png compositional_transfer_50
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from routing_jax.errors import UserError, told
from routing_jax.reporting.figure_style import LINE_COLOURS, new_figure, save, tidy
from routing_jax.reporting.formats import scale
from routing_jax.reporting.study import Estimate, Study, estimate, read_row, read_studies, tested
from routing_jax.reporting.tables import ROWS


def points(study: Study, found: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, Estimate]]:
    """By method how many parameters train, and the first metric over seeds.

    Args:
      study: the table.
      found: the results of those of its methods that were run, by name.
    """
    return {
        name: (
            results["trained_parameters"],
            estimate(tested(results, next(iter(results["test"])), study.task)),
        )
        for name, results in found.items()
    }


def draw(study: Study, directory: Path, path: Path) -> Path:
    """Draws a point for each method, with the standard error over seeds; returns the path.

    Args:
      study: the table.
      directory: of the results files.
      path: of the PNG.

    Raises:
      UserError: no method of the table was run, or a results file is cut off.
    """
    rows = {row.name: read_row(directory, row) for row in study.rows}
    found = {name: results for name, results in rows.items() if results is not None}
    if not found:
        raise UserError(f"no method of {study.name} was run: {directory} has no file of its rows.")
    first = next(iter(found.values()))
    metric = next(iter(first["test"]))
    factor, unit = scale(metric)
    where = f" of {study.task}" if study.task else ""
    about = f"Test {metric.replace('_', ' ')}{where} by parameters that train"
    figure = new_figure(first, about=about, width=8.0, height=5.0)
    axes = figure.subplots()
    for place, (name, (trained, value)) in enumerate(points(study, found).items()):
        axes.errorbar(
            trained,
            factor * value.mean,
            None if value.error is None else factor * value.error,
            fmt="o",
            capsize=3,
            color=LINE_COLOURS[place % len(LINE_COLOURS)],
            label=name,
        )
    axes.set_xscale("symlog", linthresh=1)  # some methods train nothing
    axes.set_xlabel("parameters that train")
    axes.set_ylabel(f"{unit}mean and standard error over seeds")
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return save(figure, path)


@told
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("table", help=f"name of a table of {ROWS}")
    options = parser.parse_args(arguments)
    studies = read_studies(ROWS)
    names = [name for name, study in studies.items() if isinstance(study, Study)]
    if options.table not in names:
        raise UserError(f"there is no table {options.table!r}; {ROWS} has: {', '.join(names)}")
    drawn = draw(studies[options.table], ROWS.parent, options.picture)
    print(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
