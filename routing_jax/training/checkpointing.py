"""Checkpoints of a run, written by Orbax."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp

from routing_jax.errors import UserError
from routing_jax.training.pace import Elapsed
from routing_jax.training.state import TrainState

_KEPT = 2
"""Checkpoints kept: the newest, and the one before in case the newest is damaged."""


class Checkpoints:
    """The checkpoints below a directory; each appears whole or not at all.

    Saving waits until everything is written: the state's buffers are donated to the next segment
    and must not be read behind its back.
    """

    def __init__(self, directory: Path, *, dataset: str) -> None:
        """Opens the directory, creating it if need be.

        Args:
          directory: of the checkpoints.
          dataset: name of the data set the run really uses; a checkpoint of another one is refused.
        """
        self._dataset = dataset
        options = ocp.CheckpointManagerOptions(
            max_to_keep=_KEPT, create=False, enable_async_checkpointing=False
        )
        directory.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(directory.resolve(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self._manager.close()

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, elapsed: Elapsed) -> None:
        """Saves a state; one that is already saved at this step is left as it is."""
        step = int(state.step)
        if step == self.latest_step():
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            origin=ocp.args.JsonSave({"dataset": self._dataset, "elapsed": elapsed._asdict()}),
        )
        self._manager.save(step, args=items)

    def restore(self, like: TrainState) -> tuple[TrainState, Elapsed]:
        """Restores the newest checkpoint.

        Args:
          like: a state of the same shapes and types, real or of `jax.ShapeDtypeStruct`.

        Raises:
          UserError: there is no checkpoint, it is of another data set, or it cannot be restored.
        """
        step = self.latest_step()
        if step is None:
            raise UserError(
                f"There is no checkpoint in {self._manager.directory}: nothing was saved yet. "
                "Run --mode=train first, or name another --workdir."
            )
        origin = self._manager.restore(
            step, args=ocp.args.Composite(origin=ocp.args.JsonRestore())
        ).origin
        if origin["dataset"] != self._dataset:
            raise UserError(
                f"The run in {self._manager.directory.parent} was trained on {origin['dataset']}, "
                f"but the data found now is {self._dataset}. Name the directory of "
                f"{origin['dataset']} with --config.data.dir, or choose another --workdir."
            )
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), like
        )
        items = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        try:
            restored = self._manager.restore(step, args=items)
        except Exception as error:  # Orbax raises whatever its storage layers raise
            raise UserError(
                f"The checkpoint of step {step} in {self._manager.directory} cannot be restored "
                f"({type(error).__name__}: {error}). Delete its folder to fall back to an older "
                "one, or start again with --overwrite."
            ) from error
        return restored.state, Elapsed(**origin["elapsed"])
