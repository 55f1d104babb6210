"""The axes of a sweep, as the user writes them: "rho=0,0.3 seed=0:8". Imports no JAX."""

import dataclasses
import difflib
import itertools
from collections.abc import Sequence
from typing import Any

from routing_jax import config as config_lib
from routing_jax.config_fields import FIELDS
from routing_jax.errors import UserError

SHORT_NAMES = {"rho": "reward.rho", "seed": "training.seed"}
"""Fields that may be named bare in a sweep."""

MOST_CELLS = 1_000_000
_TOO_MANY = f"there are more than {MOST_CELLS:,} cells; sweep fewer values."


@dataclasses.dataclass(frozen=True)
class Axis:
    """One swept field and its values."""

    field: str
    values: tuple[Any, ...]


def parse_axes(texts: Sequence[str]) -> list[Axis]:
    """Reads axes; a text may hold several, separated by spaces.

    Raises:
        UserError: One cannot be read, or two are of the same field.
    """
    axes = [parse_axis(part) for text in texts for part in _parts(text)]
    fields = [axis.field for axis in axes]
    twice = sorted({field for field in fields if fields.count(field) > 1})
    if twice:
        raise UserError(f"--sweep: {', '.join(twice)} is swept twice; join its values.")
    return axes


def parse_axis(text: str) -> Axis:
    """Reads one `field=value,value,...`, or `field=start:stop[:step]` for an integer field.

    Raises:
        UserError: The field does not exist, there are no values, or one is of the wrong type.
    """
    name, equals, values = text.partition("=")
    field = SHORT_NAMES.get(name, name)
    if field not in FIELDS:
        raise UserError(f"--sweep={text}: {_unknown_field(name)}")
    if field == "sweep":
        raise UserError(f"--sweep={text}: a sweep cannot be swept; name each axis with --sweep.")
    if not equals or not values.strip(","):
        raise UserError(f"--sweep={text}: there are no values; write --sweep={name}=VALUE,VALUE.")
    found = _read(field, values)
    if found is None:
        kind = FIELDS[field].rule.kind_name
        raise UserError(f"--sweep={text}: every value must be {kind}{_range_hint(field)}.")
    if len(set(found)) < len(found):
        raise UserError(f"--sweep={text}: a value comes twice; name each once.")
    return Axis(field, tuple(found))


def merged(texts: Sequence[str], onto: str) -> str:
    """The axes of an experiment with those of the command line in place of them, by field.

    Args:
        texts: Of the command line, each one or more axes.
        onto: The experiment's field `sweep`.

    Raises:
        UserError: An axis cannot be read.
    """
    if not all(text.strip() for text in texts):
        raise UserError("--sweep=: there is no axis; write --sweep=FIELD=VALUE,VALUE.")
    newer = [part for text in texts for part in _parts(text)]
    named = {axis.field for axis in parse_axes(newer)}
    older = [part for part in _parts(onto) if parse_axis(part).field not in named]
    return " ".join([*older, *newer])


def short_name(field: str) -> str:
    """A field by its bare name where a sweep allows it."""
    return next((short for short, full in SHORT_NAMES.items() if full == field), field)


def _parts(text: str) -> list[str]:
    """The single axes of a text; spaces around commas and equals signs separate nothing."""
    for sign in ",=":
        text = sign.join(part.strip() for part in text.split(sign))
    parts = text.split()
    for axis, behind in itertools.pairwise(parts):
        if axis.startswith("router.routes=") and "=" not in behind:
            raise UserError(
                f"--sweep={axis} {behind}: a table of routes holds spaces, which separate axes, "
                "and cannot be swept; start a run for each table."
            )
    return parts


def _unknown_field(name: str) -> str:
    near = difflib.get_close_matches(name, SHORT_NAMES, n=1)
    if near:
        return f"{name}: there is no such field; did you mean {near[0]}?"
    return config_lib.unknown_field_message(name)


def _read(field: str, text: str) -> list[Any] | None:
    """The values, or None where one is of the wrong type."""
    kind = FIELDS[field].rule.kind
    try:
        if kind is int and ":" in text:
            return _range(field, text)
        return [_value(field, part) for part in text.split(",")]
    except (ValueError, KeyError, TypeError):
        return None


def _range(field: str, text: str) -> list[int] | None:
    values = range(*(int(part) for part in text.split(":")))
    if values[MOST_CELLS:]:  # before they are written out
        raise UserError(f"--sweep={short_name(field)}={text}: {_TOO_MANY}")
    return list(values) or None


def _value(field: str, text: str) -> Any:
    rule = FIELDS[field].rule
    if text == "None" and rule.none_means:
        return None
    return _READERS[rule.kind](text)


_READERS = {
    bool: lambda text: {"true": True, "false": False}[text.lower()],
    int: int,
    float: float,
    str: str,
}


def _range_hint(field: str) -> str:
    return ", or start:stop with start < stop" if FIELDS[field].rule.kind is int else ""
