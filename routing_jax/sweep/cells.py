"""Many cells of a sweep as one compiled program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from routing_jax.training.evaluation import Evaluation
from routing_jax.training.program import Arrays, Program, SegmentReport
from routing_jax.training.state import Hyperparams, TrainState
from routing_jax.types import MultiTaskData


def stack_hyperparams(cells: Sequence[Hyperparams]) -> Hyperparams:
    """Hyperparameters of S cells, each [S]."""
    return jax.tree.map(lambda *values: jnp.stack(values), *cells)


def stacked_together(num_cells: int) -> int:
    """How many cells a program on this device computes under one `vmap`.

    On CPU one: a `vmap`ped matrix product is a batched one, which XLA's CPU backend runs on a
    single core, while cell after cell each step is the very computation of a single run. An
    accelerator is filled by computing all cells at once.
    """
    return 1 if jax.default_backend() == "cpu" else num_cells


@dataclass(frozen=True)
class CellsProgram:
    """The functions of `Program` for S cells; states and reports gain a leading S axis.

    The cells keep step with each other, so `step` has no such axis.

    Attributes:
      program: of one cell; only traced fields differ between the cells.
      together: cells under one `vmap`, in 1 .. S; the groups of that size take turns inside the
        program.
    """

    program: Program
    together: int

    def init(
        self, hyper: Hyperparams, train: MultiTaskData, given: Arrays | None = None
    ) -> TrainState:
        """The states before the first step; `given` has no S axis, as all cells start from it."""
        state = self._map(lambda own: self.program.init(own, train, given), hyper)
        return state._replace(step=state.step[0])

    def segment(
        self,
        state: TrainState,
        hyper: Hyperparams,
        train: MultiTaskData,
        test: MultiTaskData,
        steps: jax.Array,
        evaluate_now: jax.Array,
    ) -> tuple[TrainState, SegmentReport]:
        """`Program.segment` of all cells, over the same data."""

        def of_cell(own: tuple[TrainState, Hyperparams]) -> tuple[TrainState, SegmentReport]:
            before = own[0]._replace(step=state.step)
            return self.program.segment(before, own[1], train, test, steps, evaluate_now)

        after, report = self._map(of_cell, (state._replace(step=None), hyper))
        return after._replace(step=after.step[0]), report._replace(step=report.step[0])

    def evaluate(self, state: TrainState, hyper: Hyperparams, test: MultiTaskData) -> Evaluation:
        """`Program.evaluate` of all cells."""

        def of_cell(own: tuple[TrainState, Hyperparams]) -> Evaluation:
            return self.program.evaluate(own[0]._replace(step=state.step), own[1], test)

        return self._map(of_cell, (state._replace(step=None), hyper))

    def _map(self, function: Callable, cells: object) -> object:
        """`function` of each cell, stacked."""
        num_cells = jax.tree.leaves(cells)[0].shape[0]
        if self.together == num_cells > 1:
            return jax.vmap(function)(cells)
        # With a batch size of 1 `lax.map` would still add an axis to every product.
        return jax.lax.map(function, cells, batch_size=self.together if self.together > 1 else None)


def of_cell(report: SegmentReport, cell: int) -> SegmentReport:
    """One cell's part of a report (of NumPy arrays)."""
    own = jax.tree.map(lambda leaf: leaf[cell], report._replace(step=None))
    return own._replace(step=report.step)
