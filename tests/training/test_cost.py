"""What the routed layers of a run cost."""

import numpy as np
import pytest

from routing_jax.training.cost import routed_cost
from routing_jax.training.evaluation import Evaluation
from routing_jax.training.run import make_run


def test_examples_that_part_are_counted_each_by_its_own_block(tiny_config, digits):
    run = make_run(tiny_config(router__pass_action=True, model__head="own"), digits)
    costs = np.array(routed_cost(run.program, shares(0.0), None).of_block)
    # A quarter through one block, a quarter through another, and half of them pass.
    found = routed_cost(run.program, shares(0.25), None)
    np.testing.assert_allclose(found.per_task, np.full((1, 10), 0.5 * costs[:, 0].sum()))


def shares(share):
    """Ten tasks, two depths, four blocks and PASS."""
    taken = np.zeros((10, 2, 5))
    taken[..., :2], taken[..., 4] = share, 1 - 2 * share
    return Evaluation({}, taken, taken)


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_the_greedy_action_is_that_of_most_examples(share):
    taken = np.array([[[share, 1 - share]]])
    assert Evaluation({}, taken, taken).greedy.tolist() == [[int(share < 0.5)]]
