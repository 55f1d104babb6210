"""What `--mode=report` asks for, checked. Imports no NumPy, so that errors come at once."""

import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from routing_jax.errors import UserError

FLAGS = ("mode", "workdir", "output")
"""The flags of a report; the others are of runs."""
PACKAGES = {"plotly": "plotly", "jinja2": "Jinja2"}
"""What a page needs besides, by the name it is imported with."""


@dataclasses.dataclass(frozen=True)
class Request:
    """A page to write.

    Attributes:
        workdirs: Of the runs and sweeps, as they were named.
        output: The page.
    """

    workdirs: tuple[Path, ...]
    output: Path


def read_request(settings: flags.FlagValues, rest: Sequence[str]) -> Request:
    """The page that a command line asks for.

    Args:
        settings: The flags.
        rest: The arguments that are none of them.

    Raises:
        UserError: Directories are missing or named wrongly, or something else is asked for too.
    """
    others = [f"--{name}" for name in settings if settings[name].present and name not in FLAGS]
    if others or rest:
        raise UserError(
            f"{[*others, *rest][0]} with --mode=report: a report shows what runs have written and "
            f"takes only {', '.join(f'--{name}' for name in FLAGS)}."
        )
    workdirs = _workdirs(settings.workdir)
    if settings.output == "":
        raise UserError("--output is empty; name a file.")
    output = settings.output or workdirs[0] / "report.html"
    return Request(workdirs, Path(output).expanduser())


def require_packages() -> None:
    """Raises UserError where a page cannot be made."""
    for module, package in PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            raise UserError(
                f"--mode=report needs the package {package}, which is not installed: "
                "pip install -c constraints.txt -e '.[report]'."
            )


def _workdirs(named: str | None) -> tuple[Path, ...]:
    if named is None:
        raise UserError(
            "--mode=report needs --workdir: the directories of runs and sweeps, with commas "
            "between them."
        )
    names = [name.strip() for name in named.split(",")]
    if not all(names):
        where = "a name between its commas is empty" if any(names) else "it is empty"
        raise UserError(f"--workdir={named}: {where}; name directories.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"--workdir names {twice} twice.")
    return tuple(Path(name).expanduser() for name in names)
