"""Checkpoints of a run: arrays by Orbax, everything else as JSON.

Loading one executes nothing it holds: Orbax reads numbers into arrays whose tree, shapes and types
this program names itself, and JSON has no code. Nothing here is ever pickled.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import unflatten_dict

from routing_jax.errors import RunError, UserError
from routing_jax.reporting.provenance import program_version
from routing_jax.training import processes
from routing_jax.training.manifest import (
    DamagedError,
    read_manifest,
    told_version,
    write_manifest,
)
from routing_jax.training.pace import Elapsed
from routing_jax.training.state import TrainState, by_path
from routing_jax.training.streamed import Position

_KEPT = 2
"""Checkpoints kept: the newest, and the one before in case the newest is damaged."""
_OTHER_TREE = "tree structures do not match"
"""In what Orbax says where the arrays are those of another kind of state."""
_UNFINISHED = "unfinished"
"""Below it checkpoints are written, and removed: under their own names they are always whole."""


class Restored(NamedTuple):
    """What a checkpoint held."""

    state: TrainState
    elapsed: Elapsed
    step: int
    damaged: tuple[str, ...]
    """A line for each newer checkpoint that could not be used."""
    position: Position | None
    """Where the reading of streamed images was."""


class Checkpoints:
    """The checkpoints below a directory; each appears whole or not at all.

    A copy of the state is written while training goes on; several processes write it together, each
    what its devices hold, and training waits. As a context manager it waits at the end of the block
    for what is being written.

    Args:
      directory: of the checkpoints; nothing is created before the first is saved.
      dataset: name of the data set the run really uses; a checkpoint of another one is refused.
    """

    def __init__(self, directory: Path, *, dataset: str) -> None:
        self._directory = directory.absolute()
        self._dataset = dataset
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None
        self._saved: int | None = None  # newest step restored, or saved by several processes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # What cannot be written now is not what went wrong first.
        with contextlib.nullcontext() if error is None else contextlib.suppress(RunError):
            self.finish()

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, or None; it may be damaged."""
        return max(self._steps(), default=None)

    def save(self, state: TrainState, elapsed: Elapsed, position: Position | None = None) -> None:
        """Begins to save a state; one that is already saved at this step is left as it is.

        Where images are streamed, `position` tells where their reading is.

        Raises:
          RunError: the checkpoint before cannot be written; the older ones stay as they are.
        """
        self.finish()
        step = int(state.step)
        # Several processes may see a new folder at different times: they do not look.
        if step == (self._saved if processes.several() else self.latest_step()):
            return
        if processes.several():
            self._write(step, state, elapsed, position)
            self._saved = step
            return
        # The state's buffers are donated to the next segment: nothing may look at them any more.
        copy = jax.tree.map(np.array, jax.device_get(state))
        self._writing = self._writer.submit(self._write, step, copy, elapsed, position)

    def check(self) -> None:
        """Raises the RunError of the checkpoint being written, if it has failed by now."""
        if self._writing is not None and self._writing.done():
            self.finish()

    def finish(self) -> None:
        """Waits for the checkpoint being written, if there is one.

        Raises:
          RunError: it cannot be written; the older ones stay as they are.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def restore(self, like: TrainState) -> Restored:
        """Restores the newest checkpoint that is whole.

        Args:
          like: a state of the same shapes and types, real or of `jax.ShapeDtypeStruct`, lying
            where the restored one is to lie. It may have been saved from any other devices.

        Raises:
          UserError: there is no checkpoint, none is whole, or it is of another data set or network.
        """
        damaged = []
        for step in reversed(self._steps()):
            try:
                content = read_manifest(self._directory / str(step))
                self._require_same(content, like, step)
                state = self._read(step, like, content)
            except DamagedError as error:
                damaged.append(f"The checkpoint of step {step:,} is damaged ({error}).")
                continue
            self._saved = step
            position = content.get("input")
            return Restored(
                state,
                Elapsed(**content["elapsed"]),
                step,
                tuple(damaged),
                Position(**position) if position else None,
            )
        if damaged:
            raise UserError(
                f"There is no whole checkpoint in {self._directory}. {' '.join(damaged)} "
                "Start again with --overwrite, or choose another --workdir."
            )
        raise UserError(
            f"There is no checkpoint in {self._directory}: nothing was saved yet. "
            "Run --mode=train first, or name another --workdir."
        )

    def read_network(self) -> dict[str, np.ndarray]:
        """The parameters and running averages that the run is judged by, as far as it has come.

        Returns:
          The arrays of the newest checkpoint that is whole by path, such as "params.router.policy".
          Whether they suit a network is for the caller to find out.

        Raises:
          UserError: there is no checkpoint, or none is whole.
        """
        for step in reversed(self._steps()):
            try:
                content = read_manifest(self._directory / str(step))
                return self._read_arrays(step, judged_names(content["arrays"]))
            except DamagedError:
                continue
        raise UserError(f"There is no whole checkpoint in {self._directory}.")

    def remove_after(self, step: int) -> None:
        """Removes the checkpoints behind `step`."""
        for newer in self._steps():
            if newer > step:
                self._remove(newer)

    def remove_unfinished(self) -> None:
        """Removes what a killed run was writing or removing; only for the one that trains."""
        shutil.rmtree(self._directory / _UNFINISHED, ignore_errors=True)

    def _steps(self) -> list[int]:
        if not self._directory.is_dir():
            return []
        names = [path.name for path in self._directory.iterdir()]
        return sorted(int(name) for name in names if re.fullmatch("[0-9]+", name))

    def _write(
        self, step: int, state: TrainState, elapsed: Elapsed, position: Position | None
    ) -> None:
        """Runs in the writing thread, one at a time; of several processes in the main one."""
        try:
            self._add(step, state, elapsed, position)
            if processes.is_first():
                for old in self._steps()[:-_KEPT]:
                    self._remove(old)
        except Exception as error:  # Orbax raises whatever its storage layers raise
            self.remove_unfinished()
            raise RunError(
                f"The checkpoint of step {step:,} cannot be written to {self._directory}: "
                f"{_reason(error)}. {self._last()}"
            ) from error

    def _add(
        self, step: int, state: TrainState, elapsed: Elapsed, position: Position | None
    ) -> None:
        folder = self._directory / _UNFINISHED / str(step)
        if processes.is_first():
            self.remove_unfinished()
            folder.mkdir(parents=True)
        processes.wait_for_all("made room for a checkpoint")
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            checkpointer.save(folder / "state", args=ocp.args.StandardSave(state))
        if processes.is_first():
            content = {
                "dataset": self._dataset,
                "version": program_version(),
                "elapsed": elapsed._asdict(),
                "arrays": _shapes(state),
                "input": position and position._asdict(),
            }
            write_manifest(folder, content)
            folder.rename(self._directory / str(step))
            self.remove_unfinished()
        processes.wait_for_all("saved a checkpoint")

    def _read(self, step: int, like: TrainState, content: dict[str, Any]) -> TrainState:
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), like
        )
        try:
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
                return checkpointer.restore(
                    self._directory / str(step) / "state", args=ocp.args.StandardRestore(target)
                )
        except Exception as error:  # Orbax raises whatever its storage layers raise
            if _OTHER_TREE in str(error):  # the same arrays, but not in the same state
                raise self._other_network(step, content, []) from error
            raise DamagedError(_reason(error)) from error

    def _read_arrays(self, step: int, places: dict[str, str]) -> dict[str, np.ndarray]:
        """Some arrays by name, given the names under which the state has them."""
        as_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
        wanted = unflatten_dict({tuple(place.split(".")): as_numpy for place in places.values()})
        request = ocp.args.PyTreeRestore(
            item=jax.tree.map(lambda _: 0, wanted), restore_args=wanted, partial_restore=True
        )
        try:
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
                found = checkpointer.restore(self._directory / str(step) / "state", args=request)
        except Exception as error:  # Orbax raises whatever its storage layers raise
            raise DamagedError(_reason(error)) from error
        arrays = by_path(found)
        return {name: arrays[place] for name, place in places.items()}

    def _remove(self, step: int) -> None:
        unfinished = self._directory / _UNFINISHED
        unfinished.mkdir(exist_ok=True)
        (self._directory / str(step)).rename(unfinished / f"removed-{step}")
        self.remove_unfinished()

    def _require_same(self, content: dict[str, Any], like: TrainState, step: int) -> None:
        if content["dataset"] != self._dataset:
            raise UserError(
                f"The run in {self._directory.parent} was trained on {content['dataset']}, "
                f"but the data found now is {self._dataset}. Name the directory of "
                f"{content['dataset']} with --config.data.dir, or choose another --workdir."
            )
        saved, now = content["arrays"], _shapes(like)
        differing = [name for name in saved | now if saved.get(name) != now.get(name)]
        if differing:
            lines = [
                f"\n  {name}: {saved.get(name, 'nothing')} there, {now.get(name, 'nothing')} now"
                for name in differing
            ]
            raise self._other_network(step, content, lines)

    def _other_network(self, step: int, content: dict[str, Any], lines: list[str]) -> UserError:
        """The error of a checkpoint that does not fit, with the differences if they are known."""
        remedy = (
            "Use the program and the configuration it was trained with, choose another --workdir, "
            "or start again with --overwrite."
        )
        told = [line for line in (told_version(content.get("version")), remedy) if line]
        what = "network:" if lines else "version of the program, which kept other things in it."
        return UserError(
            f"The checkpoint of step {step:,} in {self._directory} is of another {what}"
            f"{''.join(lines)}\n{' '.join(told)}"
        )

    def _last(self) -> str:
        last = self.latest_step()
        if last is None:
            return "Nothing was saved before; the same command starts again."
        return f"The same command resumes from the last whole one, of step {last:,}."


def _shapes(state: TrainState) -> dict[str, str]:
    """The arrays of a state by path, such as "params.router.policy": "float32[10,3,10]"."""
    return {name: told_shape(leaf) for name, leaf in by_path(state).items()}


def told_shape(leaf: np.ndarray | jax.Array | jax.ShapeDtypeStruct) -> str:
    """Type and shape of an array, such as "float32[10,3,10]"."""
    return jax.core.ShapedArray(leaf.shape, leaf.dtype).str_short()


def judged_names(names: Iterable[str]) -> dict[str, str]:
    """The names of a network's arrays, and under which of a state's names they are saved."""
    best = any(name.startswith("best.") for name in names)
    places = {
        name.removeprefix("best."): name for name in names if name.startswith("best.") == best
    }
    return {
        name: place
        for name, place in places.items()
        if name.startswith(("params.", "batch_stats."))
    }


def _reason(error: Exception) -> str:
    """The system's word for what went wrong, else the first line of the message."""
    told = re.search("os_error_code='([0-9]+)'", str(error))
    if told:
        return os.strerror(int(told[1]))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
