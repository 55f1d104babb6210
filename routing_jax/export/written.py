"""Networks as files that need nothing of this package: arrays, StableHLO, and what they mean."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from routing_jax import files
from routing_jax.export.network import CutNetwork
from routing_jax.types import Params

PARAMS, PROGRAM, MEANING = "network.npz", "network.stablehlo", "network.json"
_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


class Exported(NamedTuple):
    """A network as it is written."""

    params: dict[str, np.ndarray]
    """By path, such as "layers/blocks/bank_0_block_3/Dense_0/kernel"."""
    program: export.Exported
    """Of parameters, inputs [n, ...] and, if it is for all tasks, their tasks int32 [n]."""
    takes_tasks: bool

    def call(self, inputs: np.ndarray, task: int) -> jax.Array:
        """The outputs for inputs of one task, as the files give them."""
        tasks = [np.full(len(inputs), task, np.int32)] if self.takes_tasks else []
        return self.program.call(self.params, inputs, *tasks)


def export_network(network: CutNetwork, inputs: jax.ShapeDtypeStruct) -> Exported:
    """The network as a program for any number of inputs, and for each kind of device.

    Args:
      network: to export.
      inputs: shape and type of one input.
    """
    flat = _flatten(network.params)
    names, structure = list(flat), jax.tree.structure(network.params)

    def call(flat: dict[str, jax.Array], *batch: jax.Array) -> jax.Array:
        return network.call(structure.unflatten([flat[name] for name in names]), *batch)

    (count,) = export.symbolic_shape("n")
    batch = [jax.ShapeDtypeStruct((count, *inputs.shape), inputs.dtype)]
    if network.task is None:
        batch.append(jax.ShapeDtypeStruct((count,), jnp.int32))
    shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in flat.items()}
    program = export.export(jax.jit(call), platforms=_PLATFORMS)(shapes, *batch)
    return Exported(flat, program, network.task is None)


def write(folder: Path, exported: Exported, meaning: dict[str, Any]) -> dict[str, int]:
    """Writes the three files of a network; the folder appears whole or not at all.

    Args:
      folder: where they go; an earlier one is replaced.
      exported: the network.
      meaning: what the JSON says besides how to load it.

    Returns:
      The bytes of the files of parameters and program, by name.

    Raises:
      OSError: the files cannot be written.
    """
    passing = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(passing, ignore_errors=True)
    passing.mkdir(parents=True)
    with files.naming(passing):
        np.savez(passing / PARAMS, **exported.params)
        (passing / PROGRAM).write_bytes(exported.program.serialize())
    sizes = {name: (passing / name).stat().st_size for name in (PARAMS, PROGRAM)}
    load = how_to_load(takes_tasks=exported.takes_tasks)
    files.write_json(passing / MEANING, {**meaning, "bytes": sizes, "load": load})
    shutil.rmtree(folder, ignore_errors=True)
    passing.rename(folder)
    return sizes


def how_to_load(*, takes_tasks: bool) -> list[str]:
    """Lines of Python that load and call the files with JAX alone, in their folder."""
    tasks = ", tasks" if takes_tasks else ""
    return [
        "import jax.export, numpy",
        f"network = jax.export.deserialize(open('{PROGRAM}', 'rb').read())",
        f"outputs = network.call(dict(numpy.load('{PARAMS}')), inputs{tasks})",
    ]


def _flatten(params: Params) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in leaves
    }
