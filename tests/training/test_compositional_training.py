"""The training of networks whose blocks are mixed from templates."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_compositional import SMALL_COMPOSITIONAL

from routing_jax.data import loading
from routing_jax.experiment import load_config
from routing_jax.models.factory import DataShape
from routing_jax.training import loop
from routing_jax.training.program import Program
from routing_jax.training.run import make_run
from routing_jax.training.state import hyperparams
from routing_jax.types import MultiTaskData

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

COMPOSITIONAL = SMALL_COMPOSITIONAL | {
    "data__num_tasks": 3,
    "model__bank": "per_depth",
    "model__depth": 1,
    "model__resolution": 4,
    "router__learning_rate": 0.5,
    "router__optimizer": "adam",
    "router__temperature": 1.0,
    "router__temperature_end": 0.1,
    "router__exploration_schedule": "geometric",
    "optimizer__name": "adam",
    "optimizer__learning_rate": 0.01,
}


@pytest.fixture(scope="module")
def trained(tiny_config):
    """The state at the start, and state and report after the twelve steps of a small run."""
    config = tiny_config(**COMPOSITIONAL)
    tasks = loading.load(config.data, say=lambda _: None)
    run = make_run(config, tasks)
    train, test = loop.to_device(tasks.train), loop.to_device(tasks.test)
    # Adam of optax promotes types inside.
    with jax.numpy_dtype_promotion("standard"):
        start = jax.jit(run.program.init)(run.hyper, train)
        state, report = jax.jit(run.program.segment)(
            start, run.hyper, train, test, jnp.int32(12), jnp.asarray(True)
        )
    return start, state, report


def test_templates_mixing_weights_averages_and_heads_learn(trained):
    start, state, report = trained
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), start.params, state.params)
    assert all(jax.tree.leaves(moved))
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), start.batch_stats, state.batch_stats)
    assert all(jax.tree.leaves(moved))
    assert np.isfinite(report.train_loss)


def test_evaluation_mixes_at_the_temperature_of_the_last_step(trained):
    _, state, report = trained
    temperature = 0.1 ** (11 / 12)  # eleven steps stand before the twelfth
    np.testing.assert_allclose(state.batch_stats["router"]["temperature"], temperature, rtol=1e-5)
    weights = jax.nn.softmax(state.params["router"]["logits"] / temperature)
    np.testing.assert_allclose(report.evaluation.routing, weights, rtol=1e-4, atol=1e-6)
    assert report.policy_entropy.shape == (1,)
    np.testing.assert_array_equal(report.evaluation.greedy, weights.argmax(-1))


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")
def test_two_steps_at_the_size_of_the_paper():
    config = load_config(f"{EXPERIMENTS / 'compositional_mtl.py'}:size=paper", EXPERIMENTS)
    config.training.examples_per_task, config.data.augment = 2, "none"
    rng = np.random.default_rng(0)
    data = MultiTaskData(
        jnp.asarray(rng.integers(0, 256, (8, 32, 32, 3)), jnp.uint8),
        jnp.arange(8, dtype=jnp.int32).reshape(2, 4),
        jnp.asarray(rng.integers(0, 5, (2, 4)), jnp.int32),
        jnp.full(2, 4, jnp.int32),
    )
    program, hyper = Program(config, DataShape(2, 5, (32, 32, 3)), 2), hyperparams(config)
    state = jax.jit(program.init)(hyper, data)
    state, report = jax.jit(program.segment)(
        state, hyper, data, data, jnp.int32(2), jnp.asarray(True)
    )
    assert int(state.step) == 2 and bool(report.finite) and int(report.bad_step) == 0
    assert report.evaluation.routing.shape == (2, 16, 4)
    averages = state.batch_stats["averages"]["averages"]["BatchNorm_1"]["mean"]
    assert averages.shape == (16, 1, 1, 240)
