"""What the routed layers of a run cost, in multiply-adds for one example."""

import numpy as np

from routing_jax.models.factory import multiply_adds
from routing_jax.reporting.results import CostRecord
from routing_jax.training.evaluation import Evaluation
from routing_jax.training.program import Program


def routed_cost(
    program: Program, evaluation: Evaluation, allocation: np.ndarray | None
) -> CostRecord:
    """The cost of each block, and of those that each task runs.

    Args:
      program: of the run.
      evaluation: of what it is judged by, as NumPy arrays.
      allocation: bool [1, T, D, K], the blocks that are on; None where blocks are not switched.
    """
    of_block = multiply_adds(program.config, program.shape)
    most = max(map(len, of_block))
    costs = np.array([[*blocks, *[0] * (most - len(blocks))] for blocks in of_block])
    if allocation is None:
        allocation = _blocks_run(program, evaluation, most)[None]
    return CostRecord(of_block, (allocation * costs).sum((-2, -1)))


def _blocks_run(program: Program, evaluation: Evaluation, num_blocks: int) -> np.ndarray:
    """The share of a task's examples that run through each block: [T, D, K]."""
    name, (tasks, depth, _) = program.config.model.name, evaluation.taken.shape
    if name == "routing_network":  # PASS is behind the blocks
        return np.asarray(evaluation.taken, float)[..., :num_blocks]
    run = np.ones((tasks, depth, num_blocks), bool)
    if name == "compositional" and program.config.dispatch.apply != "mix_outputs":
        run[..., 1:] = False  # one block, whatever it is mixed from
    if name == "cross_stitch":  # the outputs of the last layer are nobody else's business
        run[:, -1] = np.eye(tasks, num_blocks)
    return run
