"""Where the arrays of a run lie on a mesh: rules by path, and putting them there.

Banks, and what the optimizer keeps of them, are split over K; batches over n (`mesh`); the states
of sweep cells over S. Everything else, the data set included, is whole on every device.
"""

import math
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from routing_jax.devices import Devices
from routing_jax.errors import UserError
from routing_jax.mesh import BLOCK, DATA, SWEEP, make_mesh, one_device
from routing_jax.models.factory import DataShape, make_model

Rules = Sequence[tuple[str, P]]
"""(pattern of the whole path, such as `params.banks_0.blocks.Dense_0.kernel`, its axes); the first
that fits counts."""

_POLICY = r".*\b(policy|critic)\b.*"
"""Networks of agents are banks too, but small ones."""
_BANK = r".*\bbanks_\d+\.blocks\..*"

WHOLE: Rules = ((".*", P()),)
STATE: Rules = ((_POLICY, P()), (_BANK, P(BLOCK)), *WHOLE)
CELLS: Rules = (("step", P()), (_POLICY, P(SWEEP)), (_BANK, P(SWEEP, BLOCK)), (".*", P(SWEEP)))
"""Of all that has a leading S axis."""


def mesh_for(devices: Devices) -> Mesh:
    """The mesh that a command asks for.

    Raises:
      UserError: its axes do not multiply to the devices that there are.
    """
    sizes, there = devices.mesh, jax.device_count()
    if sizes is None:
        return make_mesh({DATA: there}) if jax.process_count() > 1 else one_device()
    wanted = math.prod(sizes.values())
    if wanted != there:
        product = " x ".join(map(str, sizes.values()))
        of = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
        raise UserError(
            f"--mesh={','.join(f'{axis}:{size}' for axis, size in sizes.items())}: {product} = "
            f"{wanted} devices, but there are {there}{of}: name sizes that multiply to {there}."
        )
    return make_mesh(sizes)


def require_even(config: ConfigDict, shape: DataShape, mesh: Mesh) -> None:
    """Raises UserError where a batch or a bank cannot be split evenly over the mesh."""
    examples, devices = config.training.examples_per_task, mesh.shape[DATA]
    if examples % devices:
        raise UserError(
            f"--mesh={DATA}:{devices} and training.examples_per_task = {examples} clash: a batch "
            f"is split evenly; set training.examples_per_task to a multiple of {devices}."
        )
    devices = mesh.shape[BLOCK]
    if devices == 1:
        return
    if config.model.block == "components":  # groups of alike ones, each with a K of its own
        raise UserError(
            f"--mesh={BLOCK}:{devices} and model.block = components clash: unlike blocks are not "
            f"split; name a mesh without {BLOCK}."
        )
    for bank in make_model(config, shape, block_noise=0.0).banks:
        if bank.num_blocks % devices:
            raise UserError(
                f"--mesh={BLOCK}:{devices} and a bank of {bank.num_blocks} blocks clash: a bank is "
                f"split evenly; set model.num_blocks (now {config.model.num_blocks}) to a multiple "
                f"of {devices}, or name another mesh."
            )


def shardings(tree: object, mesh: Mesh, rules: Rules) -> object:
    """The sharding of each array of a tree."""

    def of_path(path: tuple[object, ...], _: object) -> NamedSharding:
        name = path_name(path)
        return NamedSharding(mesh, next(s for pattern, s in rules if re.fullmatch(pattern, name)))

    return jax.tree_util.tree_map_with_path(of_path, tree)


def path_name(path: tuple[object, ...]) -> str:
    """The path of an array in a tree, such as "params.router.policy"."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def described(tree: object, mesh: Mesh, rules: Rules) -> object:
    """Shapes, types and shardings of a tree of arrays or `jax.ShapeDtypeStruct`."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings(tree, mesh, rules),
    )


def constrain(tree: object, mesh: Mesh, rules: Rules) -> object:
    """Has the compiler put what is being traced where the rules say."""
    return jax.lax.with_sharding_constraint(tree, shardings(tree, mesh, rules))


def place(tree: object, mesh: Mesh, rules: Rules = WHOLE) -> object:
    """Puts arrays that every process has onto the mesh."""

    def put(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
        # Unlike `jax.device_put` this asks no other process whether it has the same.
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(put, tree, shardings(tree, mesh, rules))


def to_host(tree: object) -> object:
    """Arrays as NumPy ones; all processes take part, and all get them whole."""
    return jax.tree.map(_fetch, tree)


def _fetch(array: jax.Array) -> np.ndarray:
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return multihost_utils.process_allgather(array, tiled=True)


class Split:
    """How the axis of n of some images lies on a mesh.

    Args:
      mesh: the mesh.
      shape: of the images of all processes.
      axis: of n.

    Attributes:
      columns: int [k], the places along that axis that this process's devices hold, ascending.
    """

    def __init__(self, mesh: Mesh, shape: tuple[int, ...], *, axis: int) -> None:
        self.sharding = NamedSharding(mesh, P(*(None,) * axis, DATA))
        self._shape, self._axis = shape, axis
        places = self.sharding.addressable_devices_indices_map(shape).values()
        self.columns = np.unique(np.concatenate([self._columns(place) for place in places]))

    def to_devices(self, images: np.ndarray) -> jax.Array:
        """Images of this process's columns as those of all; no process waits for another."""

        def part(place: tuple[slice, ...]) -> np.ndarray:
            wanted = self._columns(place)
            start = int(np.searchsorted(self.columns, wanted[0]))
            inside = (slice(None),) * self._axis
            return images[(*inside, slice(start, start + len(wanted)))]

        return jax.make_array_from_callback(self._shape, self.sharding, part)

    def _columns(self, place: tuple[slice, ...]) -> np.ndarray:
        return np.arange(self._shape[self._axis])[place[self._axis]]
