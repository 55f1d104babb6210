"""The network of Gumbel-Matrix routing: each task has the mean of the blocks allocated to it."""

from typing import ClassVar

import jax

from routing_jax import dispatch
from routing_jax.models.network import MultiTaskNetwork, Routed, of_tasks
from routing_jax.models.routed_layers import mix_through
from routing_jax.routers.allocation import Allocation, FixedAllocation, mean_weights
from routing_jax.types import Exploration


class GumbelMatrixNetwork(MultiTaskNetwork):
    """Any subset of blocks serves a task at each depth; see `routers.allocation`.

    A training pass samples one subset for each task and depth and computes all blocks, as the
    gradient of the switches needs their outputs. Without exploration the more probable state of
    each switch counts, and blocks that are off for a task are not computed for it.

    Attributes:
      encoder, banks, bank_of_depth, head, dropout, norms: see `MultiTaskNetwork`.
      router: the switches.
      merge: "mean" of the blocks that are on, zero where none is, or their "sum", as the authors'
        baseline of a shared bottom has it.
    """

    router: Allocation | FixedAllocation
    merge: str = "mean"

    switches_blocks: ClassVar[bool] = True

    @property
    def num_tasks(self) -> int:
        """T."""
        return self.router.num_tasks

    def route(
        self,
        x: jax.Array,
        exploration: Exploration | None = None,
        tasks: jax.Array | None = None,
    ) -> Routed:
        """Runs representations [T, n, ...]; `probabilities` are those of the switches."""
        training = exploration is not None
        if training:
            switches = self.router.sample(self.make_rng("router"), exploration.temperature)
        else:
            switches = self.router.best()
        switches = of_tasks(switches, tasks)
        weights = mean_weights(switches) if self.merge == "mean" else switches
        mix = dispatch.mix_outputs if training else dispatch.mix_active
        banks = [self.banks[index] for index in self.bank_of_depth]
        x = mix_through(banks, x, weights, mix=mix, finish=self.norms)
        probabilities = of_tasks(self.router.probabilities(), tasks)
        return Routed(
            self.answer(x, training=training, tasks=tasks),
            None,
            jax.lax.stop_gradient(probabilities)[:, None],
            allocation=probabilities,
        )
