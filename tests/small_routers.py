"""Small routers with their optimizers, built as training builds them, and drawn from by hand."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from routing_jax.config import base_config, validate
from routing_jax.routers.factory import make_router
from routing_jax.routers.router import Router
from routing_jax.training.optimizers import make_optimizer
from routing_jax.training.state import Hyperparams, exploration_at, hyperparams
from routing_jax.types import Decisions, Exploration, Params, Trajectory


class Learner(NamedTuple):
    """A router and what trains it."""

    router: Router
    optimizer: optax.GradientTransformationExtraArgs
    hyper: Hyperparams

    @property
    def exploration(self) -> Exploration:
        """What it draws with in training."""
        return exploration_at(self.hyper, jnp.float32(0), jnp.float32(0), schedule="linear")

    def start(self, key: jax.Array, states: tuple[jax.Array, ...]) -> Params:
        """Fresh parameters."""
        keys = {"params": key, "router": key}
        return self.router.init(keys, states, method="initialise").get("params", {})

    def init(self, params: Params) -> optax.OptState:
        """The optimizer's state."""
        return self.optimizer.init({"router": params})

    def learn(
        self,
        params: Params,
        state: optax.OptState,
        trajectory: Trajectory,
        gradient: Params | None = None,
    ) -> tuple[Params, optax.OptState]:
        """One step; `gradient` is that of the task's loss."""
        gradient = jax.tree.map(jnp.zeros_like, params) if gradient is None else gradient
        updates, state = self.optimizer.update(
            {"router": gradient}, state, {"router": params}, trajectory=trajectory
        )
        return optax.apply_updates(params, updates["router"]), state

    def decide(
        self, params: Params, states: tuple[jax.Array, ...], key: jax.Array
    ) -> tuple[Decisions, jax.Array]:
        """Decisions one depth after the other, and their straight-through scales [T, n, D]."""
        return self.router.apply(
            {"params": params}, states, self.exploration, rngs={"router": key}, method=_decide
        )

    def greedy(self, params: Params, states: tuple[jax.Array, ...]) -> Decisions:
        """The best decisions."""
        return self.router.apply({"params": params}, states, None, method=_decide)[0]


def make_learner(
    rule: str,
    *,
    tasks: int = 2,
    allowed: tuple[tuple[bool, ...], ...] = ((True,) * 3,) * 2,
    features: int = 4,
    discount: float = 1.0,
    **router_fields: object,
) -> Learner:
    """A learner by the fields of `router`; the representations have `features` numbers."""
    config = base_config()
    config.router.rule, config.reward.discount = rule, discount
    config.router.trace = 0.0
    for name, value in router_fields.items():
        config.router[name] = value
    validate(config)
    shapes = ((features,),) * len(allowed)
    router = make_router(config.router, num_tasks=tasks, allowed=allowed, shapes=shapes)
    hyper = hyperparams(config)
    return Learner(router, make_optimizer(config, router, hyper, total_steps=1), hyper)


def trajectory_of(
    decisions: Decisions,
    *,
    final: jax.Array,
    rewards: jax.Array | None = None,
    exploration: Exploration | None = None,
    states: tuple[jax.Array, ...] = (),
    **fields: jax.Array,
) -> Trajectory:
    """A trajectory in which every example counts and decisions are not rewarded, by default."""
    actions = decisions.actions
    return Trajectory(
        decisions=decisions,
        rewards=jnp.zeros(actions.shape) if rewards is None else rewards,
        final_reward=final,
        weights=fields.pop("weights", jnp.ones(actions.shape[:2])),
        exploration=exploration or Exploration(),
        observations=states,
        **fields,
    )


def _decide(
    router: Router, states: tuple[jax.Array, ...], exploration: Exploration | None
) -> tuple[Decisions, jax.Array]:
    agents = router.assign(states[0], exploration)
    choices = [router.decide(d, x, agents, exploration) for d, x in enumerate(states)]
    actions = [jnp.broadcast_to(choice.actions, agents.shape) for choice in choices]
    scales = [jnp.ones(agents.shape) if c.scale is None else c.scale for c in choices]
    scales = [jnp.broadcast_to(scale, agents.shape) for scale in scales]
    return Decisions(jnp.stack(actions, -1), agents), jnp.stack(scales, -1)
