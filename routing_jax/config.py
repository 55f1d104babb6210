"""The configuration: its defaults, the checks, and the messages they give.

The fields themselves stand in `config_fields.FIELDS`. Importing this module imports no JAX.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from routing_jax.config_clashes import CLASHES
from routing_jax.config_fields import FIELDS
from routing_jax.errors import ConfigError


def base_config() -> ml_collections.ConfigDict:
    """A new configuration with every field at its default."""
    config = ml_collections.ConfigDict()
    for name, field in FIELDS.items():
        group, leaf = _holder(config, name)
        if field.rule.none_means:
            # A plain field would forget its type as soon as it holds None.
            group[leaf] = config_dict.placeholder(field.rule.kind)
        group[leaf] = field.default
    return config


def from_values(values: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """The base configuration with the (nested) values given; absent fields keep their default.

    The result is locked: fields can be changed, none can be added.

    Raises:
        ConfigError: There are unknown fields, or values of the wrong type.
    """
    given = dict(_flatten(values))
    _raise_if_any([*_unknown_fields(given), *_wrong_kinds(given)])
    config = base_config()
    for name, value in given.items():
        group, leaf = _holder(config, name)
        group[leaf] = value
    return config.lock()


def validate(config: ml_collections.ConfigDict) -> None:
    """Checks the whole configuration.

    Raises:
        ConfigError: With one line for every unknown or missing field, wrong value and clash.
    """
    validate_values(flatten(config))


def validate_values(values: Mapping[str, Any]) -> None:
    """`validate` for the values of a configuration by dotted name."""
    wrong = {name for name, value in values.items() if not _accepts(name, value)}
    missing = [name for name in FIELDS if name not in values]
    _raise_if_any(
        [
            *_unknown_fields(values),
            *(f"{name} is missing: start from routing_jax.base_config()" for name in missing),
            *(_wrong_value(name, values[name]) for name in FIELDS if name in wrong),
            *_clashes(values, settled=values.keys() - wrong),
        ]
    )


def resolve_length(config: ml_collections.ConfigDict, named: Collection[str]) -> None:
    """Clears training.steps where training.epochs was named by the user, and the other way round.

    Args:
        config: Changed in place.
        named: Dotted names of the fields that the user set, for example on the command line.

    Raises:
        ConfigError: Both were named.
    """
    pair = ("training.epochs", "training.steps")
    if all(name in named for name in pair):
        raise ConfigError(
            "training.epochs and training.steps both set the length of training: name only one."
        )
    for name, other in (pair, pair[::-1]):
        if name in named:
            group, leaf = _holder(config, other)
            group[leaf] = None


def flatten(config: ml_collections.ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """The values of a configuration by dotted name, in the order of `FIELDS` where known."""
    order = {name: index for index, name in enumerate(FIELDS)}
    pairs = _flatten(config if isinstance(config, Mapping) else config.to_dict())
    return dict(sorted(pairs, key=lambda pair: order.get(pair[0], len(order))))


def nearest_fields(name: str) -> list[str]:
    """The dotted names of the fields that an unknown name was probably meant to be."""
    leaf = name.rpartition(".")[2]
    same_leaf = [field for field in FIELDS if field.rpartition(".")[2] == leaf]
    inside = [field for field in FIELDS if field.startswith(f"{name}.")]
    return inside or same_leaf or difflib.get_close_matches(name, FIELDS, n=1)


def unknown_field_message(name: str, prefix: str = "") -> str:
    """Says that a field does not exist, and which one was probably meant."""
    near = " or ".join(prefix + field for field in nearest_fields(name))
    hint = f"did you mean {near}?" if near else "launch.py --help lists the fields."
    return f"{prefix}{name}: there is no such field; {hint}"


def _holder(config: ml_collections.ConfigDict, name: str) -> tuple[ml_collections.ConfigDict, str]:
    """The group that holds a field, made where there is none yet, and the field's own name."""
    group, _, leaf = name.rpartition(".")
    if not group:
        return config, leaf
    if group not in config:
        config[group] = ml_collections.ConfigDict()
    return config[group], leaf


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _accepts(name: str, value: Any) -> bool:
    return name not in FIELDS or FIELDS[name].rule.accepts(value)


def _unknown_fields(values: Mapping[str, Any]) -> list[str]:
    return [unknown_field_message(name) for name in values if name not in FIELDS]


def _wrong_kinds(values: Mapping[str, Any]) -> list[str]:
    known = {name: value for name, value in values.items() if name in FIELDS}
    return [
        _wrong_value(name, value)
        for name, value in known.items()
        if not FIELDS[name].rule.has_right_kind(value)
    ]


def _wrong_value(name: str, value: Any) -> str:
    field = FIELDS[name]
    allowed, default = field.rule.allowed_in_full, field.default
    return f"{name} = {value!r} is not allowed: set it to {allowed} (default {default!r})"


def _clashes(values: Mapping[str, Any], settled: Collection[str]) -> Iterator[str]:
    """The clashes between fields that are all right in themselves."""
    for clash in CLASHES:
        if not all(name in settled for name in clash.fields):
            continue
        given = [values[name] for name in clash.fields]
        if clash.happens(*given):
            pairs = [f"{name} = {value!r}" for name, value in zip(clash.fields, given, strict=True)]
            yield f"{' and '.join(pairs)} clash: {clash.remedy}"


def _raise_if_any(problems: list[str]) -> None:
    if problems:
        places = "1 place" if len(problems) == 1 else f"{len(problems)} places"
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise ConfigError(f"The configuration is wrong in {places}:{lines}")
