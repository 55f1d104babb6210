"""The routing network of Rosenbaum et al. (2018): an encoder and routed layers over it."""

import jax
import jax.numpy as jnp

from routing_jax import dispatch
from routing_jax.models.network import MultiTaskNetwork, Routed
from routing_jax.routers.router import Router
from routing_jax.types import Decisions, Exploration


class RoutingNetwork(MultiTaskNetwork):
    """A shared encoder, then D routed layers.

    Attributes:
      encoder, banks, bank_of_depth, head, dropout: see `MultiTaskNetwork`.
      router: see `routers.router`.
      strategy: of `dispatch.select`.
    """

    router: Router
    strategy: str = "auto"

    def initialise(self, x: jax.Array) -> None:
        """Touches every parameter of the router."""
        self.router.initialise(self._states(x))

    def route(self, x: jax.Array, exploration: Exploration | None = None) -> Routed:
        """Sends representations [T, n, ...] along their routes, the best ones by default."""
        agents = self.router.assign(x, exploration)
        if self.router.decides_ahead:
            return self._route_ahead(x, agents, exploration)
        return self._route_step_by_step(x, agents, exploration)

    def follow(self, x: jax.Array, actions: jax.Array, *, training: bool = False) -> jax.Array:
        """Logits [T, n, C] of representations [T, n, ...] along int32 actions [T, n or 1, D]."""
        if actions.shape[1] == 1:  # one route per task
            actions = actions[:, 0]
        stages = [self._stage(depth) for depth in range(len(self.bank_of_depth))]
        x = dispatch.route(stages, x, actions, strategy=self.strategy)
        return self.answer(x, training=training)

    def alternatives(self, x: jax.Array, actions: jax.Array) -> jax.Array:
        """Logits [D, A, T, n, C] if one decision were another and all others stayed.

        All blocks of a depth run on all examples, and what they give goes on along `actions`: the
        work of about D * D / 2 layers on A times the examples. Zeros stand for what an action that
        is not offered would give.

        Args:
          x: representations [T, n, ...].
          actions: int32 [T, n, D].
        """
        stages = [self._stage(depth) for depth in range(len(self.bank_of_depth))]
        found = []
        for depth, stage in enumerate(stages):
            rows = self._every_action(stage, x)
            if stages[depth + 1 :]:
                later = jnp.tile(actions[..., depth + 1 :], (1, self.num_actions, 1))
                rows = dispatch.route(stages[depth + 1 :], rows, later)
            logits = self.answer(rows, training=False)
            found.append(logits.reshape(x.shape[0], self.num_actions, x.shape[1], -1))
            x = dispatch.route([stage], x, actions[..., depth : depth + 1])
        return jnp.moveaxis(jnp.stack(found), 2, 1)

    @property
    def num_tasks(self) -> int:
        """T."""
        return len(self.router.agent_of_task)

    @property
    def learned_router(self) -> Router | None:
        """The router, unless its routes are fixed."""
        return self.router if self.router.learns else None

    @property
    def num_actions(self) -> int:
        """A."""
        return self.router.num_actions

    def _route_ahead(
        self, x: jax.Array, agents: jax.Array, exploration: Exploration | None
    ) -> Routed:
        choice = self.router.decide_ahead(agents, exploration)
        logits = self.follow(x, choice.actions, training=exploration is not None)
        shape = (*x.shape[:2], choice.actions.shape[-1])
        decisions = Decisions(jnp.broadcast_to(choice.actions, shape), agents)
        return Routed(logits, decisions, choice.probabilities, self._observations([x]))

    def _route_step_by_step(
        self, x: jax.Array, agents: jax.Array, exploration: Exploration | None
    ) -> Routed:
        states, actions, probabilities = [], [], []
        for depth in range(len(self.bank_of_depth)):
            states.append(x)
            choice = self.router.decide(depth, x, agents, exploration)
            if choice.scale is not None:
                scale = choice.scale.reshape(choice.scale.shape + (1,) * (x.ndim - 2))
                x = x * scale.astype(x.dtype)
            chosen = choice.actions[:, 0] if self.router.per_task else choice.actions
            x = dispatch.route([self._stage(depth)], x, chosen[..., None], strategy=self.strategy)
            actions.append(jnp.broadcast_to(choice.actions, agents.shape))
            probabilities.append(choice.probabilities)
        return Routed(
            self.answer(x, training=exploration is not None),
            Decisions(jnp.stack(actions, axis=-1), agents),
            jnp.stack(probabilities, axis=2),
            self._observations(states),
        )

    def _observations(self, states: list[jax.Array]) -> tuple[jax.Array, ...]:
        """Those states that the router looked at, or learns from; it does not train them."""
        router = self.router
        if not router.policy.looks_at_input:
            first = router.dispatcher is not None or router.full_information
            states = states[:1] if first else []
        return tuple(jax.lax.stop_gradient(state) for state in states)

    def _every_action(self, stage: dispatch.Stage, x: jax.Array) -> jax.Array:
        """What each action makes of x [T, n, ...]: [T, A * n, ...], actions outermost."""
        rows = x.reshape(-1, *x.shape[2:])
        outputs = jax.vmap(stage.apply_block, in_axes=(0, None))(stage.bank(rows), rows)
        if self.num_actions > len(outputs):
            passed = rows[None] if stage.may_pass else jnp.zeros_like(outputs[:1])
            outputs = jnp.concatenate([outputs, passed.astype(outputs.dtype)])
        by_task = outputs.reshape(-1, *x.shape[:2], *outputs.shape[2:])
        return jnp.moveaxis(by_task, 0, 1).reshape(x.shape[0], -1, *outputs.shape[2:])

    def _stage(self, depth: int) -> dispatch.Stage:
        bank = self.banks[self.bank_of_depth[depth]]
        may_pass = self.router.may_pass(depth, bank.num_blocks)
        return dispatch.Stage(bank.apply_block, bank, may_pass, bank.apply_ragged)

    def _states(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """What stands before each depth, [T, n, ...] each, along the first block of every bank."""
        states, first = [x], jnp.zeros((x.shape[0], 1), jnp.int32)
        for depth in range(len(self.bank_of_depth) - 1):
            states.append(dispatch.route([self._stage(depth)], states[-1], first))
        return tuple(states)
