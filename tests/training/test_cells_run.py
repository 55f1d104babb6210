"""What the training loop is told of many cells at once."""

import numpy as np
import pytest

from routing_jax.sweep.cells_run import AllCellsFailedError, failed_steps, spread, together
from routing_jax.training.evaluation import Evaluation
from routing_jax.training.pace import Pace
from routing_jax.training.program import SegmentReport
from routing_jax.training.run import make_run


class NoCheckpoints:
    def finish(self):
        """Nothing is being written."""


def report(bad_step=(0, 0, 0), finite=(True, True, True)):
    """Three cells after step 8; two depths, one task."""
    zeros = np.zeros((3, 1))
    return SegmentReport(
        step=np.int32(8),
        bad_step=np.array(bad_step),
        finite=np.array(finite),
        train_loss=np.array([0.5, np.nan, 0.1]),
        train_metrics={"accuracy": np.array([0.7, 0.0, 0.9])},
        policy_entropy=np.array([[1.0, 2.0], [np.nan, np.nan], [2.0, 3.0]]),
        blocks_used=np.array([[4, 2], [1, 1], [2, 2]]),
        evaluation=Evaluation({"accuracy": np.array([[0.6], [0.0], [0.8]])}, zeros, zeros),
    )


@pytest.fixture
def run(tiny_config, digits):
    own = [make_run(tiny_config(training__seed=seed), digits) for seed in range(3)]
    return together(own, about="program 1 of 2")


def test_a_cell_fails_at_its_first_bad_loss_or_where_its_parameters_are_seen_to_be_bad():
    failed = failed_steps(report(bad_step=(0, 3, 0), finite=(True, False, False)))
    np.testing.assert_array_equal(failed, [0, 3, 8])


def test_medians_and_spread_leave_failed_cells_out(run):
    pace = Pace()
    pace.stepped(1, 1.0)
    pace.stepped(1, 0.5)
    line = run.progress_report(report(bad_step=(0, 3, 0)), pace, {"accuracy": 0.7})
    # Losses 0.5 and 0.1; entropies 1.5 and 2.5; three cells of 10 tasks x 8 examples in 0.5 s.
    assert (line.loss, line.policy_entropy) == pytest.approx((0.3, 2.0))
    assert line.metrics == pytest.approx({"accuracy": 0.8})
    assert line.test_metrics == {"accuracy": 0.7}
    assert line.blocks_used == (3, 2)
    assert line.examples_per_second == pytest.approx(3 * 80 / 0.5)
    assert line.note == "median of 2 cells (70.0 % to best 90.0 %), 1 failed, program 1 of 2"
    assert run.tested(report(bad_step=(0, 3, 0))) == pytest.approx({"accuracy": 0.7})


def test_the_spread_of_cells_that_are_all_sound():
    values, sound = np.array([0.5, 0.9]), np.array([True, True])
    text = spread("accuracy", values, sound)
    assert text == "median of 2 cells (50.0 % to best 90.0 %)"
    assert spread("mse", values, sound) == "median of 2 cells (0.9 to best 0.5)"


def test_a_record_holds_every_cell(run):
    record = run.record(report(bad_step=(0, 3, 0)))
    assert record["epoch"] == [8 * 8 / 1437] * 3
    assert [float(value) for value in record["test_accuracy"]] == [0.6, 0.0, 0.8]
    np.testing.assert_array_equal(record["failed_step"], [0, 3, 0])


def test_only_when_no_cell_is_left_the_run_ends(run):
    run.require_sound(report(bad_step=(2, 3, 0)), NoCheckpoints())
    with pytest.raises(AllCellsFailedError, match="^All 3 cells have diverged by step 8.$") as all_:
        run.require_sound(report(bad_step=(2, 3, 0), finite=(False,) * 3), NoCheckpoints())
    np.testing.assert_array_equal(all_.value.failed_steps, [2, 3, 8])
