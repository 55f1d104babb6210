"""Writes the tables of results into the documents, or checks that they are what the results say.

python -m routing_jax.reporting.tables [--check | --commands]

A document asks for a table with a line `<!-- table: name -->`, which the table follows, up to
`<!-- end of table -->`. The tables and their rows are listed in results/tables.toml; a row that
has no results yet reads `not run`. Others quote single numbers of results files; see `quoted`. What
they quote has to exist, but for the results that a row or a table of trials will have.
"""

import argparse
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from routing_jax.errors import UserError, told
from routing_jax.files import write_text
from routing_jax.reporting.formats import higher_is_better
from routing_jax.reporting.quoted import Quoted, quoted_files, quoted_text
from routing_jax.reporting.study import (
    Estimate,
    Row,
    Study,
    at_epoch,
    cosines,
    estimate,
    mean_multiply_adds,
    number_on,
    paired,
    read_row,
    read_studies,
    steps_to_share,
    tested,
)
from routing_jax.reporting.tuning import Tuning, tuning_text

DOCUMENTS = ("README.md", "BUILD_NOTES.md")
ROWS = Path("results/tables.toml")
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_MISSING = "not run"


def table_text(study: Study | Tuning | Quoted, directory: Path) -> str:
    """A table in Markdown, its caption in front.

    Args:
        study: the table.
        directory: of the results files.

    Raises:
        UserError: a results file is cut off or holds something else.
    """
    if isinstance(study, Tuning):
        return tuning_text(study, directory)
    if isinstance(study, Quoted):
        return quoted_text(study, directory)
    found = {row.name: read_row(directory, row) for row in study.rows}
    reference = found.get(study.reference)
    lines = [_header(study)]
    lines += [_cells(study, row, found[row.name], reference, directory) for row in study.rows]
    ruler = ["---"] * len(lines[0])
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], ruler, *lines[1:]))
    return f"\n{study.caption}\n\n{body}\n\n"


def filled(text: str, studies: Mapping[str, Study | Tuning | Quoted], directory: Path) -> str:
    """A document with its tables as the results have them now.

    Raises:
        UserError: it asks for a table that is not listed.
    """

    def fill(place: re.Match[str]) -> str:
        opening, name, closing = place.groups()
        if name not in studies:
            raise UserError(f"there is no table {name!r}; {ROWS} has: {', '.join(studies)}")
        return opening + table_text(studies[name], directory) + closing

    return _PLACE.sub(fill, text)


def _header(study: Study) -> list[str]:
    names = ["method", "seeds", *(f"epoch {epoch}" for epoch in study.epochs)]
    names += [metric.replace("_", " ") for metric in study.metrics]
    names += [f"{study.reference} minus it"] if study.reference else []
    names += ["blocks on", "million multiply-adds"] if study.allocation else []
    names += ["cosine inside", "cosine across"] if study.families else []
    names += ["steps to 90 % of its end", "parameters", *(["that train"] if study.trained else [])]
    return [*names, "minutes", "paper", "from"]


def _cells(
    study: Study,
    row: Row,
    results: Mapping[str, Any] | None,
    reference: Mapping[str, Any] | None,
    directory: Path,
) -> list[str]:
    """One line of a table."""
    paper = "; ".join(
        f"{value:g} at {epoch}" if epoch else f"{value:g}" for epoch, value in row.paper.items()
    )
    paper = f"{paper} ({row.tag})" if paper else ""
    if results is None:
        return [row.name, _MISSING, *[""] * (len(_header(study)) - 4), paper, ""]
    metric = next(iter(results["test"]))
    cells = [row.name, str(len(results["seeds"]))]
    cells += [_value(metric, at_epoch(results, metric, epoch)) for epoch in study.epochs]
    cells += [_value(name, estimate(tested(results, name, study.task))) for name in study.metrics]
    if study.reference:
        own = row.name == study.reference
        cells += ["" if own or reference is None else _difference(study, reference, results)]
    if study.allocation:
        cells += [_plain(number_on(results), 1), _plain(mean_multiply_adds(results), 3, of=1e6)]
    if study.families:
        alike = cosines(results, study.families)
        cells += ["", ""] if alike is None else [_plain(value, 2) for value in alike]
    of_all = higher_is_better(metric) and not study.task  # curves are means over tasks
    steps = steps_to_share(results, metric) if of_all else None
    cells += ["" if steps is None else f"{steps.mean:,.0f}", f"{results['parameters']:,}"]
    cells += [f"{results['trained_parameters']:,}"] if study.trained else []
    link = f"[{row.results}]({directory.as_posix()}/{row.results})"
    return [*cells, f"{results['seconds']['total'] / 60:.1f}", paper, link]


def _difference(study: Study, reference: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    metric = next(iter(results["test"]))
    found = paired(reference, results, metric, study.task)
    if found is None:
        return "no common seed"
    difference, seeds = found
    return f"{_value(metric, difference, sign='+')} ({seeds})"


def _value(metric: str, value: Estimate | None, *, sign: str = "") -> str:
    """A number with its error: accuracies in percent, what else is measured as it is."""
    if value is None:
        return ""
    of, digits = (0.01, 2) if higher_is_better(metric) else (1, 4)
    return _plain(value, digits, of=of, sign=sign)


def _plain(value: Estimate | None, digits: int, *, of: float = 1, sign: str = "") -> str:
    """A number with its error, so many digits of it, in units of `of`."""
    if value is None:
        return ""
    mean = f"{value.mean / of:{sign}.{digits}f}"
    return mean if value.error is None else f"{mean} ± {value.error / of:.{digits}f}"


def _write(root: Path, *, check: bool) -> int:
    """Fills all documents; with `check` says which would change instead. The exit code."""
    studies, status = read_studies(root / ROWS), 0
    documents = {name: (root / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    asked = {place[2] for text in documents.values() for place in _PLACE.finditer(text)}
    if unasked := [name for name in studies if name not in asked]:
        raise UserError(
            f"{ROWS} has tables that neither {' nor '.join(DOCUMENTS)} asks for: "
            f"{', '.join(unasked)}; add their places there or take them out."
        )
    _require_known(studies.values(), root / ROWS.parent)
    for name, old in documents.items():
        new = filled(old, studies, ROWS.parent)
        if new == old:
            continue
        if check:
            print(f"{name}: its tables are not what results/ says; run this without --check.")
            status = 1
        else:
            write_text(root / name, new)
            print(f"{name}: tables written")
    return status


def _require_known(studies: Collection[Study | Tuning | Quoted], directory: Path) -> None:
    """Raises UserError where a cell quotes a file that neither exists nor is written by a row."""
    quoted = {
        name for table in studies if isinstance(table, Quoted) for name in quoted_files(table)
    }
    rows = {row.results for study in studies if isinstance(study, Study) for row in study.rows}
    rows |= {study.trials for study in studies if isinstance(study, Tuning)}
    if unknown := sorted(name for name in quoted - rows if not (directory / name).exists()):
        raise UserError(
            f"{ROWS} quotes what is not in {ROWS.parent} and is written by none of its rows: "
            f"{', '.join(unknown)}; mend the names."
        )


@told
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line from the root of the repository; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="change nothing; 1 if something would")
    what.add_argument("--commands", action="store_true", help="print the commands of each row")
    options = parser.parse_args(arguments)
    if not options.commands:
        return _write(Path(), check=options.check)
    for study in read_studies(ROWS).values():
        for row in study.rows if isinstance(study, Study) else ():
            print(f"{study.name}: {row.name}", *row.commands, sep="\n    ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
