"""Cuts of networks that mix the outputs of blocks by weights of each task."""

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax import dispatch
from routing_jax.export.cut import Cut, banks_of, kept_rows, numbers, take
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
    return _cut(model, params, np.asarray(jax.nn.softmax(params["mixture"])), task)


def _cut(model: MultiTaskNetwork, params: Params, weights: np.ndarray, task: int | None) -> Cut:
    """Weights float32 [T, D, K]."""
    if task is not None:
        weights = weights[task : task + 1]
    used = (weights != 0).any(0)  # [D, K]
    depths = np.array(model.bank_of_depth)
    rows = [kept_rows(np.flatnonzero(used[depths == i].any(0))) for i in range(len(model.banks))]
    own = {
        "banks": [take(bank, kept) for bank, kept in zip(banks_of(params), rows, strict=True)],
        "weights": [weights[:, depth, rows[index]] for depth, index in enumerate(depths)],
    }
    kept = tuple(numbers(np.flatnonzero(row)) for row in used)
    if task is None:
        return Cut(own, _mixed_by_task(model), kept, _ALL)
    on = [np.flatnonzero(own["weights"][depth][0]) for depth in range(len(depths))]
    return Cut(own, _mixed(model, [tuple(map(int, row)) for row in on]), kept, _ONE)


def _mixed(model: MultiTaskNetwork, on: list[tuple[int, ...]]):
    """The layers of one task, whose blocks of weight zero at a depth are not run there."""

    def layers(params: Params, x: jax.Array, tasks: jax.Array) -> jax.Array:
        del tasks
        for depth, index in enumerate(model.bank_of_depth):
            bank, run = params["banks"][index], model.banks[index].apply_block
            if not on[depth]:
                tail = jax.eval_shape(run, take(bank, 0), jnp.zeros((1, *x.shape[1:]), x.dtype))
                x = jnp.zeros((x.shape[0], *tail.shape[1:]), tail.dtype)
                continue
            weights = params["weights"][depth][0].astype(x.dtype)
            x = sum(weights[k] * run(take(bank, k), x) for k in on[depth])
        return x

    return layers


def _mixed_by_task(model: MultiTaskNetwork):
    def layers(params: Params, x: jax.Array, tasks: jax.Array) -> jax.Array:
        for depth, index in enumerate(model.bank_of_depth):
            weights = params["weights"][depth][tasks]
            run = model.banks[index].apply_block
            x = dispatch.mix_outputs(run, params["banks"][index], x[:, None], weights)[:, 0]
        return x

    return layers
