"""Many cells of a sweep as one compiled program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from routing_jax.mesh import by_cells
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

        def of_cell(common: tuple, own: Hyperparams) -> TrainState:
            return self.program.init(own, *common)

        state = self._map(of_cell, (train, given), hyper)
        return state._replace(step=jnp.int32(0))

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

        common = (state.step, train, test, steps, evaluate_now)

        def of_cell(common: tuple, own: tuple) -> tuple[TrainState, SegmentReport]:
            step, *arguments = common
            return self.program.segment(own[0]._replace(step=step), own[1], *arguments)

        after, report = self._map(of_cell, common, (state._replace(step=None), hyper))
        # All cells are at the same step, which none need be asked for.
        step = state.step + steps
        return after._replace(step=step), report._replace(step=step)

    def evaluate(self, state: TrainState, hyper: Hyperparams, test: MultiTaskData) -> Evaluation:
        """`Program.evaluate` of all cells."""

        def of_cell(common: tuple, own: tuple) -> Evaluation:
            step, test = common
            return self.program.evaluate(own[0]._replace(step=step), own[1], test)

        return self._map(of_cell, (state.step, test), (state._replace(step=None), hyper))

    def _map(self, function: Callable, common: object, cells: object) -> object:
        """`function(common, cell)` of each cell, stacked; on a mesh each device has some cells."""

        def mapped(common: object, cells: object) -> object:
            of_cell = partial(function, common)
            num_cells = jax.tree.leaves(cells)[0].shape[0]
            at_once = min(self.together, num_cells)
            if at_once == num_cells > 1:
                return jax.vmap(of_cell)(cells)
            # With a batch size of 1 `lax.map` would still add an axis to every product.
            return jax.lax.map(of_cell, cells, batch_size=at_once if at_once > 1 else None)

        return by_cells(mapped, common, cells)


def of_cell(report: SegmentReport, cell: int) -> SegmentReport:
    """One cell's part of a report (of NumPy arrays)."""
    own = jax.tree.map(lambda leaf: leaf[cell], report._replace(step=None))
    return own._replace(step=report.step)
