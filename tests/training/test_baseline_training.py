"""The same program trains systems that learn no routes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.training import loop
from routing_jax.training.run import make_run


@pytest.mark.parametrize(
    "changes",
    [
        {"router__policy": "fixed", "router__routes": "own", "model__num_blocks": None},
        {"router__policy": "fixed", "router__routes": "random"},
        {"model__name": "cross_stitch", "model__num_blocks": None},
        {"model__name": "soft_mixture"},
    ],
    ids=lambda changes: ",".join(f"{name}={value}" for name, value in changes.items()),
)
def test_the_loss_falls_and_everything_moves(tiny_config, digits, changes):
    config = tiny_config(optimizer__learning_rate=0.5, **changes)
    run = make_run(config, digits)
    train, test = loop.to_device(digits.train), loop.to_device(digits.test)
    segment = jax.jit(run.program.segment)
    before = jax.jit(run.program.init)(run.hyper, train)
    state, first = segment(before, run.hyper, train, test, jnp.int32(1), jnp.asarray(False))
    assert float(first.train_loss) == pytest.approx(np.log(2), rel=0.3)  # knows nothing yet
    state, report = segment(state, run.hyper, train, test, jnp.int32(11), jnp.asarray(True))
    assert float(report.train_loss) < 0.8 * float(first.train_loss)
    # Random routes leave some blocks unused, but not all of a bank.
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before.params, state.params)
    assert all(jax.tree.leaves(moved)), moved
    np.testing.assert_allclose(report.evaluation.routing.sum(-1), 1, rtol=1e-5)


@jax.numpy_dtype_promotion("standard")  # Adam of optax promotes types inside
def test_the_weights_of_a_soft_mixture_step_at_the_routers_rate(tiny_config, digits):
    # The first step of Adam is its rate in each direction, whatever the gradient; decay and the
    # blocks' rate would add to it.
    config = tiny_config(
        model__name="soft_mixture",
        model__block_noise=1.0,
        router__optimizer="adam",
        router__learning_rate=0.01,
        optimizer__learning_rate=0.5,
        optimizer__l2=0.1,
    )
    run = make_run(config, digits)
    train, test = loop.to_device(digits.train), loop.to_device(digits.test)
    start = jax.jit(run.program.init)(run.hyper, train)
    segment = jax.jit(run.program.segment)
    state, _ = segment(start, run.hyper, train, test, jnp.int32(1), jnp.asarray(False))
    moved = state.params["router"]["logits"] - start.params["router"]["logits"]
    np.testing.assert_allclose(abs(moved), np.full(moved.shape, 0.01), rtol=1e-3)
