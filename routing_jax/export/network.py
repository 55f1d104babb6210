"""A whole network cut out of a trained one: encoder, routed layers, head."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import DictKey

from routing_jax.export.columns import cut_columns
from routing_jax.export.compositional import cut_compositional
from routing_jax.export.cut import Cut, take, take_each
from routing_jax.export.mixtures import cut_allocation, cut_soft_mixture
from routing_jax.export.routed import cut_joint, cut_routed
from routing_jax.models.compositional import CompositionalNetwork
from routing_jax.models.cross_stitch import CrossStitchNetwork
from routing_jax.models.gumbel_matrix import GumbelMatrixNetwork
from routing_jax.models.joint_classifier import JointClassifierNetwork
from routing_jax.models.network import MultiTaskNetwork
from routing_jax.models.routing_network import RoutingNetwork
from routing_jax.models.soft_mixture import SoftMixtureNetwork
from routing_jax.objectives import offered
from routing_jax.types import Params

CutLayers = Callable[[MultiTaskNetwork, dict[str, Params], int | None], Cut]
"""A network, its variables, and a task or None for all."""

CUTS: dict[type[MultiTaskNetwork], CutLayers] = {
    RoutingNetwork: cut_routed,
    JointClassifierNetwork: cut_joint,
    GumbelMatrixNetwork: cut_allocation,
    SoftMixtureNetwork: cut_soft_mixture,
    CrossStitchNetwork: cut_columns,
    CompositionalNetwork: cut_compositional,
}
"""How routed layers are cut, by the kind of the network."""


class CutNetwork(NamedTuple):
    """A network that stands for itself."""

    params: Params
    call: Callable[..., jax.Array]
    """Parameters, inputs [n, ...] and, if it is for all tasks, their tasks int32 [n], to outputs
    float32 [n, C]: logits, or numbers. Those of one task have its own classes only."""
    cut: Cut
    task: int | None
    """Its number; None for all."""

    @property
    def num_parameters(self) -> int:
        """Trained numbers; running averages are none."""
        leaves = jax.tree_util.tree_leaves_with_path(self.params)
        return sum(leaf.size for path, leaf in leaves if DictKey("batch_stats") not in path)


def cut_network(
    model: MultiTaskNetwork,
    variables: dict[str, Params],
    task: int | None,
    *,
    classes: tuple[int, ...],
) -> CutNetwork:
    """Cuts out one task's network, or that of all tasks without the blocks that none uses.

    Args:
      model: the trained network.
      variables: its parameters and running averages.
      task: its number; None for all.
      classes: of each task, T of them.
    """
    params = variables["params"]
    cut = CUTS[type(model)](model, variables, task)
    own = {"encoder": _encoder_variables(variables), "layers": cut.params}
    if model.head is not None:
        head, shared = params["head"]["blocks"], model.head.num_blocks == 1
        own["head"] = head if task is None else take(head, 0 if shared else task)

    def network(params: Params, inputs: jax.Array, tasks: jax.Array) -> jax.Array:
        x = model.encoder.apply(params["encoder"], inputs, train=False)
        x = cut.layers(params["layers"], x, tasks)
        return _answer(model, params, x, tasks, one=task is not None)

    def of_task(params: Params, inputs: jax.Array) -> jax.Array:
        tasks = jnp.full(inputs.shape[0], task, jnp.int32)
        return network(params, inputs, tasks)[:, : classes[task]]

    def of_all(params: Params, inputs: jax.Array, tasks: jax.Array) -> jax.Array:
        logits = network(params, inputs, tasks)
        if len(set(classes)) == 1:
            return logits
        return offered(logits[:, None], jnp.asarray(classes)[tasks])[:, 0]

    return CutNetwork(own, of_all if task is None else of_task, cut, task)


def _encoder_variables(variables: dict[str, Params]) -> dict[str, Params]:
    """Parameters and running averages of the encoder; empty for one without."""
    found = {name: below.get("encoder", {}) for name, below in variables.items()}
    return {name: below for name, below in found.items() if below}


def _answer(
    model: MultiTaskNetwork, params: Params, x: jax.Array, tasks: jax.Array, *, one: bool
) -> jax.Array:
    """Logits, float32 [n, C], of what the last layer gave; the head is that of one task, or all."""
    if model.head is not None and one:
        x = model.head.apply_block(params["head"], x)
    elif model.head is not None:
        row = jnp.zeros_like(tasks) if model.head.num_blocks == 1 else tasks
        heads = take_each(params["head"], row)
        x = jax.vmap(model.head.apply_block)(heads, x[:, None])[:, 0]
    return x.astype(jnp.float32)
