"""Routed layers as functions of bound modules, for every model that has a router over banks."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from routing_jax import block_groups, dispatch
from routing_jax.blocks import Bank
from routing_jax.dispatch import Stage
from routing_jax.routers.router import Router
from routing_jax.types import Decisions, Exploration, Routes

Mix = Callable[..., jax.Array]
"""`mixtures.mix_outputs` or `mixtures.mix_active`."""


Finish = Callable[[jax.Array], jax.Array]
"""Of a `dispatch.Stage`."""


class RoutedLayers(NamedTuple):
    """A router and what it routes through; the modules are bound to parameters.

    Batches are [T, n, ...], or mixed, [1, B, ...] with the `tasks` of the examples (int32 [1, B]).
    """

    router: Router
    stages: Sequence[Stage]
    strategy: str
    """Of `dispatch.route`."""

    def route(
        self, x: jax.Array, exploration: Exploration | None, tasks: jax.Array | None = None
    ) -> tuple[jax.Array, Routes]:
        """Sends representations along their routes, the best ones without exploration.

        Args:
          x: [T, n, ...].
          exploration: what decisions are drawn with.
          tasks: of a mixed batch.

        Returns:
          What the last layer gives, [T, n, ...], and the routes.
        """
        agents = self.router.assign(x, exploration, tasks)
        if self.router.decides_ahead:
            return self._route_ahead(x, agents, exploration, tasks)
        return self._route_step_by_step(x, agents, exploration, tasks)

    def follow(self, x: jax.Array, actions: jax.Array) -> jax.Array:
        """What the last layer gives of x [T, n, ...] along int32 actions [T, n or 1, D]."""
        if actions.shape[1] == 1:  # one route per task
            actions = actions[:, 0]
        return self._pass(self.stages, x, actions)

    def alternatives(self, x: jax.Array, actions: jax.Array) -> Iterator[jax.Array]:
        """What the last layer gives if the decision at one depth were another, depth by depth.

        Args:
          x: representations [T, n, ...].
          actions: int32 [T, n, D], all other decisions.

        Yields:
          [T, A * n, ...], actions outermost.
        """
        for depth, stage in enumerate(self.stages):
            rows = self._every_action(stage, x)
            if self.stages[depth + 1 :]:
                later = jnp.tile(actions[..., depth + 1 :], (1, self.router.num_actions, 1))
                rows = self._pass(self.stages[depth + 1 :], rows, later)
            yield rows
            x = self._pass([stage], x, actions[..., depth : depth + 1])

    def states(self, x: jax.Array) -> Iterator[jax.Array]:
        """What stands before each depth and behind the last, along the first block of each bank."""
        yield x
        first = jnp.zeros((x.shape[0], 1), jnp.int32)
        for stage in self.stages:
            x = dispatch.route([stage._replace(may_pass=False)], x, first)
            yield x

    def _pass(self, stages: Sequence[Stage], x: jax.Array, actions: jax.Array) -> jax.Array:
        """`dispatch.route` by the strategy of these layers."""
        return dispatch.route(stages, x, actions, strategy=self.strategy)

    def _route_ahead(
        self,
        x: jax.Array,
        agents: jax.Array,
        exploration: Exploration | None,
        tasks: jax.Array | None,
    ) -> tuple[jax.Array, Routes]:
        choice = self.router.decide_ahead(agents, exploration, tasks)
        shape = (*x.shape[:2], choice.actions.shape[-1])
        decisions = Decisions(jnp.broadcast_to(choice.actions, shape), agents)
        seen = self._observations([x])
        routes = Routes(decisions, choice.probabilities, seen, exploration, tasks)
        return self.follow(x, choice.actions), routes

    def _route_step_by_step(
        self,
        x: jax.Array,
        agents: jax.Array,
        exploration: Exploration | None,
        tasks: jax.Array | None,
    ) -> tuple[jax.Array, Routes]:
        states, actions, probabilities = [], [], []
        for depth, stage in enumerate(self.stages):
            states.append(x)
            choice = self.router.decide(depth, x, agents, exploration, tasks)
            if choice.scale is not None:
                scale = choice.scale.reshape(choice.scale.shape + (1,) * (x.ndim - 2))
                x = x * scale.astype(x.dtype)
            by_task = self.router.per_task and tasks is None
            chosen = choice.actions[:, 0] if by_task else choice.actions
            x = self._pass([stage], x, chosen[..., None])
            actions.append(jnp.broadcast_to(choice.actions, agents.shape))
            probabilities.append(choice.probabilities)
        decisions = Decisions(jnp.stack(actions, axis=-1), agents)
        seen = self._observations(states)
        return x, Routes(decisions, jnp.stack(probabilities, axis=2), seen, exploration, tasks)

    def _observations(self, states: list[jax.Array]) -> tuple[jax.Array, ...]:
        """Those states that the router looked at, or learns from; it does not train them."""
        router = self.router
        if not router.policy.looks_at_input:
            first = router.dispatcher is not None or router.full_information
            states = states[:1] if first else []
        return tuple(jax.lax.stop_gradient(state) for state in states)

    def _every_action(self, stage: Stage, x: jax.Array) -> jax.Array:
        """What each action makes of x [T, n, ...]: [T, A * n, ...], actions outermost."""
        rows = x.reshape(-1, *x.shape[2:])
        outputs = block_groups.apply_everything(stage.apply_block, stage.bank(rows), rows)
        if self.router.num_actions > len(outputs):
            passed = rows[None] if stage.may_pass else jnp.zeros_like(outputs[:1])
            outputs = jnp.concatenate([outputs, passed.astype(outputs.dtype)])
        if stage.finish is not None:
            finished = stage.finish(outputs.reshape(-1, *outputs.shape[2:]))
            outputs = finished.reshape(outputs.shape)
        by_task = outputs.reshape(-1, *x.shape[:2], *outputs.shape[2:])
        return jnp.moveaxis(by_task, 0, 1).reshape(x.shape[0], -1, *outputs.shape[2:])


def stages_of(
    router: Router, banks: Sequence[Bank], *, finish: Sequence[Finish] = ()
) -> list[Stage]:
    """The routed layers of a router, given the bank of each depth and what stands behind it."""
    return [
        Stage(
            bank.apply_block,
            bank,
            router.may_pass(depth, bank.num_blocks),
            bank.apply_ragged,
            finish[depth] if finish else None,
        )
        for depth, bank in enumerate(banks)
    ]


def mix_through(
    banks: Sequence[Bank],
    x: jax.Array,
    weights: jax.Array,
    *,
    mix: Mix,
    finish: Sequence[Finish] = (),
    computed: jax.Array | None = None,
) -> jax.Array:
    """Sends x [T, n, ...] through mixtures of blocks.

    Args:
      banks: the bank of each depth.
      x: representations.
      weights: float32 [T, D, K].
      mix: what mixes one layer.
      finish: what stands behind each layer, if anything does.
      computed: bool [T, D, K], for `mixtures.mix_active`.
    """
    for depth, bank in enumerate(banks):
        own = {} if computed is None else {"computed": computed[:, depth]}
        x = mix(*bank.in_groups(x[0]), x, weights[:, depth], **own)
        if finish:
            x = dispatch.on_rows(finish[depth], x)
    return x
