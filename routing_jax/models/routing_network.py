"""The routing network of Rosenbaum et al. (2018): an encoder and routed layers over it."""

import jax
import jax.numpy as jnp

from routing_jax.models.network import MultiTaskNetwork, Routed
from routing_jax.models.routed_layers import RoutedLayers, stages_of
from routing_jax.routers.router import Router
from routing_jax.types import Exploration


class RoutingNetwork(MultiTaskNetwork):
    """A shared encoder, then D routed layers.

    Attributes:
      encoder, banks, bank_of_depth, head, dropout, norms: see `MultiTaskNetwork`.
      router: see `routers.router`.
      strategy: of `dispatch.select`.
    """

    router: Router
    strategy: str = "auto"

    def initialise(self, x: jax.Array) -> None:
        """Touches every parameter of the router."""
        *states, _ = self._layers().states(x)
        self.router.initialise(tuple(states))

    def route(
        self,
        x: jax.Array,
        exploration: Exploration | None = None,
        tasks: jax.Array | None = None,
    ) -> Routed:
        """Sends representations [T, n, ...] along their routes, the best ones by default."""
        of_example = None if tasks is None else jnp.broadcast_to(tasks[:, None], x.shape[:2])
        drawn_with = None if self.frozen_routes else exploration
        x, routes = self._layers().route(x, drawn_with, of_example)
        logits = self.answer(x, training=exploration is not None, tasks=tasks)
        return Routed(logits, routes.decisions, routes.probabilities, routes.observations)

    def follow(self, x: jax.Array, actions: jax.Array, *, training: bool = False) -> jax.Array:
        """Logits [T, n, C] of representations [T, n, ...] along int32 actions [T, n or 1, D]."""
        return self.answer(self._layers().follow(x, actions), training=training)

    def alternatives(
        self, x: jax.Array, actions: jax.Array, tasks: jax.Array | None = None
    ) -> jax.Array:
        """Logits [D, A, T, n, C] if one decision were another and all others stayed.

        All blocks of a depth run on all examples, and what they give goes on along `actions`: the
        work of about D * D / 2 layers on A times the examples. Zeros stand for what an action that
        is not offered would give.

        Args:
          x: representations [T, n, ...].
          actions: int32 [T, n, D].
          tasks: see `__call__`.
        """
        shape = (x.shape[0], self.num_actions, x.shape[1], -1)
        found = [
            self.answer(rows, training=False, tasks=tasks).reshape(shape)
            for rows in self._layers().alternatives(x, actions)
        ]
        return jnp.moveaxis(jnp.stack(found), 2, 1)

    @property
    def num_tasks(self) -> int:
        """T."""
        return self.router.num_tasks

    @property
    def learned_router(self) -> Router | None:
        """The router, unless its routes are fixed."""
        return self.router if self.router.learns else None

    @property
    def num_actions(self) -> int:
        """A."""
        return self.router.num_actions

    def _layers(self) -> RoutedLayers:
        banks = [self.banks[index] for index in self.bank_of_depth]
        stages = stages_of(self.router, banks, finish=self.norms)
        return RoutedLayers(self.router, stages, self.strategy)
