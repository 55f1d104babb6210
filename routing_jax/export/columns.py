"""Cuts of cross-stitch networks: the columns that the task's last block reads."""

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.export.cut import Cut, banks_of, numbers, take, take_each
from routing_jax.models.cross_stitch import CrossStitchNetwork
from routing_jax.types import Params

_NOTE = (
    "A column reads the others: every column is kept whose output reaches the task with a weight "
    "that is not zero, and of the last layer the task's own block."
)


def cut_columns(model: CrossStitchNetwork, variables: dict[str, Params], task: int | None) -> Cut:
    """The columns of one task, or of all if it is None."""
    params = variables["params"]
    depth = len(model.bank_of_depth)
    mixes = [np.asarray(params[f"mix_{d}"]) for d in range(1, depth)]
    needed = _needed(mixes, np.arange(model.num_tasks) if task is None else np.array([task]))
    banks = banks_of(model, params)
    own = {
        "banks": [take(banks[model.bank_of_depth[d]], needed[d]) for d in range(depth)],
        "mixes": [
            mix[np.ix_(reading, read)]
            for mix, read, reading in zip(mixes, needed, needed[1:], strict=False)
        ],
    }
    return Cut(own, _layers(model, task), tuple(map(numbers, needed)), _NOTE)


def _needed(mixes: list[np.ndarray], last: np.ndarray) -> list[np.ndarray]:
    """The columns of each depth that are read from the one behind."""
    needed = [last]
    for mix in reversed(mixes):
        needed.insert(0, np.flatnonzero((mix[needed[0]] != 0).any(0)))
    return needed


def _layers(model: CrossStitchNetwork, task: int | None):
    def layers(params: Params, x: jax.Array, tasks: jax.Array) -> jax.Array:
        row = tasks if task is None else jnp.zeros_like(tasks)  # of the last layer's columns
        columns = None
        for depth, index in enumerate(model.bank_of_depth):
            bank, run = params["banks"][depth], model.banks[index].apply_block
            if depth:
                mix = params["mixes"][depth - 1].astype(columns.dtype)
            if depth == len(model.bank_of_depth) - 1:
                if depth:
                    x = jnp.einsum("nc,cn...->n...", mix[row], columns)
                return jax.vmap(run)(take_each(bank, row), x[:, None])[:, 0]
            if not depth:
                columns = jax.vmap(run, (0, None))(bank, x)
                continue
            columns = jax.vmap(run)(bank, jnp.einsum("rc,c...->r...", mix, columns))
        return x

    return layers
