"""The training program: a pure function of state, hyperparameters and data."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.training import loop
from routing_jax.training.run import make_run
from routing_jax.training.state import MAX_SNAPSHOTS, hyperparams


class Machine:
    """A compiled run, driven by hand."""

    def __init__(self, config, tasks):
        self.run = make_run(config, tasks)
        self.train = loop.to_device(tasks.train)
        self.test = loop.to_device(tasks.test)
        self._segment = jax.jit(self.run.program.segment)

    def start(self):
        return jax.jit(self.run.program.init)(self.run.hyper, self.train)

    def advance(self, state, steps, evaluate=False):
        return self._segment(
            state, self.run.hyper, self.train, self.test, jnp.int32(steps), jnp.asarray(evaluate)
        )


@pytest.fixture
def machine(tiny_config, digits):
    return Machine(tiny_config(), digits)


def test_cutting_a_run_into_segments_changes_nothing(machine):
    whole, whole_report = machine.advance(machine.start(), 6, evaluate=True)
    parts = machine.start()
    for steps in (1, 3, 0, 2):
        parts, _ = machine.advance(parts, steps)
    parts, parts_report = machine.advance(parts, 0, evaluate=True)
    chex.assert_trees_all_equal(whole, parts)
    chex.assert_trees_all_equal(whole_report, parts_report)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tiny_config, digits):
    def losses(seed):
        machine = Machine(tiny_config(training__seed=seed), digits)
        return float(machine.advance(machine.start(), 3)[1].train_loss)

    first, again, other = losses(0), losses(0), losses(1)
    assert first == again
    assert first != other


def test_a_segment_without_evaluation_keeps_tally_and_snapshots(machine):
    state, report = machine.advance(machine.start(), 3)
    assert float(state.tally.steps) == 3
    assert float(state.tally.loss) > 0
    np.testing.assert_array_equal(report.evaluation.metrics["accuracy"], np.zeros(10))
    np.testing.assert_array_equal(state.snapshots.steps, [0] + [-1] * (MAX_SNAPSHOTS - 1))


def test_an_evaluation_empties_the_tally_and_takes_a_snapshot(machine):
    state, report = machine.advance(machine.start(), 6, evaluate=True)
    assert float(state.tally.steps) == 0
    # Row 39 * 6 / 12 = 19.
    assert int(state.snapshots.steps[19]) == 6
    np.testing.assert_array_equal(state.snapshots.probabilities[19], report.evaluation.routing)
    assert float(report.train_loss) > 0


def test_the_first_step_whose_loss_is_not_finite_is_remembered(machine):
    state, report = machine.advance(machine.start(), 3)
    assert (int(report.bad_step), bool(report.finite)) == (0, True)
    banks = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), state.params["banks_0"])
    state = state._replace(params={**state.params, "banks_0": banks})
    for steps in (0, 2, 1):  # a later segment keeps it
        state, report = machine.advance(state, steps)
        assert not report.finite
        assert int(report.bad_step) == (0 if int(state.step) == 3 else 4)


def test_the_report_counts_blocks_and_entropy(machine):
    _, report = machine.advance(machine.start(), 0)
    # Uniform over 4 blocks: log 4 nats. Ties are broken by the lowest index: one block used.
    np.testing.assert_allclose(report.policy_entropy, [np.log(4)] * 2, rtol=1e-5)
    np.testing.assert_array_equal(report.blocks_used, [1, 1])


def test_a_vmap_over_hyperparameters_gives_each_its_own_run(tiny_config, digits):
    machine = Machine(tiny_config(reward__rho=0.3), digits)
    hypers = [
        hyperparams(tiny_config(training__seed=s, reward__rho=r)) for s, r in ((0, 0), (1, 1))
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *hypers)

    def losses(hyper):
        program, data = machine.run.program, (machine.train, machine.test)
        state = program.init(hyper, machine.train)
        state, report = program.segment(state, hyper, *data, jnp.int32(5), jnp.asarray(False))
        return report.train_loss, state.params["router"]["policy"]["table"]

    together = jax.jit(jax.vmap(losses))(stacked)
    for cell, hyper in enumerate(hypers):
        alone = jax.jit(losses)(hyper)
        mine = jax.tree.map(lambda leaf, cell=cell: leaf[cell], together)
        chex.assert_trees_all_close(mine, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"router__agent": "single", "reward__collaboration": "probability", "reward__rho": 0.5},
        {"router__decision_per": "task", "dispatch__strategy": "gather"},
        {"router__pass_action": True, "model__depth": 3, "router__epsilon": 0.2},
        {"model__bank": "shared", "model__depth": 4, "dispatch__strategy": "dense"},
        {"data__share_images": False, "data__augment": "crop_flip"},
        {"reward__final": "negative_loss", "router__wpl_convention": "abdallah_lesser"},
        {"optimizer__name": "adam", "optimizer__schedule": "cosine"},
        {"model__dtype": "bfloat16", "model__encoder": "conv4"},
    ],
    ids=lambda changes: ",".join(f"{name}={value}" for name, value in changes.items()),
)
# Adam of optax and bfloat16 batch normalisation of Flax promote types inside.
@jax.numpy_dtype_promotion("standard")
def test_every_choice_of_the_configuration_trains(tiny_config, digits, changes):
    machine = Machine(tiny_config(**changes), digits)
    before = machine.start()
    after, report = machine.advance(before, 2, evaluate=True)
    assert np.isfinite(report.train_loss)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before.params, after.params)
    assert all(any(jax.tree.leaves(moved[name])) for name in moved), moved
    np.testing.assert_allclose(after.params["router"]["policy"]["table"].sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "decisions"),
    [
        ({"reward__usage_window": 256}, 256),
        # Ten steps of ten tasks with eight examples each, or with one decision for all of them.
        ({"reward__usage_window": None}, 10 * 10 * 8),
        ({"reward__usage_window": None, "router__decision_per": "task"}, 10 * 10),
    ],
)
def test_the_window_of_the_collaboration_reward(tiny_config, digits, changes, decisions):
    run = make_run(tiny_config(**changes), digits)
    assert loop.abstract_state(run).usage.actions.shape == (2, decisions)


def test_blocks_that_nobody_chose_do_not_move(tiny_config, digits):
    # One example a task, ten tasks, 40 blocks: at most 10 blocks of a depth are used.
    config = tiny_config(model__num_blocks=40, training__examples_per_task=1)
    machine = Machine(config, digits)
    before = machine.start()
    after, _ = machine.advance(before, 1)
    kernels = [
        np.asarray(state.params["banks_0"]["blocks"]["Dense_0"]["kernel"])
        for state in (before, after)
    ]
    moved = (kernels[0] != kernels[1]).any((1, 2)).sum()
    assert 1 <= moved <= 10
