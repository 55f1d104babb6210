"""The compositional network: residual blocks mixed from templates, for each task and depth."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax import mixtures
from routing_jax.models.network import MultiTaskNetwork, Routed, of_tasks
from routing_jax.routers.mixing import FixedMixing, Mixing
from routing_jax.types import Exploration, Params


class RunningAverages(nn.Module):
    """The running averages of a block's normalisations, for each place that calls it.

    Attributes:
      block: the block.
      places: (D, T, K): of depths, tasks and templates; 1 where all of them share.
    """

    block: nn.Module
    places: tuple[int, int, int]

    @nn.compact
    def __call__(self, x: jax.Array) -> Params:
        """The averages, each leaf [*places, F].

        Args:
          x: an input of the block; only its shape and type count.
        """
        return self.variable("batch_stats", "averages", self._start, x).value

    def move(self, of_depths: Sequence[Params]) -> None:
        """Takes what the D depths found, each leaf [T, K, F]; places that share take the mean."""
        shared = tuple(axis for axis, count in enumerate(self.places) if count == 1)

        def join(*leaves: jax.Array) -> jax.Array:
            return jnp.stack(leaves).mean(shared, keepdims=True)

        self.put_variable("batch_stats", "averages", jax.tree.map(join, *of_depths))

    def _start(self, x: jax.Array) -> Params:
        block = self.block.clone(parent=None)
        one = block.init(jax.random.key(0), x)["batch_stats"]
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*self.places, leaf.size)), one)


class CompositionalNetwork(MultiTaskNetwork):
    """Each depth runs, for each task, one block mixed from the templates of a bank.

    Zhmoginov, Bashkirova, Sandler, "Compositional Models: Multi-Task Learning and Knowledge
    Transfer with Modular Networks", 2021. One bank serves all depths and tasks; what a task adds is
    its mixing weights and its head. A training pass normalises by the batch and moves the running
    averages, which normalise all other passes: those do not depend on the batch.

    Attributes:
      encoder, banks, bank_of_depth, head, dropout, norms: see `MultiTaskNetwork`.
      router: the mixing weights.
      averages: of the blocks' normalisations.
      adapter: stands between the last block and the heads; one for all tasks.
      num_tasks: T.
      mix_outputs: run all templates and mix what they give, in place of their parameters.
    """

    router: Mixing | FixedMixing
    averages: RunningAverages
    adapter: nn.Module
    num_tasks: int
    mix_outputs: bool = False

    def route(
        self,
        x: jax.Array,
        exploration: Exploration | None = None,
        tasks: jax.Array | None = None,
    ) -> Routed:
        """Runs representations [T, n, ...]; `probabilities` are the mixing weights.

        Running averages can only move where representations are of all tasks.
        """
        training = exploration is not None
        moving = training and not self.frozen_statistics
        tempered = moving or (training and self.is_initializing())
        weights = self.router.weights(exploration.temperature if tempered else None)
        weights = _rows(weights, tasks)
        averages, found = self.averages(x[0]), []
        for depth in range(len(self.bank_of_depth)):
            here = _averages_at(averages, depth, tasks, count=len(x))
            x, moved = self._run_depth(depth, x, here, weights, moving=moving)
            found.append(moved)
        if moving and not self.is_initializing():
            self.averages.move(found)
        probabilities = jnp.broadcast_to(weights, (len(x), *weights.shape[1:]))
        adapted = self.adapter(x)
        return Routed(
            self.answer(adapted, training=training, tasks=tasks),
            None,
            jax.lax.stop_gradient(probabilities)[:, None],
            features=(x, adapted),
        )

    def _run_depth(
        self, depth: int, x: jax.Array, averages: Params, weights: jax.Array, *, moving: bool
    ) -> tuple[jax.Array, Params]:
        """One depth of [T, n, ...], and the moved averages, each leaf [T, K or 1, F]."""
        bank = self.banks[self.bank_of_depth[depth]]
        block, blocks = bank.block.clone(parent=None), bank(x[0])
        weights = weights[:, depth, : bank.num_blocks]

        def run(params: Params, rows: jax.Array, own: Params) -> tuple[jax.Array, Params]:
            variables = {"params": params, "batch_stats": own}
            if not moving:
                return block.apply(variables, rows), own
            out, moved = block.apply(variables, rows, train=True, mutable=["batch_stats"])
            return out, moved["batch_stats"]

        if self.mix_outputs:
            each_task = jax.vmap(run, (None, 0, 0), axis_name=mixtures.TASKS)
            outputs, moved = jax.vmap(each_task, (0, None, 1), (0, 1))(blocks, x, averages)
            weights = jnp.broadcast_to(weights, (len(x), weights.shape[1]))
            return mixtures.mix(outputs, weights), moved
        only = jax.tree.map(lambda leaf: leaf[:, 0], averages)
        mixed = mixtures.mix_parameters(lambda p, xs: run(p, *xs), blocks, (x, only), weights)
        return mixed[0], jax.tree.map(lambda leaf: leaf[:, None], mixed[1])


def _averages_at(averages: Params, depth: int, tasks: jax.Array | None, *, count: int) -> Params:
    """Averages [D or 1, T or 1, K or 1, F] at a depth, each leaf [count, K or 1, F].

    Of the `count` tasks that are named, or of all.
    """

    def of_leaf(leaf: jax.Array) -> jax.Array:
        here = _rows(leaf[min(depth, leaf.shape[0] - 1)], tasks)
        return jnp.broadcast_to(here, (count, *here.shape[1:]))

    return jax.tree.map(of_leaf, averages)


def _rows(of_task: jax.Array, tasks: jax.Array | None) -> jax.Array:
    """`network.of_tasks` of rows [T or 1, ...]; a single one is of all tasks."""
    return of_task if of_task.shape[0] == 1 else of_tasks(of_task, tasks)
