"""Work directories of finished runs that nothing was trained for: networks of random numbers."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from routing_jax import files
from routing_jax.data.task_set import TaskSet
from routing_jax.training import loop
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.pace import Elapsed
from routing_jax.training.run import make_run
from routing_jax.training.state import TrainState
from routing_jax.workdir import Workdir


def some_network(config: ConfigDict, tasks: TaskSet) -> TrainState:
    """A state whose numbers are all unlike each other; nothing is compiled for it."""
    rng = np.random.default_rng(0)

    def drawn(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        numbers = rng.uniform(0.1, 0.4, leaf.shape)  # as integers they are zeros
        return jnp.asarray(numbers.astype(leaf.dtype))

    return jax.tree.map(drawn, loop.abstract_state(make_run(config, tasks)))


def save_as_finished(
    workdir: Path, config: ConfigDict, tasks: TaskSet, state: TrainState | None = None
) -> None:
    """Writes what another run needs to start from this one."""
    place, total = Workdir(workdir), make_run(config, tasks).schedule.total
    place.claim(config)
    state = some_network(config, tasks) if state is None else state
    with Checkpoints(place.checkpoint_dir, dataset=tasks.name) as checkpoints:
        checkpoints.save(state._replace(step=np.int32(total)), Elapsed())
    about = {"experiment": config.experiment, "dataset": {"name": tasks.name}}
    files.write_json(place.results_path, about | {"tasks": list(tasks.task_names)})
