"""Cuts of networks that mix the outputs of blocks by weights of each task."""

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax import mixtures
from routing_jax.block_groups import ApplyBlock
from routing_jax.export.cut import (
    Cut,
    banks_of,
    finish,
    kept_rows,
    norms_of,
    numbers,
    one_of,
    part_of,
)
from routing_jax.models.gumbel_matrix import GumbelMatrixNetwork
from routing_jax.models.network import MultiTaskNetwork
from routing_jax.models.soft_mixture import SoftMixtureNetwork
from routing_jax.routers.allocation import mean_weights
from routing_jax.types import Params

_ONE = "The outputs of the blocks that have a weight for the task are added up by their weights."
_ALL = (
    "The outputs of all blocks are added up by the weights of the task; blocks that have none are "
    "left out."
)


def cut_allocation(
    model: GumbelMatrixNetwork, variables: dict[str, Params], task: int | None
) -> Cut:
    """The blocks that are on."""
    params = variables["params"]
    switches = model.router.apply({"params": params.get("router", {})}, method="best")
    weights = mean_weights(switches) if model.merge == "mean" else switches
    return _cut(model, params, np.asarray(weights), task)


def cut_soft_mixture(
    model: SoftMixtureNetwork, variables: dict[str, Params], task: int | None
) -> Cut:
    """All blocks whose weight is not zero."""
    params = variables["params"]
    weights = model.router.apply({"params": params["router"]}, method="weights")
    return _cut(model, params, np.asarray(weights), task)


def _cut(model: MultiTaskNetwork, params: Params, weights: np.ndarray, task: int | None) -> Cut:
    """Weights float32 [T, D, K]."""
    if task is not None:
        weights = weights[task : task + 1]
    used = (weights != 0).any(0)  # [D, K]
    kept = tuple(numbers(np.flatnonzero(row)) for row in used)
    if task is not None:
        return _of_one(model, params, weights[0], kept)
    of_bank = np.array(model.bank_of_depth)
    rows = [
        kept_rows(np.flatnonzero(used[of_bank == index].any(0)))
        for index in range(len(model.banks))
    ]
    return _of_all(model, params, weights, rows)._replace(kept=kept)


def _of_one(
    model: MultiTaskNetwork, params: Params, weights: np.ndarray, kept: tuple[tuple[int, ...], ...]
) -> Cut:
    """The layers of one task with weights [D, K]; at each depth the blocks that are kept."""
    banks, blocks, functions = banks_of(model, params), {}, {}
    for index, numbers_of_blocks in zip(model.bank_of_depth, kept, strict=True):
        for block in numbers_of_blocks:
            name = f"bank_{index}_block_{block}"
            functions[name], blocks[name] = one_of(model.banks[index], banks[index], block)
    own = {
        "blocks": blocks,
        "norms": norms_of(model, params),
        "weights": [weights[depth, list(own)] for depth, own in enumerate(kept)],
    }

    def layers(params: Params, x: jax.Array, tasks: jax.Array) -> jax.Array:
        del tasks
        for depth, index in enumerate(model.bank_of_depth):
            names = [f"bank_{index}_block_{block}" for block in kept[depth]]
            outputs = [functions[name](params["blocks"][name], x) for name in names]
            if outputs:
                weights = params["weights"][depth].astype(outputs[0].dtype)
                x = sum(w * out for w, out in zip(weights, outputs, strict=True))
            else:
                x = _nothing(*one_of(model.banks[index], banks[index], 0), x)
            x = finish(model, params["norms"], depth, x)
        return x

    return Cut(own, layers, kept, _ONE)


def _nothing(block: ApplyBlock, params: Params, x: jax.Array) -> jax.Array:
    """Zeros of the shape that a block makes of x [n, ...]."""
    one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    made = jax.eval_shape(block, params, one)
    return jnp.zeros((x.shape[0], *made.shape[1:]), made.dtype)


def _of_all(
    model: MultiTaskNetwork, params: Params, weights: np.ndarray, rows: list[np.ndarray]
) -> Cut:
    """The layers of all tasks with weights [T, D, K]; the rows that are kept of each bank."""
    parts = [
        part_of(bank, stacked, kept)
        for bank, stacked, kept in zip(model.banks, banks_of(model, params), rows, strict=True)
    ]
    own = {
        "banks": [stacked for _, stacked in parts],
        "norms": norms_of(model, params),
        "weights": [weights[:, d, rows[index]] for d, index in enumerate(model.bank_of_depth)],
    }

    def layers(params: Params, x: jax.Array, tasks: jax.Array) -> jax.Array:
        for depth, index in enumerate(model.bank_of_depth):
            mixed = params["weights"][depth][tasks]
            blocks, bank = parts[index][0], params["banks"][index]
            x = mixtures.mix_outputs(blocks, bank, x[:, None], mixed)[:, 0]
            x = finish(model, params["norms"], depth, x)
        return x

    return Cut(own, layers, (), _ALL)
