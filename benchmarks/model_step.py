"""One training step of any system on one batch, in a compiled loop."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from benchmarks.timing import Run, fastest
from routing_jax.models.factory import DataShape, make_model
from routing_jax.rl.rewards import correctness
from routing_jax.training.optimizers import make_optimizer
from routing_jax.training.products_on_cpu import compile_traced
from routing_jax.training.state import hyperparams
from routing_jax.types import Exploration, Params, Trajectory

Libraries = Sequence[dict[str, str] | None]
"""Compiler options; see `products_on_cpu.compile_traced`."""


def random_batch(shape: DataShape, examples: int) -> tuple[jax.Array, jax.Array]:
    """Random uint8 images [T, n, ...] and labels [T, n], with n `examples`."""
    image_key, label_key = jax.random.split(jax.random.key(0))
    size = (shape.num_tasks, examples)
    images = jax.random.bits(image_key, (*size, *shape.image), jnp.uint8)
    return images, jax.random.randint(label_key, size, 0, shape.num_classes)


def looped(
    step: Callable[[jax.Array, Any], Any], start: Any, *, libraries: Libraries = (None,)
) -> Run:
    """A compiled loop over steps; a step takes its number and a state, and returns the state.

    Of several `libraries` the one with which three steps are fastest.
    """
    # An argument, as XLA would try to fold what it takes for constants.
    loop = jax.jit(lambda steps, start: jax.lax.fori_loop(0, steps, step, start))
    traced = loop.trace(jnp.int32(1), start)

    def run_with(options: dict[str, str] | None) -> Run:
        compiled = compile_traced(traced, options)
        return lambda steps: compiled(jnp.int32(steps), start)

    return fastest([run_with(options) for options in libraries])


def training_steps(
    config: ConfigDict,
    shape: DataShape,
    *,
    examples: int,
    table: jax.Array | None = None,
    libraries: Libraries = (None,),
) -> Run:
    """All that a step does but drawing the batch: forward, backward, blocks and, if any, router.

    Args:
      config: of the system; a valid one.
      shape: of the data, which are random.
      examples: n.
      table: float32 [G, D, A], the policy of a tabular router at the start; None for uniform.
      libraries: see `looped`.
    """
    images, labels = random_batch(shape, examples)
    model = make_model(config, shape, block_noise=1.0)
    router = model.learned_router
    optimizer = make_optimizer(config, router, hyperparams(config), total_steps=1)
    key, exploration = jax.random.key(0), Exploration()
    keys = {"params": key, "router": key}
    variables = jax.jit(model.init)(keys, images, exploration=exploration)

    def loss_of(params: Params, stats: Params, step_key: jax.Array):
        routed, updated = model.apply(
            {"params": params, "batch_stats": stats},
            images,
            exploration=exploration,
            rngs={"router": step_key},
            mutable=["batch_stats"],
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(routed.logits, labels)
        return losses.mean(), (routed, updated.get("batch_stats", {}))

    def step(number, carry):
        params, stats, state = carry
        gradients, (routed, stats) = jax.grad(loss_of, has_aux=True)(
            params, stats, jax.random.fold_in(key, number)
        )
        learned = {}
        if router is not None:
            learned["trajectory"] = Trajectory(
                routed.decisions,
                jnp.zeros(routed.decisions.actions.shape),
                correctness(routed.logits, labels),
                jnp.ones(labels.shape),
            )
        updates, state = optimizer.update(gradients, state, params, **learned)
        return optax.apply_updates(params, updates), stats, state

    params, stats = variables["params"], variables.get("batch_stats", {})
    if table is not None:
        params["router"]["policy"]["table"] = table
    return looped(step, (params, stats, optimizer.init(params)), libraries=libraries)
