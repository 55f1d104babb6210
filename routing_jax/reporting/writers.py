"""Metrics as they arise: a JSON line for each record, and the same scalars for TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tensorboardX import SummaryWriter

from routing_jax.files import to_json, write_text
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
        self._lines = workdir.metrics_path.open("a", encoding="utf-8")
        self._events = _open_events(workdir.tensorboard_dir, resume_step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Logs one record; metrics.jsonl is flushed, TensorBoard by and by.

        Args:
            step: training steps done.
            record: numbers, and lists or arrays of numbers, by name. Numbers that are not finite
                become null in metrics.jsonl and gaps in TensorBoard, where entry i of a list is
                called `name/i`.
        """
        line = to_json({"step": step, **record})
        self._lines.write(line + "\n")
        self._lines.flush()
        for name, value in json.loads(line).items():
            if name != "step":
                self._show(name, value, step)

    def flush(self) -> None:
        """Brings everything written so far to disk."""
        self._lines.flush()
        self._events.flush()

    def close(self) -> None:
        """Flushes and closes both logs."""
        self._lines.close()
        self._events.close()

    def _show(self, name: str, value: Any, step: int) -> None:
        if isinstance(value, list):
            for i, entry in enumerate(value):
                self._show(f"{name}/{i}", entry, step)
        elif isinstance(value, int | float):
            self._events.add_scalar(name, value, step)


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


def _open_events(folder: Path, resume_step: int | None) -> SummaryWriter:
    if resume_step is None:
        return SummaryWriter(str(folder))
    # The suffix keeps a resumed run from overwriting events written in the same second.
    suffix = f".after-{resume_step}"
    return SummaryWriter(str(folder), purge_step=resume_step + 1, filename_suffix=suffix)


def _remove_events(folder: Path) -> None:
    for path in folder.glob("events.out.tfevents.*"):
        path.unlink()
