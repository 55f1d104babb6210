"""Routed layers as one module, for a model of one's own."""

from collections.abc import Sequence
from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax import dispatch, mixtures
from routing_jax.blocks import BlockBank
from routing_jax.models.routed_layers import RoutedLayers, mix_through, stages_of
from routing_jax.routers.allocation import Allocation, FixedAllocation, mean_weights
from routing_jax.routers.mixture import Mixture
from routing_jax.routers.router import Router
from routing_jax.types import Exploration, Routes

_NEED = {
    "shared_bank": ("shared_bank", "one bank for each depth"),
    "pass": ("PASS", "build the router with pass_action for the other depths only"),
}
"""What needs blocks that keep the shape, and what to do without."""


class RoutedStack(nn.Module):
    """D routed layers, each a bank of K blocks from which the router chooses.

    A layer of a model like any other: it takes representations and gives representations, and the
    routes besides, which `rl.trajectories.trajectory` needs. Training draws from the random stream
    "router"; initialise the model with `train=False`, or give that stream too.

    Attributes:
      block: the block of all layers, or one for each; a Linen module that takes [m, ...] and has no
        state besides its parameters.
      router: what decides; see `build_router`. With an `Allocation` each task has the mean of the
        blocks that are on for it, with a `Mixture` weights for all blocks.
      block_noise: how much the blocks of a bank differ at the start; see `blocks.BlockBank`.
      shared_bank: one bank for all depths, which needs a block that keeps its input's shape.
      strategy: of `dispatch.select`.

    Raises:
      ValueError: the batch does not fit the router, there are more or fewer blocks than depths, or
        a block changes the shape where PASS or a shared bank needs it kept.
    """

    block: nn.Module | Sequence[nn.Module]
    router: Router | Allocation | FixedAllocation | Mixture
    block_noise: float = 0.1
    shared_bank: bool = False
    strategy: str = "auto"

    def setup(self) -> None:
        blocks = self._blocks()
        distinct = blocks[:1] if self.shared_bank else blocks
        self.banks = [
            BlockBank(block.clone(parent=None), self.router.num_blocks, self.block_noise)
            for block in distinct
        ]

    def __call__(
        self,
        x: jax.Array,
        tasks: jax.Array | None = None,
        *,
        train: bool = False,
        exploration: Exploration | None = None,
    ) -> tuple[jax.Array, Routes]:
        """Sends a batch along its routes.

        Args:
          x: representations [B, ...] with `tasks`; or [T, n, ...], n examples of each task.
          tasks: integers [B] in `0 .. T-1`, the task of each example.
          train: whether decisions are drawn; else the best ones are taken.
          exploration: what they are drawn with; by default what suits the router's rule.

        Returns:
          What the last layer gives, with the leading axes of `x`, and the routes, whose arrays lead
          with [T, n], or with [1, B] where there are `tasks`.
        """
        x, tasks = jnp.asarray(x), None if tasks is None else jnp.asarray(tasks)
        self._require_fit(x, tasks)
        if not train:
            exploration = None
        elif exploration is None:
            exploration = self.router.default_exploration
        if isinstance(self.router, Router):
            return self._choose(x, tasks, exploration)
        if isinstance(self.router, Mixture):
            return self._blend(x, tasks, exploration)
        return self._mix(x, tasks, exploration)

    def alternatives(self, routes: Routes) -> jax.Array:
        """What the last layer gives if one decision were another and all others stayed.

        For rules that learn from the losses of all actions; the answers to these and their losses
        are the model's. All blocks of a depth run on all examples, so this is for few of them.

        Args:
          routes: of the batch, as the call returned them.

        Returns:
          [D, A, T, n, ...], or [D, A, B, ...] where the batch had `tasks`. Where an action is not
          offered nothing is meant by it.

        Raises:
          ValueError: the router's rule is another one, which does not keep what this starts from.
        """
        if not isinstance(self.router, Router) or not self.router.full_information:
            raise ValueError(
                "this router does not learn from the losses of all actions: build it with "
                "build_router('hedge', ...), or leave the alternatives out."
            )
        x = routes.observations[0]
        stages = stages_of(self.router, self._bank_of_depth())
        layers = RoutedLayers(self.router, stages, self.strategy)
        found = [
            rows.reshape(x.shape[0], self.router.num_actions, x.shape[1], *rows.shape[2:])
            for rows in layers.alternatives(x, routes.decisions.actions)
        ]
        found = jnp.moveaxis(jnp.stack(found), 2, 1)
        return found if routes.tasks is None else found[:, :, 0]

    def _choose(
        self, x: jax.Array, tasks: jax.Array | None, exploration: Exploration | None
    ) -> tuple[jax.Array, Routes]:
        banks = self._bank_of_depth()
        layers = RoutedLayers(self.router, stages_of(self.router, banks), self.strategy)
        mixed = tasks is not None
        rows, tasks = (x[None], tasks[None]) if mixed else (x, None)
        if self.is_initializing():
            self.router.initialise(self._states(layers, rows), tasks)
        out, routes = layers.route(rows, exploration, tasks)
        if exploration is not None:
            routes = routes._replace(key=self.make_rng("router"))
        return (out[0] if mixed else out), routes

    def _mix(
        self, x: jax.Array, tasks: jax.Array | None, exploration: Exploration | None
    ) -> tuple[jax.Array, Routes]:
        if exploration is None:
            switches = self.router.best()
        else:
            switches = self.router.sample(self.make_rng("router"), exploration.temperature)
        weights, banks = mean_weights(switches), self._bank_of_depth()
        self._require_one_shape(x if tasks is not None else x[0])
        if tasks is not None:  # rows of one example each
            rows = mix_through(banks, x[:, None], weights[tasks], mix=mixtures.mix_outputs)[:, 0]
        else:
            mix = mixtures.mix_active if exploration is None else mixtures.mix_outputs
            rows = mix_through(banks, x, weights, mix=mix)
        on = self.router.probabilities()
        routes = Routes(None, jax.lax.stop_gradient(on)[:, None], (), exploration, allocation=on)
        return rows, routes

    def _blend(
        self, x: jax.Array, tasks: jax.Array | None, exploration: Exploration | None
    ) -> tuple[jax.Array, Routes]:
        weights, banks = self.router.weights(), self._bank_of_depth()
        self._require_one_shape(x if tasks is not None else x[0])
        routes = Routes(None, jax.lax.stop_gradient(weights)[:, None], (), exploration)
        if self.router.of == "parameters":
            rows, row_tasks = (x, None) if tasks is None else (x[None], tasks[None])
            for depth, bank in enumerate(banks):
                rows = self._run_mixed(bank, rows, row_tasks, weights[:, depth])
            return (rows if tasks is None else rows[0]), routes
        if tasks is None:
            return mix_through(banks, x, weights, mix=mixtures.mix_outputs), routes
        rows = mix_through(banks, x[:, None], weights[tasks], mix=mixtures.mix_outputs)
        return rows[:, 0], routes

    def _run_mixed(
        self, bank: BlockBank, x: jax.Array, tasks: jax.Array | None, weights: jax.Array
    ) -> jax.Array:
        """One depth of [T, n, ...], or of [1, B, ...] with the tasks of the examples.

        The mixtures of a mixed batch are a bank of T blocks, from which each example takes that of
        its task.
        """
        if tasks is None:
            return mixtures.mix_parameters(bank.apply_block, bank(x[0]), x, weights)
        return dispatch.select(
            bank.apply_block,
            mixtures.mixed_blocks(bank(x[0]), weights),
            x,
            tasks,
            strategy=self.strategy,
            apply_ragged=bank.apply_ragged,
        )

    def _states(self, layers: RoutedLayers, x: jax.Array) -> tuple[jax.Array, ...]:
        """What stands before each depth; refuses blocks that change what has to be kept."""
        states = []
        for depth, (before, after) in enumerate(pairwise(layers.states(x))):
            states.append(before)
            if self.shared_bank or layers.stages[depth].may_pass:
                need = "shared_bank" if self.shared_bank else "pass"
                _require_kept(need, before.shape[2:], after.shape[2:], depth)
        return tuple(states)

    def _require_one_shape(self, rows: jax.Array) -> None:
        """Refuses a block that changes rows [n, ...] where one bank of it serves all depths."""
        if self.shared_bank:
            bank = self.banks[0]
            first = jax.tree.map(lambda leaf: leaf[0], bank(rows))
            after = jax.eval_shape(bank.apply_block, first, rows)
            _require_kept("shared_bank", rows.shape[1:], after.shape[1:], 0)

    def _bank_of_depth(self) -> list[BlockBank]:
        return [self.banks[0 if self.shared_bank else d] for d in range(self.router.depth)]

    def _blocks(self) -> Sequence[nn.Module]:
        """The block of each depth."""
        depth = self.router.depth
        if isinstance(self.block, nn.Module):
            return [self.block] * depth
        if len(self.block) != depth:
            raise ValueError(
                f"there are {len(self.block)} blocks for the {depth} depths of the router; give "
                "one block for each depth, or a single one for all."
            )
        return self.block

    def _require_fit(self, x: jax.Array, tasks: jax.Array | None) -> None:
        """Raises ValueError where the batch is not one of the two layouts."""
        count = self.router.num_tasks
        if tasks is None and (x.ndim < 3 or x.shape[0] != count):
            raise ValueError(
                f"x of shape {x.shape} is not [T, n, ...] with T = {count} tasks; give `tasks`, "
                "the task of each example, for a batch [B, ...]."
            )
        if tasks is None:
            return
        if tasks.shape != x.shape[:1] or not jnp.issubdtype(tasks.dtype, jnp.integer):
            raise ValueError(
                f"tasks of shape {tasks.shape} and type {tasks.dtype} does not go with x of shape "
                f"{x.shape}: give one integer for each of the {x.shape[0]} examples."
            )


def _require_kept(need: str, before: tuple[int, ...], after: tuple[int, ...], depth: int) -> None:
    """Raises ValueError where a block changes the shape of an example; `need` is of `_NEED`."""
    if before != after:
        what, remedy = _NEED[need]
        raise ValueError(
            f"{what} needs blocks that keep the shape of their input, and the block at depth "
            f"{depth} makes {after} of {before}. Use another block, or {remedy}."
        )
