"""A cell of a sweep gets what its own run would have got."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.sweep.cells import CellsProgram, stack_hyperparams
from routing_jax.training import loop
from routing_jax.training.run import make_run
from routing_jax.training.state import hyperparams

CHANGES = [
    {"reward__rho": 0.0, "training__seed": 0},
    {"reward__rho": 0.5, "training__seed": 1, "router__learning_rate": 0.3},
    {"reward__rho": 0.5, "training__seed": 0, "model__block_noise": 0.2},
    {"optimizer__learning_rate": 1e30},  # diverges at once, and harms nobody
]
SOUND = 3


class Machine:
    """A compiled start and segment, for any hyperparameters."""

    def __init__(self, program, tasks):
        data = (loop.to_device(tasks.train), loop.to_device(tasks.test))
        self._init = jax.jit(lambda hyper: program.init(hyper, data[0]))
        self._segment = jax.jit(
            lambda state, hyper, steps: program.segment(
                state, hyper, *data, steps, jnp.asarray(False)
            )
        )

    def advance(self, hyper, steps):
        return jax.device_get(self._segment(self._init(hyper), hyper, jnp.int32(steps)))


def state_of(state, cell):
    own = jax.tree.map(lambda leaf: leaf[cell], state._replace(step=None))
    return own._replace(step=state.step)


@pytest.fixture(scope="module", params=["flatten", pytest.param("conv4", marks=pytest.mark.slow)])
def singles(request, tiny_config, digits):
    """The runs of four cells, and what each of the sound ones comes to by itself in ten steps."""
    encoder = {"model__encoder": request.param}
    runs = [make_run(tiny_config(**encoder, **change), digits) for change in CHANGES]
    machine = Machine(runs[0].program, digits)
    return runs, [machine.advance(run.hyper, 10) for run in runs[:SOUND]]


def cells_of(runs, digits, *, together):
    cells = CellsProgram(runs[0].program, together)
    return Machine(cells, digits).advance(stack_hyperparams([run.hyper for run in runs]), 10)


@pytest.mark.parametrize("together", [1, 3, 4])
def test_cells_equal_their_own_runs(singles, digits, together):
    # One after the other; under one `vmap`; and in a group of three, with the fourth left over.
    runs, alone = singles
    state, report = cells_of(runs, digits, together=together)
    assert state.step.shape == report.step.shape == ()
    for cell, (own_state, own_report) in enumerate(alone):
        mine = state_of(state, cell)
        # The same decisions, to the last one; data, counts and steps too. Floats may be rounded.
        np.testing.assert_array_equal(mine.usage.actions, own_state.usage.actions)
        np.testing.assert_array_equal(mine.tally.steps, own_state.tally.steps)
        chex.assert_trees_all_close(mine.params, own_state.params, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(report.train_loss[cell], own_report.train_loss, rtol=1e-5)
    np.testing.assert_array_equal(report.finite, [True, True, True, False])


def test_a_single_cell_is_a_sweep_too(tiny_config, digits):
    run = make_run(tiny_config(), digits)
    cells = CellsProgram(run.program, together=1)
    shapes = jax.eval_shape(cells.init, stack_hyperparams([run.hyper]), digits.train)
    assert shapes.usage.actions.shape[0] == 1
    assert shapes.step.shape == ()


def test_hyperparameters_are_stacked(tiny_config):
    stacked = stack_hyperparams([hyperparams(tiny_config(reward__rho=rho)) for rho in (0.0, 0.5)])
    np.testing.assert_array_equal(stacked.rho, np.array([0.0, 0.5], np.float32))
    assert (stacked.seed.shape, stacked.seed.dtype) == ((2,), np.uint32)
