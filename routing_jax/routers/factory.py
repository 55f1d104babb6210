"""From the router's part of a configuration to a router."""

import jax
from ml_collections import ConfigDict

from routing_jax.config_fields import RULES
from routing_jax.errors import UserError
from routing_jax.routers.build import Allowed, RouterOptions, assemble_router
from routing_jax.routers.fixed import Routes
from routing_jax.routers.policies import FixedPolicy
from routing_jax.routers.router import Router


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
    _check_floor(router_config.probability_floor, allowed)
    if router_config.policy == "approximator" and router_config.networks == "shared":
        _check_equal(shapes)
    return assemble_router(
        RULES[router_config.rule],
        allowed,
        num_tasks,
        pass_action=router_config.pass_action,
        **{name: router_config[name] for name in RouterOptions.__annotations__},
    )


def make_fixed_router(routes: Routes | jax.Array, allowed: Allowed) -> Router:
    """A router that sends each task along its route and learns nothing.

    Args:
      routes: int [T, D].
      allowed: bool [D, A].
    """
    agents = tuple(range(len(routes)))
    return Router(agents, FixedPolicy(routes, len(allowed[0])), allowed, per_task=True)


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
