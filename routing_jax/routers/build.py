"""Routers that learn, from what they are for and how they are to learn."""

from collections.abc import Sequence
from typing import TypedDict, Unpack

from routing_jax.config_fields import (
    DECISIONS_PER,
    POLICY_NETWORKS,
    ROUTER_AGENTS,
    RULES,
    RuleTraits,
)
from routing_jax.routers.agents import Dispatcher, assign_agents
from routing_jax.routers.policies import ApproximatorPolicy, ControlVariate, TabularPolicy
from routing_jax.routers.router import Router

Allowed = tuple[tuple[bool, ...], ...]
"""bool [D, A], the actions offered at each depth."""


class RouterOptions(TypedDict, total=False):
    """What may be chosen of a router; each has a default."""

    agent: str
    """`"per_task"` (the default), `"single"`, or `"dispatched"`: picked by the representation."""
    policy: str
    """`"tabular"` (the default), or `"approximator"`: a network that sees the representation."""
    decision_per: str
    """`"example"` (the default), or `"task"`: one decision for all examples of a task."""
    num_agents: int | None
    """G of a dispatcher; by default one for each task."""
    networks: str
    """Of an approximator: `"per_depth"` (the default), or `"shared"` by all depths."""
    hidden: int
    """Hidden units of an approximator or dispatcher; by default 64."""
    task_input: bool
    """Whether these see the task, as one-hot; by default not."""


_DEFAULTS = RouterOptions(
    agent="per_task",
    policy="tabular",
    decision_per="example",
    num_agents=None,
    networks="per_depth",
    hidden=64,
    task_input=False,
)
_CHOICES = {
    "agent": ROUTER_AGENTS,
    "policy": ("tabular", "approximator"),
    "decision_per": DECISIONS_PER,
    "networks": POLICY_NETWORKS,
}


def build_router(
    rule: str | RuleTraits = "wpl",
    *,
    num_tasks: int,
    num_blocks: int,
    depth: int,
    pass_action: bool | Sequence[bool] = False,
    **options: Unpack[RouterOptions],
) -> Router:
    """A router for `RoutedStack`.

    Args:
      rule: the rule it will learn by: a name of `rl.rules.LOSSES`, or what a rule of one's own
        needs of a router.
      num_tasks: T.
      num_blocks: K, blocks to choose from at each depth.
      depth: D.
      pass_action: whether an agent may skip a depth (PASS); for all depths or for each.
      options: see `RouterOptions`.

    Raises:
      ValueError: an option has no such value, or options do not go together.
    """
    traits = _traits(rule)
    passes = (pass_action,) * depth if isinstance(pass_action, bool) else tuple(pass_action)
    if len(passes) != depth:
        raise ValueError(
            f"pass_action has {len(passes)} values; give one for each of the {depth} depths."
        )
    blocks = (True,) * num_blocks
    allowed = tuple((*blocks, offered) for offered in passes) if any(passes) else (blocks,) * depth
    return assemble_router(traits, allowed, num_tasks, pass_action=any(passes), **options)


def assemble_router(
    traits: RuleTraits,
    allowed: Allowed,
    num_tasks: int,
    *,
    pass_action: bool,
    **options: Unpack[RouterOptions],
) -> Router:
    """`build_router` for any table of allowed actions.

    Args:
      traits: what the rule needs.
      allowed: bool [D, A].
      num_tasks: T.
      pass_action: whether the last action is PASS.
      options: see `RouterOptions`.
    """
    chosen = _DEFAULTS | options
    _require_possible(traits, chosen)
    dispatched = chosen["agent"] == "dispatched"
    agents = assign_agents(chosen["agent"], num_tasks)
    num_agents = (chosen["num_agents"] or num_tasks) if dispatched else max(agents) + 1
    hidden, task_input = chosen["hidden"], chosen["task_input"]

    def policy(num_outputs: int, initial: tuple[tuple[float, ...], ...] = ()):
        depth, shared = len(allowed), chosen["networks"] == "shared"
        if chosen["policy"] == "tabular":
            return TabularPolicy(num_agents, depth, num_outputs, initial)
        return ApproximatorPolicy(
            num_agents, num_tasks, depth, num_outputs, hidden, shared, task_input
        )

    initial = _uniform(allowed) if traits.kind == "probabilities" else ()
    return Router(
        agent_of_task=agents,
        policy=policy(len(allowed[0]), initial),
        allowed=allowed,
        kind=traits.kind,
        per_task=chosen["decision_per"] == "task",
        dispatcher=Dispatcher(num_agents, num_tasks, hidden, task_input) if dispatched else None,
        critic=policy(1) if traits.critic else None,
        control=ControlVariate(num_agents, hidden) if traits.control else None,
        straight_through=traits.straight_through,
        full_information=traits.full_information,
        pass_action=pass_action,
    )


def _traits(rule: str | RuleTraits) -> RuleTraits:
    if isinstance(rule, RuleTraits):
        return rule
    if rule not in RULES:
        raise ValueError(f"there is no rule {rule!r}; those that exist: {', '.join(RULES)}.")
    return RULES[rule]


def _require_possible(traits: RuleTraits, options: RouterOptions) -> None:
    """Raises ValueError for values that do not exist or do not go together."""
    unknown = options.keys() - _DEFAULTS.keys()
    if unknown:
        names = ", ".join(sorted(unknown))
        raise ValueError(f"a router has no {names}; its options: {', '.join(_DEFAULTS)}.")
    for name, choices in _CHOICES.items():
        if options[name] not in choices:
            raise ValueError(f"{name} = {options[name]!r} is not one of: {', '.join(choices)}.")
    sees_examples = options["policy"] == "approximator" or options["agent"] == "dispatched"
    if sees_examples and options["decision_per"] == "task":
        raise ValueError(
            "an approximator or a dispatcher sees examples: use decision_per='example', or a "
            "tabular policy with fixed agents."
        )
    if traits.kind == "probabilities" and options["policy"] == "approximator":
        raise ValueError(
            "this rule moves a table of probabilities: use policy='tabular', or another rule such "
            "as 'reinforce_mean'."
        )


def _uniform(allowed: Allowed) -> tuple[tuple[float, ...], ...]:
    """Equal probabilities of the actions offered: [D, A]."""
    return tuple(tuple(offered / sum(row) for offered in row) for row in allowed)
