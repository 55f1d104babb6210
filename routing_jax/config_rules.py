"""What a field may hold, a type and a condition with their words; and what excludes what."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

_KIND_NAMES = {
    bool: "true or false",
    float: "a number",
    int: "an integer",
    str: "text",
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """The values that are allowed in a field.

    Attributes:
        kind: Type of the value: bool, int, float or str.
        allowed: The allowed values, in words that follow "set it to".
        holds: Whether a finite value of the right type is allowed.
        none_means: What None stands for; empty where None is not allowed.
    """

    kind: type
    allowed: str
    holds: Callable[[Any], bool] = lambda value: True
    none_means: str = ""

    @property
    def kind_name(self) -> str:
        """The type in words, such as "an integer"."""
        return _KIND_NAMES[self.kind]

    @property
    def allowed_in_full(self) -> str:
        """The allowed values in words, None included."""
        return f"{self.allowed}, or None for {self.none_means}" if self.none_means else self.allowed

    def has_right_kind(self, value: Any) -> bool:
        """Whether the value has the type of the field; a whole number passes for a float."""
        if value is None:
            return bool(self.none_means)
        if isinstance(value, bool):
            return self.kind is bool
        return isinstance(value, (int, float) if self.kind is float else self.kind)

    def accepts(self, value: Any) -> bool:
        """Whether the value is allowed; NaN and infinities never are."""
        if value is None or not self.has_right_kind(value):
            return self.has_right_kind(value)
        if isinstance(value, float) and not math.isfinite(value):
            return False
        return self.holds(value)


@dataclasses.dataclass(frozen=True)
class Field:
    """One configuration field: its default, the values it may hold, and what it means."""

    default: Any
    rule: Rule
    meaning: str


@dataclasses.dataclass(frozen=True)
class Clash:
    """Values that exclude each other.

    Attributes:
        fields: Dotted names.
        happens: Takes the values of `fields`, in their order.
        remedy: What to change.
    """

    fields: tuple[str, ...]
    happens: Callable[..., bool]
    remedy: str


def one_of(names: Sequence[str]) -> Rule:
    """One of the names that exist."""
    return Rule(str, f"one of: {', '.join(names)}", lambda value: value in names)


def some_of(names: Sequence[str], *words: str) -> Rule:
    """Some of the names that exist, each once, or one of the words that stand for a choice."""

    def are_names(value: str) -> bool:
        found = value.split(",")
        return set(found) <= set(names) and len(set(found)) == len(found)

    return Rule(
        str,
        f"{', '.join(words)}, or some of {', '.join(names)}, such as {','.join(names[:2])}",
        lambda value: value in words or are_names(value),
    )


def or_none(rule: Rule, meaning: str) -> Rule:
    """The rule, with None allowed as well and standing for `meaning`."""
    return dataclasses.replace(rule, none_means=meaning)


ANY_TEXT = Rule(str, "text")
FLAG = Rule(bool, "true or false")
COUNT = Rule(int, "an integer >= 1", lambda value: value >= 1)
PAIRS = Rule(int, "an integer in [1, 100]", lambda value: 1 <= value <= 100)
SIDE = Rule(int, "an integer >= 0", lambda value: value >= 0)
SEED = Rule(int, "an integer in [0, 2**32)", lambda value: 0 <= value < 2**32)
POSITIVE = Rule(float, "a number > 0", lambda value: value > 0)
NON_NEGATIVE = Rule(float, "a number >= 0", lambda value: value >= 0)
UNIT = Rule(float, "a number in [0, 1]", lambda value: 0 <= value <= 1)
UNIT_INSIDE = Rule(float, "a number in (0, 1)", lambda value: 0 < value < 1)
BELOW_HALF = Rule(float, "a number in [0, 0.5)", lambda value: 0 <= value < 0.5)
UNIT_BELOW_ONE = Rule(float, "a number in [0, 1)", lambda value: 0 <= value < 1)
UNIT_ABOVE_ZERO = Rule(float, "a number in (0, 1]", lambda value: 0 < value <= 1)
