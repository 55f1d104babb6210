"""The network of a run as it is judged, out of its work directory."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from routing_jax.cli import Command
from routing_jax.data import loading
from routing_jax.data.loading import TaskSet
from routing_jax.export.network import CutNetwork, cut_network
from routing_jax.export.written import Exported, export_network
from routing_jax.models.network import MultiTaskNetwork
from routing_jax.training import loop
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.memory import room
from routing_jax.training.run import make_run
from routing_jax.training.state import judged
from routing_jax.training.step import variables_of
from routing_jax.types import Params
from routing_jax.workdir import Workdir


class Trained(NamedTuple):
    """A run's network as it is judged: as it was saved last, or at its best step."""

    model: MultiTaskNetwork
    variables: dict[str, Params]
    tasks: TaskSet
    step: int

    @property
    def classes(self) -> tuple[int, ...]:
        """The number of outputs of each task."""
        classes, count = self.tasks.test.classes, self.tasks.num_tasks
        return (self.tasks.num_classes,) * count if classes is None else tuple(classes.tolist())

    @property
    def num_parameters(self) -> int:
        """Trained numbers of the full network, its router included."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"]))

    def cut(self, task: int | None) -> CutNetwork:
        """The network of one task, or of all without the blocks that none uses."""
        return cut_network(self.model, self.variables, task, classes=self.classes)

    def export(self, network: CutNetwork) -> Exported:
        """A network that was cut out, as it is written: for inputs like the test images."""
        images = self.tasks.test.images
        return export_network(network, jax.ShapeDtypeStruct(images.shape[1:], images.dtype))


def restore(command: Command, say: Callable[[str], None]) -> Trained:
    """The network that a command names.

    Args:
      command: checked; its work directory holds the run.
      say: is told what takes time, and of checkpoints that are damaged.

    Raises:
      UserError: nothing was saved there, or it does not fit the configuration.
    """
    tasks = loading.load(command.config.data, say=say, room=room())
    return _restored(command.config, tasks, command.workdir, say)


def read(workdir: str | Path, tasks: TaskSet, *, say: Callable[[str], None] = print) -> Trained:
    """The network of a run as it was saved last, for the tasks that it was trained on.

    Such as those of one's own that `rj.train` took.

    Args:
      workdir: of the run.
      tasks: those that it was trained on.
      say: is told of checkpoints that are damaged.

    Raises:
      UserError: there is no run, nothing was saved, or it does not fit the tasks.
    """
    found = Workdir(Path(workdir))
    found.require_finished(f"workdir = {workdir}")
    return _restored(found.read_config(), tasks, found, say)


def _restored(
    config: ConfigDict, tasks: TaskSet, workdir: Workdir, say: Callable[[str], None]
) -> Trained:
    planned = make_run(config, tasks)
    checkpoints = Checkpoints(workdir.checkpoint_dir, dataset=tasks.name)
    restored = checkpoints.restore(loop.abstract_state(planned))
    state, step = restored.state, restored.step
    for line in restored.damaged:
        say(line)
    if state.best is not None:
        step = int(state.best.step)
    return Trained(planned.program.model(planned.hyper), variables_of(judged(state)), tasks, step)
