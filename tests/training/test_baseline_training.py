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
