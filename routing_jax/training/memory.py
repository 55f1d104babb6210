"""Whether a run can fit into memory, told from shapes before anything is computed."""

import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections

from routing_jax.config_components import num_blocks
from routing_jax.errors import UserError
from routing_jax.mesh import BLOCK, DATA
from routing_jax.models.factory import make_model
from routing_jax.reporting.formats import mebibytes
from routing_jax.training import processes, streamed
from routing_jax.training.loop import Run, abstract_state

_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where Linux tells a container its limit, in either version of control groups."""


class Needed(NamedTuple):
    """Bytes that training holds at once; what it really takes is more, never less."""

    data: int
    """Images and tasks of both splits; of images that are streamed, what is held at once."""
    state: int
    """Parameters, what the optimizers and the router remember, routing snapshots."""
    gradients: int = 0
    """One number for each parameter."""
    activations: int = 0
    """A batch, and the outputs of its routed layers, which the backward pass needs."""


def require_memory(run: Run) -> None:
    """Refuses a run that cannot fit.

    Raises:
      UserError: it needs more memory than is available.
    """
    available = available_bytes()
    if available is None:
        return
    # First at a glance: a network of absurd size takes minutes even to be described.
    for look in (glance, estimate):
        needed = look(run)
        if sum(needed) > available:
            raise UserError(_refusal(needed, available))


def glance(run: Run) -> Needed:
    """What the data, and of the state policies and biases alone need: told without a model."""
    config, tasks = run.program.config, run.tasks.num_tasks
    model, blocks = config.model, num_blocks(config.model, tasks)
    agents = _agents(config.router, tasks)
    if model.name != "routing_network" or config.router.policy == "fixed":
        blocks, agents = 1, 0  # no policy, and fixed routes may share all their blocks
    hidden_banks = model.depth - 1 if model.bank == "per_depth" else 0
    own_blocks = blocks / run.mesh.shape[BLOCK]
    numbers = int(blocks * agents * model.depth + own_blocks * hidden_banks * model.width)
    return Needed(data=_data(run), state=4 * numbers)


def _agents(router: ml_collections.ConfigDict, tasks: int) -> int:
    if router.agent == "dispatched":
        return router.num_agents or tasks
    return 1 if router.agent == "single" else tasks


def estimate(run: Run) -> Needed:
    """What a run needs at least, on each device."""
    state = abstract_state(run)
    return Needed(
        data=_data(run),
        state=_bytes_of_device(state),
        gradients=_bytes_of_device(state.params),
        activations=_activations(run) // run.mesh.shape[DATA],
    )


def _refusal(needed: Needed, available: int) -> str:
    parts = [f"{name} {mebibytes(size)}" for name, size in needed._asdict().items() if size]
    return (
        f"The run needs at least {mebibytes(sum(needed))} of memory ({', '.join(parts)}), but only "
        f"{mebibytes(available)} are available: lower model.width, model.depth, model.num_blocks, "
        "training.examples_per_task or reward.usage_window."
    )


def available_bytes() -> int | None:
    """Memory that the device has left; None where nobody tells."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return _host_bytes()
    stats = device.memory_stats() or {}
    limit = stats.get("bytes_limit")
    return None if limit is None else limit - stats.get("bytes_in_use", 0)


def _activations(run: Run) -> int:
    config, shape = run.program.config, run.program.shape
    model = make_model(config, shape, block_noise=0.0)
    images = run.examples_per_task if config.data.share_images else run.task_examples
    features = sum(model.banks[bank].blocks[0].features for bank in model.bank_of_depth)
    numbers = images * math.prod(shape.image) + run.task_examples * features
    return numbers * jnp.dtype(config.model.dtype).itemsize


def _data(run: Run) -> int:
    splits = (run.tasks.train, run.tasks.watched)
    if not streamed.is_streamed(run.tasks.train):
        return _bytes(splits)
    chunk = math.prod(streamed.chunk_shape(run)) // run.mesh.shape[DATA]
    return streamed.CHUNKS_HELD * chunk + _bytes([data._replace(images=None) for data in splits])


def _bytes(tree: object) -> int:
    leaves = jax.tree.leaves(tree)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _bytes_of_device(tree: object) -> int:
    """Of arrays that are split over devices, what each device holds."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def room() -> int | None:
    """Memory for a data set, which is read on the host and held on a device.

    The least of all processes: where its images are, in memory or not, is the same for all.
    """
    left = [value for value in (available_bytes(), _host_bytes()) if value is not None]
    return processes.smallest(min(left)) if left else None


def _host_bytes() -> int | None:
    left = [_meminfo(), *map(_container_limit, _CONTAINER_LIMITS)]
    return min((value for value in left if value is not None), default=None)


def _meminfo() -> int | None:
    """What Linux says it could still give out."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kibibytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kibibytes[0] * 1024 if kibibytes else None


def _container_limit(path: Path) -> int | None:
    """The whole limit: what is used of it counts caches too, which would make way."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no container, or one without a limit
        return None
