"""Cuts of compositional networks: one task's blocks as they are mixed, or templates and weights."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.export.cut import Cut, Layers, banks_of, kept_rows, numbers, take, take_each
from routing_jax.models.compositional import CompositionalNetwork
from routing_jax.types import Params

_MIXED = "The parameters of the task's block at each depth are mixed once and for all."
_OUTPUTS = "The outputs of the templates that have a weight are added up by their weights."
_ALL = "The parameters of templates are mixed by the weights of the task, for all tasks at once."


class _Depth(NamedTuple):
    """One layer of a cut."""

    number: int
    bank: int
    block: nn.Module
    rows: np.ndarray
    """The templates that its bank keeps."""

    def averages(self, params: Params, row: jax.Array, template: int = 0) -> Params:
        """The running averages of each input, [n, F], where those of all places are kept."""

        def of_leaf(leaf: jax.Array) -> jax.Array:  # [D or 1, T or 1, K or 1, F]
            here = leaf[min(self.number, leaf.shape[0] - 1)]
            here = here[:, min(template, here.shape[1] - 1)]
            return here[row if here.shape[0] > 1 else jnp.zeros_like(row)]

        return jax.tree.map(of_leaf, params["batch_stats"])


Run = Callable[[_Depth, Params, jax.Array, jax.Array], jax.Array]
"""A layer, all parameters of the cut, x [n, ...] and the row of each input's task, int32 [n]."""


def cut_compositional(
    model: CompositionalNetwork, variables: dict[str, Params], task: int | None
) -> Cut:
    """The blocks of one task, or templates and weights of all if it is None."""
    params, weights = variables["params"], _weights(model, variables)
    averages = variables["batch_stats"]["averages"]["averages"]
    if task is not None:
        weights = weights[task : task + 1]
        averages = jax.tree.map(lambda leaf: _own(leaf, task), averages)
    used = (weights != 0).any(0)
    adapter = params.get("adapter", {})  # an end of some networks has no parameters
    banks, own = banks_of(model, params), {"adapter": adapter, "batch_stats": averages}
    rows = _rows(model, used)
    depths = [
        _Depth(d, index, model.banks[index].block.clone(parent=None), rows[index])
        for d, index in enumerate(model.bank_of_depth)
    ]
    if task is not None and not model.mix_outputs:
        own["blocks"] = [_mix(banks[at.bank], weights[:, at.number]) for at in depths]
        run, note = _run_block, _MIXED
    else:
        own["banks"] = [take(bank, kept) for bank, kept in zip(banks, rows, strict=True)]
        own["weights"] = [weights[:, at.number, at.rows] for at in depths]
        run, note = (_run_outputs, _OUTPUTS) if model.mix_outputs else (_run_mixed, _ALL)
    kept = tuple(numbers(np.flatnonzero(row)) for row in used)
    return Cut(own, _layers(model, depths, run, one=task is not None), kept, note)


def _weights(model: CompositionalNetwork, variables: dict[str, Params]) -> np.ndarray:
    """The mixing weights of evaluation, float32 [T, D, K]."""
    own = {name: below["router"] for name, below in variables.items() if "router" in below}
    weights = np.asarray(model.router.apply(own, method="weights"))
    return np.broadcast_to(weights, (model.num_tasks, *weights.shape[1:]))


def _own(leaf: np.ndarray, task: int) -> np.ndarray:
    """The averages of one task, [D or 1, 1, K or 1, F]."""
    return leaf[:, task : task + 1] if leaf.shape[1] > 1 else leaf


def _rows(model: CompositionalNetwork, used: np.ndarray) -> list[np.ndarray]:
    """The templates of each bank that some depth uses, given bool [D, K]."""
    of_bank = np.array(model.bank_of_depth)
    return [
        kept_rows(np.flatnonzero(used[of_bank == index].any(0)))
        for index in range(len(model.banks))
    ]


def _mix(bank: Params, weights: jax.Array) -> Params:
    """Parameters [K, ...] by weights [T, K]: each leaf [T, ...]."""

    def of_leaf(leaf: jax.Array) -> jax.Array:
        rows = jnp.reshape(leaf, (leaf.shape[0], -1))
        mixed = jnp.matmul(weights[:, : leaf.shape[0]], rows, precision="highest")
        return mixed.reshape(-1, *leaf.shape[1:])

    return jax.tree.map(of_leaf, bank)


def _layers(model: CompositionalNetwork, depths: list[_Depth], run: Run, *, one: bool) -> Layers:
    def layers(params: Params, x: jax.Array, tasks: jax.Array) -> jax.Array:
        row = jnp.zeros_like(tasks) if one else tasks
        for depth in depths:
            x = run(depth, params, x, row)
        return model.adapter.apply({"params": params["adapter"]}, x)

    return layers


def _run_block(depth: _Depth, params: Params, x: jax.Array, row: jax.Array) -> jax.Array:
    """The one block that is mixed already."""
    first = jnp.zeros_like(row, shape=(1,))
    averages = take(depth.averages(params, first), 0)
    block = take(params["blocks"][depth.number], 0)
    return depth.block.apply({"params": block, "batch_stats": averages}, x)


def _run_mixed(depth: _Depth, params: Params, x: jax.Array, row: jax.Array) -> jax.Array:
    """The block of each input's task, mixed from the templates."""
    mixed = _mix(params["banks"][depth.bank], params["weights"][depth.number])
    return _each(depth, take_each(mixed, row), depth.averages(params, row), x)


def _run_outputs(depth: _Depth, params: Params, x: jax.Array, row: jax.Array) -> jax.Array:
    """All templates that are kept, and their outputs by the weights of each input's task."""
    bank, weights = params["banks"][depth.bank], params["weights"][depth.number]
    total = None
    for place, template in enumerate(depth.rows.tolist()):
        averages = depth.averages(params, row, template)
        out = _each(depth, take(bank, place), averages, x, one_block=True)
        weight = weights[row, place].reshape(-1, *(1,) * (out.ndim - 1)).astype(out.dtype)
        total = weight * out if total is None else total + weight * out
    return total


def _each(
    depth: _Depth, blocks: Params, averages: Params, x: jax.Array, *, one_block: bool = False
) -> jax.Array:
    """Averages of its own for each input, and a block of its own unless there is but one."""

    def run(block: Params, own: Params, one: jax.Array) -> jax.Array:
        return depth.block.apply({"params": block, "batch_stats": own}, one[None])[0]

    return jax.vmap(run, (None if one_block else 0, 0, 0))(blocks, averages, x)
