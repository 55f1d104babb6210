"""The network of Gumbel-Matrix routing: each task has the mean of the blocks allocated to it."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from routing_jax import mixtures
from routing_jax.models.network import MultiTaskNetwork, Routed, of_tasks
from routing_jax.models.routed_layers import mix_through
from routing_jax.routers.allocation import Allocation, FixedAllocation, mean_weights
from routing_jax.types import Exploration


class GumbelMatrixNetwork(MultiTaskNetwork):
    """Any subset of blocks serves a task at each depth; see `routers.allocation`.

    A training pass samples one subset for each task and depth and computes all blocks, as the
    gradient of the switches needs their outputs; with `skip_below` it leaves out those that are
    hardly ever on. Without exploration the more probable state of each switch counts, and blocks
    that are off for a task are not computed for it.

    Attributes:
      encoder, banks, bank_of_depth, head, dropout, norms: see `MultiTaskNetwork`.
      router: the switches.
      merge: "mean" of the blocks that are on, zero where none is, or their "sum", as the authors'
        baseline of a shared bottom has it.
      skip_below: in training, blocks that are on with less than this probability are off and not
        computed, so that the loss no longer moves their switches; penalties do. 0 for none.
    """

    router: Allocation | FixedAllocation
    merge: str = "mean"
    skip_below: float = 0.0

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
        probabilities = of_tasks(self.router.probabilities(), tasks)
        if training and not self.frozen_routes:
            switches = self.router.sample(self.make_rng("router"), exploration.temperature)
        else:
            switches = self.router.best()
        switches, computed = of_tasks(switches, tasks), None
        if training and self.skip_below:
            computed = probabilities >= self.skip_below
            switches = jnp.where(computed, switches, 0)
        weights = mean_weights(switches) if self.merge == "mean" else switches
        everything = training and not self.skip_below
        mix = mixtures.mix_outputs if everything else mixtures.mix_active
        banks = [self.banks[index] for index in self.bank_of_depth]
        x = mix_through(banks, x, weights, mix=mix, finish=self.norms, computed=computed)
        return Routed(
            self.answer(x, training=training, tasks=tasks),
            None,
            jax.lax.stop_gradient(probabilities)[:, None],
            allocation=probabilities,
        )
