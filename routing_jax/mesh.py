"""The mesh of devices that a program is spread over, as seen from inside the program.

====== ======================================================================================
sweep  cells of a sweep: each device trains its own, and none hears of the others
data   n, the examples of each task in a batch
block  K, the function blocks of a bank
====== ======================================================================================

The program is written as for one device, and the compiler splits it by where its arrays lie
(`training.sharding`). Only what it would split badly is said here: where a batch lies, and that
dispatch happens where the examples are. Without a mesh, or along an axis of one device, nothing
here does anything.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

from routing_jax.devices import AXES

SWEEP, DATA, BLOCK = AXES


def make_mesh(sizes: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with all three axes; those that `sizes` does not name have one device.

    Args:
      sizes: devices along an axis, by its name.
      devices: as many as the sizes multiply to; all that there are if None.
    """
    shape = tuple(sizes.get(axis, 1) for axis in AXES)
    # The compiler is to choose shardings; by default JAX would ask for them in the types.
    return jax.make_mesh(shape, AXES, (AxisType.Auto,) * len(AXES), devices=devices)


def one_device() -> Mesh:
    """The mesh of this process's first device alone."""
    return make_mesh({}, jax.local_devices()[:1])


def axis_size(axis: str) -> int:
    """Devices along an axis for what is being traced; 1 where it is split along it already."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if axis in mesh.manual_axes else mesh.shape.get(axis, 1)


def split_examples(tree: object) -> object:
    """Arrays [T, n, ...] with each device holding its part of n, if they can be split evenly."""

    def split(x: jax.Array) -> jax.Array:
        devices = axis_size(DATA)
        if devices == 1 or x.shape[1] % devices:
            return x
        return jax.lax.with_sharding_constraint(x, P(None, DATA))

    return jax.tree.map(split, tree)


def on_rows(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """A function of rows [B, ...] on x [T, n, ...], each device with its part of n if it can be."""
    if axis_size(DATA) == 1:
        rows = function(x.reshape(-1, *x.shape[2:]))
        return rows.reshape(*x.shape[:2], *rows.shape[1:])
    # Of two axes that become one, the split one has to come first.
    rows = function(x.swapaxes(0, 1).reshape(-1, *x.shape[2:]))
    rows = rows.reshape(*x.shape[1::-1], *rows.shape[1:])
    return split_examples(rows.swapaxes(0, 1))


def by_examples(
    function: Callable[[object, object], object],
    common: object,
    examples: object,
    *,
    out_axis: int = 1,
) -> object:
    """`function(common, examples)`, computed by each device for its part of the examples.

    What the compiler would make of a sort by action, or of T and n as one axis, is to move every
    example to every device. A function that treats each example by itself needs none of that; only
    gradients of what is common are summed over devices.

    Args:
      function: gives arrays with n as axis `out_axis`; no example's result depends on others.
      common: arrays that all examples need.
      examples: arrays [T, n, ...]. Where n cannot be split evenly all devices compute all of it.
      out_axis: axis of n in the result.
    """
    devices = axis_size(DATA)
    if devices == 1 or any(x.shape[1] % devices for x in jax.tree.leaves(examples)):
        return function(common, examples)
    return jax.shard_map(
        function,
        in_specs=(P(), P(None, DATA)),
        out_specs=P(*(None,) * out_axis, DATA),
        axis_names={DATA},
        check_vma=False,  # loops whose carries start from constants
    )(common, examples)


def sum_by_examples(function: Callable[..., jax.Array], *rows: jax.Array) -> jax.Array:
    """A sum over rows [B, ...], which a loop takes one after the other: each device its own part.

    Where rows cannot be split evenly all devices add up all of them.
    """
    devices = axis_size(DATA)
    if devices == 1 or rows[0].shape[0] % devices:
        return function(*rows)

    def summed(*own: jax.Array) -> jax.Array:
        part = function(*own)
        # In float32 as any long sum; XLA's CPU compiler ends the process over one in bfloat16.
        return jax.lax.psum(part.astype(jnp.float32), DATA).astype(part.dtype)

    return jax.shard_map(
        summed,
        in_specs=P(DATA),
        out_specs=P(),
        axis_names={DATA},
        check_vma=False,
    )(*rows)


def by_cells(function: Callable[[object, object], object], common: object, cells: object) -> object:
    """`function(common, cells)`, computed by each device for its part of the leading S axis.

    Args:
      function: gives arrays [S, ...]; no cell's result depends on others.
      common: arrays that all cells need.
      cells: arrays [S, ...].
    """
    if axis_size(SWEEP) == 1:
        return function(common, cells)
    return jax.shard_map(
        function,
        in_specs=(P(), P(SWEEP)),
        out_specs=P(SWEEP),
        axis_names={SWEEP},
        check_vma=False,
    )(common, cells)
