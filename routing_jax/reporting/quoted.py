"""Tables whose cells quote single numbers of results files.

A cell is text with places in braces, `{file:path:form}`::

    {mnist_mtl.json:test.accuracy:%}          99.79 ± 0.01 %
    {mnist_mtl.json:seconds.total:.0f}        76
    {mnist_mtl.json:seconds.per_step:.1f of 0.001}     24.8
    {mnist_mtl.json:per_seed.seconds.total.largest:.0f}     88
    {step_cost.json[name=routed;settings.width=64]:ratio:range}     2.65 (2.31 to 2.90)

The file is below the directory of the results, and the path goes down its dictionaries; in a list
it goes on in every entry, and `largest` is the largest of them. A file of several lines, as
benchmarks write them, is asked for the one line that says what the brackets do. One of Python's
forms for a number may name its unit: `.1f of 1000` writes milliseconds as seconds.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routing_jax.errors import UserError

_PLACE = re.compile(r"\{([\w.-]+)(?:\[([^\]]*)\])?:([\w.-]+):([^{}]+)\}")
_MISSING = "not run"


@dataclass(frozen=True)
class Quoted:
    """A table of quotations.

    Attributes:
        columns: what stands above them.
        cells: the lines, a text for each column.
        caption: says what the table shows; "" where the document does.
    """

    columns: Sequence[str]
    cells: Sequence[Sequence[str]]
    caption: str = ""

    def __post_init__(self) -> None:
        for line in self.cells:
            if len(line) != len(self.columns):
                raise ValueError(f"{len(self.columns)} columns, and {len(line)} cells in {line}")


def quoted_files(table: Quoted) -> set[str]:
    """The names of the results files that a table asks."""
    return {place[1] for line in table.cells for text in line for place in _PLACE.finditer(text)}


def quoted_text(table: Quoted, directory: Path) -> str:
    """The table in Markdown; what a file that does not exist would say reads `not run`.

    Args:
        table: the table.
        directory: of the results files.

    Raises:
        UserError: a file is cut off, or does not say what is asked.
    """

    def cell(text: str) -> str:
        said = _PLACE.sub(lambda place: _quotation(directory, *place.groups()), text)
        if "{" in said or "}" in said:
            raise UserError(
                f"a cell reads {text!r}, and braces hold {{file:path:form}} or "
                "{file[key=value]:path:form}; mend it in results/tables.toml."
            )
        return said

    lines = [table.columns, ["---"] * len(table.columns)]
    lines += [[cell(text) for text in line] for line in table.cells]
    caption = f"{table.caption}\n\n" if table.caption else ""
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"\n{caption}{body}\n\n"


def _quotation(directory: Path, name: str, which: str | None, path: str, form: str) -> str:
    file = directory / name
    if not file.exists():
        return _MISSING
    value = _one(file, which or "")
    for key in path.split("."):
        try:
            value = _below(value, key)
        except (KeyError, TypeError):
            known = ", ".join(value) if isinstance(value, Mapping) else repr(value)
            raise UserError(f"{file} has no {path}: there is no {key!r} among {known}.") from None
    try:
        return _FORMS[form](value) if form in _FORMS else _number(value, form)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"{file}: {path} cannot be written as {form!r} ({error}); forms: "
            f"{', '.join(_FORMS)}, or one of Python's for a number."
        ) from None


def _one(file: Path, which: str) -> Any:
    """The contents of a file, or of the one line of it that says `which`."""
    try:
        entries = [json.loads(line) for line in _documents(file.read_text(encoding="utf-8"))]
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is cut off or not JSON ({error})") from None
    asked = [part.partition("=")[::2] for part in which.split(";") if part]
    found = [entry for entry in entries if all(_says(entry, *item) for item in asked)]
    if len(found) != 1:
        raise UserError(
            f"{file}[{which}]: {len(found)} of {len(entries)} entries say so, not one; name what "
            "sets one apart, in results/tables.toml."
        )
    return found[0]


def _documents(text: str) -> list[str]:
    """A JSON document of several lines, or one in each line."""
    return [text] if text.startswith("{\n") else text.splitlines()


def _says(entry: Any, path: str, wanted: str) -> bool:
    for key in path.split("."):
        entry = entry.get(key) if isinstance(entry, Mapping) else None
    return str(entry) == wanted


def _below(value: Any, key: str) -> Any:
    """What a dictionary has for a key; of a list what its entries have, or the largest of them."""
    if isinstance(value, list):
        return max(value) if key == "largest" else [_below(entry, key) for entry in value]
    return value[key]


def _number(value: Any, form: str) -> str:
    """A number in one of Python's forms, and in a unit if the form names one."""
    spec, _, unit = form.partition(" of ")
    number = _middle(value)
    return format(number / float(unit) if unit else number, spec)


def _middle(value: Any) -> float:
    """A number, or the mean or median of a measured one."""
    if isinstance(value, Mapping):
        return value["mean"] if "mean" in value else value["median"]
    return value


def _percent(value: Any) -> str:
    error = value.get("stderr") if isinstance(value, Mapping) else None
    mean = f"{100 * _middle(value):.2f}"
    return f"{mean} %" if error is None else f"{mean} ± {100 * error:.2f} %"


def _range(value: Mapping[str, float]) -> str:
    return f"{value['median']:.2f} ({value['min']:.2f} to {value['max']:.2f})"


_FORMS: dict[str, Callable[[Any], str]] = {
    "%": _percent,
    "range": _range,
    "KiB": lambda value: f"{_middle(value) / 2**10:.0f} KiB",
    "GiB": lambda value: f"{_middle(value) / 2**30:.1f} GiB",
}
"""Percent of a fraction, with its standard error if it has one; a median with the smallest and the
largest; bytes."""
