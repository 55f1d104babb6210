"""The training of networks whose blocks are switched on and off for each task."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.data import loading
from routing_jax.reporting.similarity import task_similarity
from routing_jax.training import loop
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.pace import Elapsed
from routing_jax.training.run import make_run

GUMBEL = {
    "model__name": "gumbel_matrix",
    "model__head": "own",
    "router__rule": "gumbel_softmax",
    "router__optimizer": "adam",
    "router__learning_rate": 0.02,
    "router__temperature": 50.0,
    "router__temperature_end": 0.5,
    "router__exploration_schedule": "inverse_sqrt",
    "optimizer__name": "adam",
    "optimizer__learning_rate": 0.01,
}

# Adam of optax promotes types inside.
pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.fixture
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def trained(config, tasks, *parts, directory=None):
    """The state at the start, and state and report after as many steps as the parts add up to.

    With a directory the state is saved there after each part, and read again.
    """
    run = make_run(config, tasks)
    train, test = loop.to_device(tasks.train), loop.to_device(tasks.test)
    segment = jax.jit(run.program.segment)
    start = state = jax.jit(run.program.init)(run.hyper, train)
    for steps in parts:
        state, report = segment(state, run.hyper, train, test, jnp.int32(steps), jnp.asarray(True))
        if directory is not None:
            with Checkpoints(directory, dataset=tasks.name) as checkpoints:
                checkpoints.save(state, Elapsed())
            state = Checkpoints(directory, dataset=tasks.name).restore(start).state
    return start, state, report


def test_blocks_heads_and_switches_learn(tiny_config, digits):
    start, _, first = trained(tiny_config(**GUMBEL), digits, 1)
    _, state, report = trained(tiny_config(**GUMBEL), digits, 12)
    assert float(report.train_loss) < 0.8 * float(first.train_loss)
    moved = jax.tree.map(lambda a, b: bool((a != b).all()), start.params, state.params)
    assert moved["router"]["logits"]
    assert all(jax.tree.leaves(moved["head"]))
    assert report.evaluation.routing.shape == (10, 2, 4)
    on = jax.nn.softmax(state.params["router"]["logits"])[..., 0]
    np.testing.assert_allclose(report.evaluation.routing, on, rtol=1e-5)


def test_a_run_saved_in_between_keeps_allocation_and_temperature(tiny_config, digits, tmp_path):
    _, whole, _ = trained(tiny_config(**GUMBEL), digits, 12)
    _, parts, _ = trained(tiny_config(**GUMBEL), digits, 5, 7, directory=tmp_path / "checkpoints")
    # At another temperature the second part would draw other blocks.
    chex.assert_trees_all_equal((parts.step, parts.params), (whole.step, whole.params))


def test_a_budget_switches_blocks_off(tiny_config, digits):
    costly = GUMBEL | {"router__budget": 0.25, "router__budget_weight": 30.0}
    costly["router__learning_rate"] = 0.1
    _, _, free = trained(tiny_config(**GUMBEL), digits, 12)
    _, _, report = trained(tiny_config(**costly), digits, 12)
    assert float(report.evaluation.routing.mean()) < 0.35
    assert float(free.evaluation.routing.mean()) > 0.4


def test_blocks_that_are_hardly_ever_on_are_left_out(tiny_config, digits):
    # No switch has come near a probability of 0.01 after so few steps: nothing is left out.
    _, everything, _ = trained(tiny_config(**GUMBEL), digits, 4)
    _, state, _ = trained(tiny_config(**GUMBEL, router__skip_below=0.01), digits, 4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        state.params,
        everything.params,
    )
    # All switches start below the bound: no block learns, and no switch without a penalty.
    none = {"router__start_probability": 0.3, "router__skip_below": 0.4}
    start, state, _ = trained(tiny_config(**GUMBEL | none), digits, 4)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), start.params, state.params)
    assert not any(jax.tree.leaves([moved["banks_0"], moved["banks_1"], moved["router"]]))
    assert any(jax.tree.leaves(moved["head"]))


@pytest.mark.parametrize("routes", ["own", "all"])
def test_given_switches_stay_as_they_are(tiny_config, digits, routes):
    blocks = 4 if routes == "all" else None
    fixed = {"model__name": "gumbel_matrix", "router__policy": "fixed", "router__routes": routes}
    fixed |= {"model__head": "own", "model__num_blocks": blocks}
    _, state, report = trained(tiny_config(**fixed), digits, 4)
    assert "router" not in state.params
    expected = np.eye(10)[:, None].repeat(2, 1) if routes == "own" else np.ones((10, 2, 4))
    np.testing.assert_array_equal(report.evaluation.routing, expected)


def allocations(config, seeds):
    """Which blocks are on for each seed, bool [S, T, D, K]; all seeds trained side by side."""
    tasks = loading.load(config.data, say=lambda _: None)
    run = make_run(config, tasks)
    train, test = loop.to_device(tasks.train), loop.to_device(tasks.test)

    def of_seed(seed):
        hyper = run.hyper._replace(seed=seed)
        steps = jnp.int32(config.training.steps)
        state = run.program.init(hyper, train)
        _, report = run.program.segment(state, hyper, train, test, steps, jnp.asarray(True))
        return report.evaluation.routing >= 0.5

    return np.asarray(jax.jit(jax.vmap(of_seed))(jnp.arange(seeds, dtype=jnp.uint32)))


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "finds"), [(0.02, True), (1e-9, False)], ids=["learns", "frozen"])
def test_two_planted_clusters_are_found(tiny_config, rate, finds):
    # Two pairs of equal tasks that have nothing in common, and a third of the blocks for free: each
    # pair should share its blocks and none with the other. Frozen switches all stay on.
    values = GUMBEL | {
        "data__name": "synthetic",
        "data__tasks": "related_pairs",
        "data__num_pairs": 2,
        "data__relatedness": 1.0,
        "reward__final": "negative_loss",
        "model__num_blocks": 6,
        "model__depth": 1,
        "router__budget": 1 / 3,
        "router__budget_weight": 1.0,
        "router__learning_rate": rate,
        "training__steps": 1500,
        "training__examples_per_task": 32,
    }
    on = allocations(tiny_config(**values), seeds=10)
    similarity = np.array([task_similarity(patterns) for patterns in on])
    inside = (similarity[:, 0, 1] + similarity[:, 2, 3]) / 2
    across = similarity[:, :2, 2:].mean((1, 2))
    found = int((inside - across > 0.5).sum())
    assert found >= 9 if finds else found <= 1, (inside, across)
