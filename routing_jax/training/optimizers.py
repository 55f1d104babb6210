"""Optimizers: the blocks' and the router's, as one partition by path."""

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import DictKey, tree_map_with_path
from ml_collections import ConfigDict

from routing_jax.rl import transforms
from routing_jax.training.block_updates import mask_unused_blocks
from routing_jax.training.state import Hyperparams
from routing_jax.types import Params


def make_optimizer(
    config: ConfigDict, hyper: Hyperparams, *, total_steps: int
) -> optax.GradientTransformationExtraArgs:
    """One optimizer for all parameters; `update` takes the batch's `trajectory` as a keyword.

    Args:
      config: the whole configuration; static choices are read from it.
      hyper: traced values.
      total_steps: length of the run, for the schedule.
    """
    return optax.partition(
        {
            "blocks": _block_optimizer(config.optimizer, hyper, total_steps),
            "router": _router_optimizer(config.router, hyper),
        },
        label_parameters,
    )


def label_parameters(params: Params) -> Params:
    """ "router" for parameters below a module of that name, "blocks" for all others."""

    def is_router(path: tuple[object, ...]) -> bool:
        return any(isinstance(key, DictKey) and key.key == "router" for key in path)

    return tree_map_with_path(lambda path, _: "router" if is_router(path) else "blocks", params)


def _block_optimizer(
    optimizer_config: ConfigDict, hyper: Hyperparams, total_steps: int
) -> optax.GradientTransformation:
    factor = _SCHEDULES[optimizer_config.schedule](total_steps)

    # optax's schedules mix the step into floats, which strict type promotion refuses for integers.
    def learning_rate(step: jax.Array) -> jax.Array:
        return hyper.learning_rate * factor(jnp.asarray(step, jnp.float32))

    if optimizer_config.name == "sgd" and optimizer_config.momentum == 0:
        return optax.sgd(learning_rate)  # without memory, nothing moves an unused block
    if optimizer_config.name == "adam":
        optimizer = optax.adam(learning_rate)
    else:
        optimizer = optax.sgd(learning_rate, momentum=optimizer_config.momentum)
    keep = optimizer_config.unused_blocks == "keep"
    return mask_unused_blocks(optimizer) if keep else optimizer


def _router_optimizer(
    router_config: ConfigDict, hyper: Hyperparams
) -> optax.GradientTransformationExtraArgs:
    """WPL on a table; the projection comes last."""
    return optax.chain(
        transforms.policy_gradient(return_rate=hyper.return_rate, discount=hyper.discount),
        transforms.scale_by_wpl(router_config.wpl_convention),
        transforms.add_entropy_bonus(hyper.entropy_weight),
        optax.scale_by_learning_rate(hyper.router_learning_rate),
        transforms.project_to_simplex(),
    )


_SCHEDULES = {
    "constant": lambda total_steps: optax.constant_schedule(1.0),
    "step": lambda total_steps: optax.piecewise_constant_schedule(
        1.0, {round(0.7 * total_steps): 0.1}
    ),
    "cosine": lambda total_steps: optax.cosine_decay_schedule(1.0, total_steps),
}
"""Factors on the learning rate. "step": a tenth of it after 70 % of the steps."""
