"""Optimizers: the blocks' and the router's, as one partition by path."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import DictKey, tree_map_with_path
from ml_collections import ConfigDict

from routing_jax.rl.router_optimizer import label_parameters, router_optimizer
from routing_jax.rl.rules import LOSSES
from routing_jax.routers.router import Router
from routing_jax.training.block_updates import divide_by_use, mask_unused_blocks
from routing_jax.training.state import Hyperparams
from routing_jax.training.trainable import chosen, trains
from routing_jax.types import Params


def make_optimizer(
    config: ConfigDict, router: Router | None, hyper: Hyperparams, *, total_steps: int
) -> optax.GradientTransformationExtraArgs:
    """One optimizer for all parameters.

    Its `update` takes as keywords the batch's `trajectory`; `use`, of the blocks, where the
    configuration divides by it (see `block_updates.divide_by_use`); and `progress`, the share of
    the run that is over, without which the router learns.

    Args:
      config: the whole configuration; static choices are read from it.
      router: the model's; None where no trajectory is learned from, and then none is taken.
      hyper: traced values.
      total_steps: length of the run, for the schedule.
    """
    trainable = config.training.trainable
    parts = {
        "blocks": _block_optimizer(config.optimizer, hyper, total_steps),
        "frozen": optax.set_to_zero(),
    }
    if "mixing" in chosen(trainable):
        parts["router"] = _wait(_router_part(config.router, router, hyper), hyper.learns_from)
    return optax.partition(parts, partial(_labels, trainable))


def _router_part(
    router_config: ConfigDict, router: Router | None, hyper: Hyperparams
) -> optax.GradientTransformation:
    if router is None:  # what back-propagation trains of a router, if anything
        return _ROUTER_STEPS[router_config.optimizer](hyper.router_learning_rate)
    return _router_optimizer(router_config, router, hyper)


def _wait(
    inner: optax.GradientTransformation, share: jax.Array
) -> optax.GradientTransformationExtraArgs:
    """Holds updates back until that share of the run is over; the state of `inner` moves."""
    inner = optax.with_extra_args_support(inner)

    def update(gradients, state, params=None, *, progress: jax.Array | float = 1.0, **extra):
        updates, state = inner.update(gradients, state, params, **extra)
        on = progress >= share
        return jax.tree.map(lambda leaf: jnp.where(on, leaf, 0), updates), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _labels(trainable: str, params: Params) -> Params:
    """The part of the optimizer that has each parameter."""
    return jax.tree.map(
        lambda label, on: label if on else "frozen",
        label_parameters(params),
        trains(trainable, params),
    )


def _block_optimizer(
    optimizer_config: ConfigDict, hyper: Hyperparams, total_steps: int
) -> optax.GradientTransformation:
    factor = _SCHEDULES[optimizer_config.schedule](total_steps)

    # optax's schedules mix the step into floats, which strict type promotion refuses for integers.
    def learning_rate(step: jax.Array) -> jax.Array:
        return hyper.learning_rate * factor(jnp.asarray(step, jnp.float32))

    # Without memory and decay, nothing moves an unused block.
    moves_unused = optimizer_config.l2 > 0 or optimizer_config.name != "sgd"
    if optimizer_config.name == "adam":
        optimizer = optax.adam(learning_rate)
    elif optimizer_config.momentum == 0:
        optimizer = optax.sgd(learning_rate)
    else:
        optimizer, moves_unused = optax.sgd(learning_rate, optimizer_config.momentum), True
    if optimizer_config.l2 > 0:
        decay = optax.add_decayed_weights(optimizer_config.l2, mask=_without_biases)
        optimizer = optax.chain(decay, optimizer)
    if optimizer_config.block_steps == "by_use":
        optimizer = optax.chain(divide_by_use(), optimizer)
    keep = optimizer_config.unused_blocks == "keep"
    return mask_unused_blocks(optimizer) if keep and moves_unused else optimizer


def _without_biases(params: Params) -> Params:
    """True for all parameters that are not biases."""
    return tree_map_with_path(lambda path, _: path[-1] != DictKey("bias"), params)


def _router_optimizer(
    router_config: ConfigDict, router: Router, hyper: Hyperparams
) -> optax.GradientTransformationExtraArgs:
    loss = LOSSES[router_config.rule]
    if router_config.rule == "advantage_learning":
        loss = partial(loss, scale=router_config.advantage_scale)
    return router_optimizer(
        router,
        loss,
        learning_rate=hyper.router_learning_rate,
        step=_ROUTER_STEPS[router_config.optimizer],
        dispatcher_learning_rate=hyper.dispatcher_learning_rate,
        return_rate=hyper.return_rate,
        discount=hyper.discount,
        trace=hyper.trace,
        entropy_weight=hyper.entropy_weight,
        wpl_convention=router_config.wpl_convention,
        probability_floor=router_config.probability_floor,
    )


_ROUTER_STEPS = {"sgd": optax.sgd, "adam": optax.adam}


_SCHEDULES = {
    "constant": lambda total_steps: optax.constant_schedule(1.0),
    "step": lambda total_steps: optax.piecewise_constant_schedule(
        1.0, {round(0.7 * total_steps): 0.1}
    ),
    "cosine": lambda total_steps: optax.cosine_decay_schedule(1.0, total_steps),
}
"""Factors on the learning rate. "step": a tenth of it after 70 % of the steps."""
