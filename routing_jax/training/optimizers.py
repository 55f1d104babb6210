"""Optimizers: the blocks' and the router's, as one partition by path."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import DictKey, tree_map_with_path
from ml_collections import ConfigDict

from routing_jax.rl import transforms
from routing_jax.rl.rules import LOSSES
from routing_jax.rl.wpl import clip_and_renormalise
from routing_jax.routers.router import Router
from routing_jax.training.block_updates import mask_unused_blocks
from routing_jax.training.state import Hyperparams
from routing_jax.types import Params


def make_optimizer(
    config: ConfigDict, router: Router | None, hyper: Hyperparams, *, total_steps: int
) -> optax.GradientTransformationExtraArgs:
    """One optimizer for all parameters; `update` takes the batch's `trajectory` as a keyword.

    Args:
      config: the whole configuration; static choices are read from it.
      router: the model's; None where no trajectory is learned from, and then none is taken.
      hyper: traced values.
      total_steps: length of the run, for the schedule.
    """
    parts = {"blocks": _block_optimizer(config.optimizer, hyper, total_steps)}
    if router is not None:
        parts["router"] = _on_subtree("router", _router_optimizer(config.router, router, hyper))
    else:  # what back-propagation trains of a router, if anything
        parts["router"] = _ROUTER_STEPS[config.router.optimizer](hyper.router_learning_rate)
    return optax.partition(parts, label_parameters)


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
    router_config: ConfigDict, router: Router, hyper: Hyperparams
) -> optax.GradientTransformationExtraArgs:
    """The rule gives all gradients; what becomes of them depends on the part of the router."""
    loss, kind = LOSSES[router_config.rule], router.kind
    if router_config.rule == "advantage_learning":
        loss = partial(loss, scale=router_config.advantage_scale)
    rate, name = hyper.router_learning_rate, router_config.optimizer
    steps = {part: _ROUTER_STEPS[name](rate) for part in ("policy", "critic", "control")}
    steps["dispatcher"] = _ROUTER_STEPS[name](hyper.dispatcher_learning_rate)
    if kind == "probabilities":
        steps["policy"] = _table_of_probabilities(router_config, router, hyper)
    return optax.chain(
        transforms.learn_from_trajectory(
            router,
            loss,
            return_rate=hyper.return_rate,
            discount=hyper.discount,
            trace=hyper.trace,
            entropy_weight=hyper.entropy_weight if kind == "logits" else None,
        ),
        optax.partition(steps, lambda params: {part: part for part in params}),
    )


def _table_of_probabilities(
    router_config: ConfigDict, router: Router, hyper: Hyperparams
) -> optax.GradientTransformation:
    """WPL on a table; the projection comes last."""
    project = partial(
        clip_and_renormalise,
        floor=router_config.probability_floor,
        allowed=jnp.asarray(router.allowed),
    )
    return optax.chain(
        transforms.scale_by_wpl(router_config.wpl_convention),
        transforms.add_entropy_bonus(hyper.entropy_weight),
        optax.scale_by_learning_rate(hyper.router_learning_rate),
        transforms.project_to_simplex(project),
    )


def _on_subtree(
    name: str, inner: optax.GradientTransformationExtraArgs
) -> optax.GradientTransformationExtraArgs:
    """Applies a transformation to one entry of the parameters, given as if it were all there is."""

    def init(params: Params) -> optax.OptState:
        return inner.init(params[name])

    def update(updates, state, params=None, **extra):
        below = None if params is None else params[name]
        changed, state = inner.update(updates[name], state, below, **extra)
        return {**updates, name: changed}, state

    return optax.GradientTransformationExtraArgs(init, update)


_ROUTER_STEPS = {"sgd": optax.sgd, "adam": optax.adam}


_SCHEDULES = {
    "constant": lambda total_steps: optax.constant_schedule(1.0),
    "step": lambda total_steps: optax.piecewise_constant_schedule(
        1.0, {round(0.7 * total_steps): 0.1}
    ),
    "cosine": lambda total_steps: optax.cosine_decay_schedule(1.0, total_steps),
}
"""Factors on the learning rate. "step": a tenth of it after 70 % of the steps."""
