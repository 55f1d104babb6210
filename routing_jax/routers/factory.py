"""From the router's part of a configuration to a router."""

import jax
from ml_collections import ConfigDict

from routing_jax.config_fields import RULES
from routing_jax.errors import UserError
from routing_jax.routers.agents import Dispatcher, assign_agents
from routing_jax.routers.fixed import Routes
from routing_jax.routers.policies import (
    ApproximatorPolicy,
    ControlVariate,
    FixedPolicy,
    TabularPolicy,
)
from routing_jax.routers.router import Router

Allowed = tuple[tuple[bool, ...], ...]


def make_router(
    router_config: ConfigDict,
    *,
    num_tasks: int,
    allowed: Allowed,
    shapes: tuple[tuple[int, ...], ...],
) -> Router:
    """Builds the router of a validated configuration.

    Args:
      router_config: the `router` part.
      num_tasks: T.
      allowed: bool [D, A], the actions offered at each depth.
      shapes: of one example's representation before each depth.

    Raises:
      UserError: one policy network for all depths, but representations of unequal size; or a floor
        that A probabilities cannot keep.
    """
    rule = RULES[router_config.rule]
    _check_floor(router_config.probability_floor, allowed)
    dispatched = router_config.agent == "dispatched"
    agent_of_task = assign_agents(router_config.agent, num_tasks)
    num_agents = max(agent_of_task) + 1
    if dispatched:
        num_agents = router_config.num_agents or num_tasks
    hidden, task_input = router_config.hidden, router_config.task_input

    def policy(num_outputs: int, initial: tuple[tuple[float, ...], ...] = ()):
        depth = len(allowed)
        if router_config.policy == "tabular":
            return TabularPolicy(num_agents, depth, num_outputs, initial)
        shared = router_config.networks == "shared"
        if shared:
            _check_equal(shapes)
        return ApproximatorPolicy(
            num_agents, num_tasks, depth, num_outputs, hidden, shared, task_input
        )

    return Router(
        agent_of_task=agent_of_task,
        policy=policy(len(allowed[0]), _uniform(allowed) if rule.kind == "probabilities" else ()),
        allowed=allowed,
        kind=rule.kind,
        per_task=router_config.decision_per == "task",
        dispatcher=Dispatcher(num_agents, num_tasks, hidden, task_input) if dispatched else None,
        critic=policy(1) if rule.critic else None,
        control=ControlVariate(num_agents, hidden) if rule.control else None,
        straight_through=rule.straight_through,
        full_information=rule.full_information,
    )


def make_fixed_router(routes: Routes | jax.Array, allowed: Allowed) -> Router:
    """A router that sends each task along its route and learns nothing.

    Args:
      routes: int [T, D].
      allowed: bool [D, A].
    """
    agents = tuple(range(len(routes)))
    return Router(agents, FixedPolicy(routes, len(allowed[0])), allowed, per_task=True)


def _uniform(allowed: Allowed) -> tuple[tuple[float, ...], ...]:
    """Equal probabilities of the actions offered: [D, A]."""
    return tuple(tuple(offered / sum(row) for offered in row) for row in allowed)


def _check_floor(floor: float, allowed: Allowed) -> None:
    most = max(map(sum, allowed))
    if floor * most > 1:
        raise UserError(
            f"router.probability_floor = {floor:g} is not possible: {most} actions cannot all have "
            f"it. Set it to at most {1 / most:g}, or lower model.num_blocks."
        )


def _check_equal(shapes: tuple[tuple[int, ...], ...]) -> None:
    if len(set(shapes)) > 1:
        sizes = ", ".join("x".join(map(str, shape)) for shape in shapes)
        raise UserError(
            "router.networks: 'shared' needs representations of equal size before every depth; "
            f"here they are {sizes}. Use router.networks=per_depth, or, between fully connected "
            "layers, set model.width to the first of them."
        )
