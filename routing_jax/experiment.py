"""Experiment files: Python files whose `get_config` returns a configuration. Imports no JAX."""

import runpy
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from routing_jax import config as config_lib
from routing_jax.errors import ConfigError, UserError


def load_config(source: str, directory: Path) -> ml_collections.ConfigDict:
    """The configuration of an experiment, locked; its values are not checked yet.

    ml_collections' own flag for configuration files would hide an error of the file in a printed
    traceback, and put it off until the configuration is used.

    Args:
        source: `path/of/file.py`, or `path/of/file.py:argument` to call `get_config(argument)`.
        directory: Where the experiments are that the error message offers.

    Raises:
        UserError: There is no such file, or its code fails.
        ConfigError: It returns unknown fields or values of the wrong type.
    """
    path, colon, argument = source.partition(":")
    if not Path(path).is_file():
        raise UserError(f"--config={path}: there is no such file; {offer(directory)}")
    try:
        config = _get_config(path, (argument,) if colon else ())
    except Exception as error:
        # Whatever the file raises is about the file: it is told, without a traceback of ours.
        raise UserError(f"--config={source}: {_explain(error, path)}") from error
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(f"--config={source}: get_config returns {config!r}, not a ConfigDict.")
    try:
        return config_lib.from_values(config.to_dict())
    except ConfigError as error:
        raise ConfigError(f"--config={source}: {error}") from error


def offer(directory: Path) -> str:
    """Names the experiment files of a directory, for a message or the help."""
    names = sorted(str(path) for path in directory.glob("*.py"))
    return f"the experiments are: {', '.join(names)}" if names else f"{directory}/ has none."


def choose(
    config: ml_collections.ConfigDict,
    arg: str,
    choices: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> None:
    """Changes a configuration by an experiment's argument, for the `get_config` of its file.

    Args:
        config: Changed in place.
        arg: A list such as "route=conv,baseline=cross_stitch", in any order.
        choices: By name and value, the fields that a choice changes. The only value "" makes it a
            word that stands alone, such as "digits". Where two choices change the same field, that
            of the later name in `choices` wins.

    Raises:
        ValueError: There is no such choice.
    """
    chosen = [choice.partition("=")[::2] for choice in arg.split(",") if choice]
    for name, value in chosen:
        if value not in choices.get(name, {}):
            allowed = "; ".join(
                f"{key}={'|'.join(found)}" if any(found) else key for key, found in choices.items()
            )
            told = f"{name}={value}" if value else name
            raise ValueError(f"there is no argument {told!r}; those that exist: {allowed}.")
    names = list(choices)
    for name, value in sorted(chosen, key=lambda pair: names.index(pair[0])):
        config.update_from_flattened_dict(choices[name][value])


def _get_config(path: str, arguments: tuple[str, ...]) -> Any:
    module = runpy.run_path(path)
    if "get_config" not in module:
        raise ValueError("the file defines no get_config.")
    return module["get_config"](*arguments)


def _explain(error: Exception, path: str) -> str:
    """The error in one line; a ValueError is the file's own message and stands as it is."""
    if isinstance(error, ValueError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    place = f" in line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{place}: {error}"
