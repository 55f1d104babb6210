"""The work directory of a run: the names of its files, and who may write them."""

import contextlib
import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_collections

from routing_jax import config as config_lib
from routing_jax import files, lock
from routing_jax.errors import ConfigError, UserError
from routing_jax.training.manifest import newest_version, told_version

# A run may be resumed or evaluated with other values of these.
FIELDS_WITHOUT_EFFECT = ("data.dir", "data.cache_dir", "training.checkpoint_every")

_WAY_OUT = (
    "Nothing was changed. Choose another --workdir, or train anew in this one with --overwrite."
)


@dataclasses.dataclass(frozen=True)
class Workdir:
    """A directory that holds one run."""

    path: Path

    @property
    def config_path(self) -> Path:
        """The resolved configuration, JSON."""
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        """Metrics over training, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard_dir(self) -> Path:
        """TensorBoard event files."""
        return self.path / "tensorboard"

    @property
    def checkpoint_dir(self) -> Path:
        """Orbax checkpoints."""
        return self.path / "checkpoints"

    @property
    def results_path(self) -> Path:
        """What the run measured, JSON."""
        return self.path / "results.json"

    @property
    def routing_path(self) -> Path:
        """Routing probabilities over training, NumPy."""
        return self.path / "routing.npz"

    @property
    def figures_dir(self) -> Path:
        """Figures, PNG."""
        return self.path / "figures"

    @property
    def plan_path(self) -> Path:
        """Which programs train the cells of a sweep, JSON."""
        return self.path / "plan.json"

    @property
    def programs_dir(self) -> Path:
        """A folder for each program of a sweep, itself like the work directory of a run."""
        return self.path / "programs"

    @property
    def jobs_dir(self) -> Path:
        """What submitted jobs print, and what submitit keeps of them."""
        return self.path / "jobs"

    @property
    def sweep_path(self) -> Path:
        """What a sweep measured, JSON."""
        return self.path / "sweep.json"

    @property
    def sweep_table_path(self) -> Path:
        """The same over seeds, as a table of plain text."""
        return self.path / "sweep.txt"

    @property
    def export_dir(self) -> Path:
        """A folder for each network that was exported."""
        return self.path / "export"

    @property
    def lock_path(self) -> Path:
        """There while a process trains; holds its number."""
        return self.path / ".lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from training in the directory, which is made if need be.

        Raises:
            UserError: Another one trains there, or the directory cannot be written.
        """
        with contextlib.ExitStack() as stack:
            with self._told():
                self._make()
                stack.enter_context(lock.held(self.lock_path))
            yield

    def claim(self, config: ml_collections.ConfigDict, *, overwrite: bool = False) -> None:
        """Makes the directory that of a run with this configuration.

        An unused directory gets the configuration; one with a run of the same configuration stays
        as it is, for the run to be resumed.

        Args:
            config: The validated configuration of the run.
            overwrite: Whether to remove the files of an earlier run first. Nothing else in the
                directory is touched.

        Raises:
            UserError: The directory holds a run of another configuration, or cannot be written.
        """
        with self._told():
            self._make()
            if overwrite:
                self._remove_run()
            elif self._has_run():
                self._require_same(config, remedy=_WAY_OUT)
                self._remove_leftovers()
                return
            files.write_json(self.config_path, config.to_dict())

    def verify(self, config: ml_collections.ConfigDict) -> None:
        """Checks that the directory holds a run of this configuration.

        Raises:
            UserError: It holds none, or one of another configuration.
        """
        self._require_same(config, remedy="Without --config the run's own configuration is used.")

    def require_finished(self, named: str) -> None:
        """Checks that the directory holds a finished run, for another one to start from it.

        Args:
            named: How the user named it, for the message, such as "--from=runs/a".

        Raises:
            UserError: It holds none, a sweep, or one that is not finished.
        """
        end = "train it to its end first, by the same command that began it."
        if not self.config_path.exists():
            raise UserError(
                f"{named} holds no run: there is no {self.config_path}. Name the work directory of "
                "a finished run."
            )
        if self.sweep_path.exists() or self.programs_dir.exists():
            raise UserError(f"{named} holds a sweep: name the work directory of a single run.")
        if not any(path.name.isdecimal() for path in self.checkpoint_dir.glob("*")):
            raise UserError(f"{named} holds a run that has saved nothing yet: {end}")
        if not self.results_path.exists():
            raise UserError(f"{named} holds a run that is not finished: {end}")

    def read_config(self, *, remedy: str = _WAY_OUT) -> ml_collections.ConfigDict:
        """The configuration of the run in this directory, locked.

        Args:
            remedy: What to do where it cannot be read.

        Raises:
            UserError: There is no run, or its configuration cannot be read.
        """
        try:
            text = self.config_path.read_text(encoding="utf-8")
            return config_lib.from_values(_json_object(text))
        except FileNotFoundError:
            raise UserError(
                f"--workdir={self.path} holds no run: there is no {self.config_path}."
            ) from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, ConfigError) as error:
            saved_by = told_version(newest_version(self.checkpoint_dir))
            told = "".join(f"\n{line}" for line in (saved_by, remedy) if line)
            raise UserError(f"{self.config_path} cannot be read: {_reason(error)}{told}") from error

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FileExistsError as error:
            raise UserError(f"--workdir={self.path} is a file; name a directory.") from error
        except OSError as error:
            raise UserError(f"--workdir={self.path} cannot be used: {_reason(error)}.") from error

    def _make(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if not os.access(self.path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _require_same(self, config: ml_collections.ConfigDict, *, remedy: str) -> None:
        differences = _differences(self.read_config(), config)
        if differences:
            lines = "".join(f"\n  {line}" for line in differences)
            raise UserError(
                f"--workdir={self.path} holds a run of another configuration:{lines}\n{remedy}"
            )

    def _has_run(self) -> bool:
        if self.config_path.exists():
            return True
        present = [path.name for path in self._files_of_run() if path.exists()]
        if present:
            raise UserError(
                f"--workdir={self.path} holds {', '.join(present)} but no config.json, so it is "
                f"not known which run they are of.\n{_WAY_OUT}"
            )
        return False

    def _files_of_run(self) -> list[Path]:
        return [
            self.metrics_path,
            self.tensorboard_dir,
            self.checkpoint_dir,
            self.results_path,
            self.routing_path,
            self.figures_dir,
            self.plan_path,
            self.programs_dir,
            self.jobs_dir,
            self.sweep_path,
            self.sweep_table_path,
            self.export_dir,
        ]

    def _remove_leftovers(self) -> None:
        """Removes the unfinished files of a killed run."""
        files.remove_passing(self.path)
        files.remove_passing(self.figures_dir)

    def _remove_run(self) -> None:
        self._remove_leftovers()
        # First, so that a half-removed run is never taken for a whole one of this configuration.
        self.config_path.unlink(missing_ok=True)
        for path in self._files_of_run():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ConfigError("it holds no JSON object")
    return value


def _differences(old: ml_collections.ConfigDict, new: ml_collections.ConfigDict) -> list[str]:
    """One line for each field whose value decides about results and is not the same."""
    old_values, new_values = config_lib.flatten(old), config_lib.flatten(new)
    return [
        f"{name}: {old_values[name]!r} there, {new_values[name]!r} now"
        for name in new_values
        if name not in FIELDS_WITHOUT_EFFECT and old_values[name] != new_values[name]
    ]


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
