"""Full information in a training step: who learns from which examples, and what is measured."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from routing_jax.data.sampling import draw_batch
from routing_jax.models.factory import make_model
from routing_jax.training import loop
from routing_jax.training.run import make_run
from routing_jax.training.state import make_keys
from routing_jax.types import Exploration

MEASURED = 3


@pytest.fixture(scope="module")
def trained(tiny_config, digits):
    """A run before and after its first step, and the batch of that step."""
    config = tiny_config(router__rule="hedge", router__measured=MEASURED, model__block_noise=1.0)
    run = make_run(config, digits)
    train = loop.to_device(digits.train)
    before = jax.jit(run.program.init)(run.hyper, train)
    segment = jax.jit(run.program.segment)

    def step(train):
        return segment(before, run.hyper, train, train, jnp.int32(1), jnp.asarray(False))[0]

    key = make_keys(run.hyper.seed).data
    batch = draw_batch(train, key=key, step=jnp.int32(0), examples=8, shared=True)
    return run, train, before, step, batch


def table(state):
    return np.asarray(state.params["router"]["policy"]["table"])


def test_blocks_do_not_learn_from_the_examples_that_are_measured(trained):
    _, train, _, step, batch = trained
    rows = np.asarray(batch.images).reshape(8, -1)
    stored = np.asarray(train.images).reshape(len(train.images), -1)
    measured = [int(np.flatnonzero((stored == row).all(1))[0]) for row in rows[-MEASURED:]]
    labels = np.asarray(train.labels).copy()
    labels[:, measured] = 1 - labels[:, measured]
    changed = train._replace(labels=jnp.asarray(labels))
    one, other = step(train), step(changed)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), one.params, other.params)
    assert not same.pop("router")["policy"]["table"]
    assert all(jax.tree.leaves(same))


def test_each_logit_falls_by_its_mean_loss_over_the_measured_examples(trained):
    run, train, before, step, batch = trained
    # The decisions that the step drew, from the same key.
    router_key = jax.random.split(jax.random.fold_in(make_keys(run.hyper.seed).step, 0), 3)[0]
    model = make_model(run.program.config, run.program.shape, block_noise=1.0)
    variables = {"params": before.params, "batch_stats": before.batch_stats}
    routed = model.apply(
        variables, batch.images, exploration=Exploration(), rngs={"router": router_key}
    )
    x = np.broadcast_to(np.asarray(batch.images).reshape(1, 8, -1) / 255, (10, 8, 64))[:, -3:]
    actions = np.asarray(routed.decisions.actions)[:, -MEASURED:]
    labels = np.asarray(batch.labels)[:, -MEASURED:]
    losses = np.zeros((10, 2, 4))
    for depth, action in np.ndindex(2, 4):
        taken = actions.copy()
        taken[..., depth] = action
        logits = model.apply(variables, jnp.asarray(x, jnp.float32), taken, method="follow")
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        losses[:, depth, action] = loss.mean(1)
    fall = losses - losses.mean(-1, keepdims=True)
    expected = table(before) - run.hyper.router_learning_rate * fall
    np.testing.assert_allclose(table(step(train)), expected, atol=1e-5)
