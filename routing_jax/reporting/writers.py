"""Metrics as they arise: a JSON line for each record, and the same scalars for TensorBoard."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from routing_jax.files import naming, to_json, write_text
from routing_jax.reporting.events import EventsFile
from routing_jax.workdir import Workdir


class MetricsWriter:
    """Writes the records of one run; a context manager."""

    def __init__(self, workdir: Workdir, *, resume_step: int | None) -> None:
        """Opens both logs.

        Args:
            workdir: the run's work directory.
            resume_step: the step of the checkpoint that training goes on from: what an interrupted
                run logged after it is dropped. None starts both logs afresh.
        """
        if resume_step is None:
            _remove_events(workdir.tensorboard_dir)
        _keep_records(workdir.metrics_path, resume_step)
        self._path = workdir.metrics_path
        self._lines = self._path.open("a", encoding="utf-8")
        self._events = EventsFile(workdir.tensorboard_dir, resume_step=resume_step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What cannot be written now is not what went wrong first.
        with contextlib.nullcontext() if error is None else contextlib.suppress(OSError):
            self.close()

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Logs one record; both logs hand it to the system at once.

        Args:
            step: training steps done.
            record: numbers, and lists or arrays of numbers, by name. Numbers that are not finite
                become null in metrics.jsonl and gaps in TensorBoard, where entry i of a list is
                called `name/i`.

        Raises:
            OSError: a log cannot be written; the error names it.
        """
        line = to_json({"step": step, **record})
        with naming(self._path):
            self._lines.write(line + "\n")
            self._lines.flush()
        scalars = dict(_scalars(json.loads(line)))
        scalars.pop("step")
        self._events.write(step, scalars)

    def close(self) -> None:
        """Closes both logs."""
        with contextlib.closing(self._events), naming(self._path):
            self._lines.close()


class NoWriter:
    """Stands where a `MetricsWriter` would, in a process that leaves writing to another one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Logs nothing."""


def read_records(path: Path) -> list[dict[str, Any]]:
    """The whole records of a metrics.jsonl, in order; a torn last line is left out.

    Raises:
        json.JSONDecodeError: a line other than an unfinished last one is not JSON.
    """
    return [json.loads(line) for line in _whole_lines(path)]


def _whole_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def _keep_records(path: Path, last_step: int | None) -> None:
    """Rewrites the file with its whole records up to `last_step`, with none if that is None."""
    kept = []
    if last_step is not None and path.exists():
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= last_step]
    write_text(path, "".join(kept))


def _scalars(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers among the values; those of a list get its name and their place in it."""
    for name, value in values.items():
        if isinstance(value, list):
            yield from _scalars({f"{name}/{i}": entry for i, entry in enumerate(value)})
        elif value is not None:
            yield name, value


def _remove_events(folder: Path) -> None:
    for path in folder.glob("events.out.tfevents.*"):
        path.unlink()
