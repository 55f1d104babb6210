"""A cell of a sweep gets what its own run would have got."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.sweep.cells import CellsProgram, of_cell, stack_hyperparams
from routing_jax.training import loop
from routing_jax.training.run import make_run
from routing_jax.training.state import hyperparams

CHANGES = [
    {"reward__rho": 0.0, "training__seed": 0},
    {"reward__rho": 0.5, "training__seed": 1, "router__learning_rate": 0.3},
    {"reward__rho": 0.5, "training__seed": 0, "model__block_noise": 0.2},
]


class Machine:
    """A compiled start and segment, for any hyperparameters."""

    def __init__(self, program, tasks):
        data = (loop.to_device(tasks.train), loop.to_device(tasks.test))
        self._init = jax.jit(lambda hyper: program.init(hyper, data[0]))
        self._segment = jax.jit(
            lambda state, hyper, steps: program.segment(
                state, hyper, *data, steps, jnp.asarray(True)
            )
        )

    def advance(self, hyper, steps):
        return jax.device_get(self._segment(self._init(hyper), hyper, jnp.int32(steps)))


def state_of(state, cell):
    own = jax.tree.map(lambda leaf: leaf[cell], state._replace(step=None))
    return own._replace(step=state.step)


@pytest.fixture(scope="module", params=["flatten", "conv4"])
def singles(request, tiny_config, digits):
    """The runs of three cells, and what each comes to by itself within ten steps."""
    encoder = {"model__encoder": request.param}
    runs = [make_run(tiny_config(**encoder, **change), digits) for change in CHANGES]
    machine = Machine(runs[0].program, digits)
    return runs, [machine.advance(run.hyper, 10) for run in runs]


def test_cells_that_take_turns_equal_their_own_runs_bit_for_bit(singles, digits):
    runs, alone = singles
    cells = CellsProgram(runs[0].program, together=1)
    hyper = stack_hyperparams([run.hyper for run in runs])
    state, report = Machine(cells, digits).advance(hyper, 10)
    for cell, (own_state, own_report) in enumerate(alone):
        chex.assert_trees_all_equal(state_of(state, cell), own_state)
        chex.assert_trees_all_equal(of_cell(report, cell), own_report)


@pytest.mark.parametrize("together", [2, 3])
def test_cells_under_one_vmap_equal_their_own_runs(singles, digits, together):
    runs, alone = singles
    if together == 2 and runs[0].program.config.model.encoder == "conv4":
        pytest.skip("the remainder of the groups is tested without convolutions")
    cells = CellsProgram(runs[0].program, together)
    hyper = stack_hyperparams([run.hyper for run in runs])
    state, report = Machine(cells, digits).advance(hyper, 10)
    assert state.step.shape == report.step.shape == ()
    for cell, (own_state, own_report) in enumerate(alone):
        mine = state_of(state, cell)
        # The same decisions, to the last one; data, counts and steps too. Floats may be rounded.
        np.testing.assert_array_equal(mine.usage.actions, own_state.usage.actions)
        np.testing.assert_array_equal(mine.snapshots.steps, own_state.snapshots.steps)
        chex.assert_trees_all_close(mine.params, own_state.params, rtol=1e-5, atol=1e-5)
        chex.assert_trees_all_close(mine.optimizer, own_state.optimizer, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(report.train_loss[cell], own_report.train_loss, rtol=1e-5)


@pytest.mark.parametrize("together", [1, 2])
def test_a_cell_that_diverges_leaves_the_others_as_they_are(tiny_config, digits, together):
    rates = (0.1, 1e30)
    runs = [make_run(tiny_config(optimizer__learning_rate=rate), digits) for rate in rates]
    cells = CellsProgram(runs[0].program, together)
    hyper = stack_hyperparams([run.hyper for run in runs])
    _, report = Machine(cells, digits).advance(hyper, 6)
    _, alone = Machine(runs[0].program, digits).advance(runs[0].hyper, 6)
    np.testing.assert_array_equal(report.finite, [True, False])
    np.testing.assert_allclose(report.train_loss[0], alone.train_loss, rtol=1e-5)


def test_a_single_cell_is_a_sweep_too(tiny_config, digits):
    run = make_run(tiny_config(), digits)
    for together in (1, 2):
        cells = CellsProgram(run.program, together)
        state, _ = Machine(cells, digits).advance(stack_hyperparams([run.hyper]), 2)
        assert state.usage.actions.shape[0] == 1


def test_hyperparameters_are_stacked(tiny_config):
    stacked = stack_hyperparams([hyperparams(tiny_config(reward__rho=rho)) for rho in (0.0, 0.5)])
    np.testing.assert_array_equal(stacked.rho, np.array([0.0, 0.5], np.float32))
    assert (stacked.seed.shape, stacked.seed.dtype) == ((2,), np.uint32)
