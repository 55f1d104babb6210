"""The optimizer of a router, as one optax transformation beside that of everything else.

For `optax.partition`, which hides all other parameters from it::

    optax.partition(
        {"router": router_optimizer(router, "wpl"), "blocks": optax.adam(1e-3)}, label_parameters
    )
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import DictKey, tree_map_with_path

from routing_jax.config_fields import RULES, RuleTraits
from routing_jax.rl import transforms
from routing_jax.rl.rules import LOSSES, Loss
from routing_jax.rl.wpl import clip_and_renormalise
from routing_jax.routers.router import Router
from routing_jax.types import Params

Value = jax.Array | float
Path = tuple[str, ...]

ROUTER = "router"
"""The name of routers in trees of parameters."""


def label_parameters(params: Params) -> Params:
    """ "router" for parameters below a module of that name, "blocks" for all others.

    For `optax.partition`.
    """

    def is_router(path: tuple[object, ...]) -> bool:
        return any(isinstance(key, DictKey) and key.key == ROUTER for key in path)

    return tree_map_with_path(lambda path, _: ROUTER if is_router(path) else "blocks", params)


def router_optimizer(
    router: Router,
    rule: str | Loss = "wpl",
    *,
    learning_rate: Value = 0.1,
    step: Callable[[Value], optax.GradientTransformation] = optax.sgd,
    dispatcher_learning_rate: Value | None = None,
    return_rate: Value = 0.05,
    discount: Value = 1.0,
    trace: Value | None = None,
    entropy_weight: Value = 0.0,
    wpl_convention: str = "routing_networks",
    probability_floor: Value = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """What trains a router by reinforcement.

    Its `update` takes the batch's `trajectory` as a keyword; see `rl.trajectories.trajectory`.

    Args:
      router: the router of the model.
      rule: how it learns: a name of `rl.rules.LOSSES`, or a function of one's own.
      learning_rate: of the policy, and of a critic or control variate.
      step: what makes a step of a gradient at a rate; a table of probabilities takes plain steps.
      dispatcher_learning_rate: the policy's if None.
      return_rate: of the running mean returns; see `transforms.learn_from_trajectory`.
      discount: in [0, 1].
      trace: lambda of targets that bootstrap; if None 1 for tables, which see no difference between
        states, else 0.
      entropy_weight: of the policy's entropy, in nats; without effect on action values.
      wpl_convention: a name of `wpl.WPL_CONVENTIONS`.
      probability_floor: smallest probability of an action in a table of probabilities.

    Raises:
      ValueError: the router learns nothing, or was built for another rule, or there is no such
        rule; in `init` and `update`, there is not exactly one router among the parameters.
    """
    loss = _loss(router, rule)
    if dispatcher_learning_rate is None:
        dispatcher_learning_rate = learning_rate
    trace = float(not router.policy.looks_at_input) if trace is None else trace
    steps = {part: step(learning_rate) for part in ("policy", "critic", "control")}
    steps["dispatcher"] = step(dispatcher_learning_rate)
    if router.kind == "probabilities":
        steps["policy"] = optax.chain(
            transforms.scale_by_wpl(wpl_convention),
            transforms.add_entropy_bonus(entropy_weight),
            optax.scale_by_learning_rate(learning_rate),
            _keep_distributions(router, probability_floor),  # last
        )
    # The rule gives all gradients; what becomes of them depends on the part of the router.
    learn = transforms.learn_from_trajectory(
        router,
        loss,
        return_rate=return_rate,
        discount=discount,
        trace=trace,
        entropy_weight=entropy_weight if router.kind == "logits" else None,
    )
    parts = optax.partition(steps, lambda params: {part: part for part in params})
    return _on_router(optax.chain(learn, parts))


def _keep_distributions(router: Router, floor: Value) -> optax.GradientTransformation:
    project = partial(clip_and_renormalise, floor=floor, allowed=jnp.asarray(router.allowed))
    return transforms.project_to_simplex(project)


def _loss(router: Router, rule: str | Loss) -> Loss:
    """The rule's function, if it goes with the router."""
    if not router.learns:
        raise ValueError("fixed routes learn nothing: leave their optimizer out.")
    if not isinstance(rule, str):
        return rule
    if rule not in LOSSES:
        raise ValueError(f"there is no rule {rule!r}; those that exist: {', '.join(LOSSES)}.")
    built_for = RuleTraits(
        router.kind,
        critic=router.critic is not None,
        control=router.control is not None,
        straight_through=router.straight_through,
        full_information=router.full_information,
    )
    if built_for != RULES[rule]._replace(bootstraps=False):
        raise ValueError(
            f"this router was built for another rule than {rule!r} (its policy gives "
            f"{router.kind}): build it with build_router({rule!r}, ...)."
        )
    return LOSSES[rule]


def _on_router(
    inner: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Applies a transformation to the router among parameters, as if it were all there is."""

    def init(params: Params) -> optax.OptState:
        return inner.init(_below(params, _path_of_router(params)))

    def update(updates, state, params=None, **extra):
        path = _path_of_router(updates)
        own = None if params is None else _below(params, path)
        changed, state = inner.update(_below(updates, path), state, own, **extra)
        return _with(updates, path, changed), state

    return optax.GradientTransformationExtraArgs(init, update)


def _path_of_router(params: Params) -> Path:
    paths = list(_paths_of_routers(params, ()))
    if len(paths) != 1:
        found = ", ".join("/".join(path) for path in paths) or "none"
        raise ValueError(
            f"the parameters hold {len(paths)} routers ({found}), and this optimizer is for one. "
            f"A router is what has the name {ROUTER!r}, as in RoutedStack; give each of several an "
            "optimizer of its own, on its own part of the parameters."
        )
    return paths[0]


def _paths_of_routers(params: Params, path: Path) -> Iterator[Path]:
    for name, below in params.items():
        if name == ROUTER:
            yield (*path, name)
        elif isinstance(below, Mapping):
            yield from _paths_of_routers(below, (*path, name))


def _below(params: Params, path: Path) -> Params:
    for name in path:
        params = params[name]
    return params


def _with(params: Params, path: Path, changed: Params) -> Params:
    """The tree with what is below `path` replaced."""
    if not path:
        return changed
    return {**params, path[0]: _with(params[path[0]], path[1:], changed)}
