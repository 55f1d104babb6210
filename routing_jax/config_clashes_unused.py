"""Fields that would do nothing beside others, and are refused for it; see `config_clashes`."""

from routing_jax.config_fields import MIX, ROUTED, RULES, TAKE_ROUTES
from routing_jax.config_rules import Clash

_PENALTIES = (
    "router.budget_weight",
    "router.certainty_weight",
    "router.empty_weight",
    "router.count_weight",
)
"""Weights of what switches cost."""

UNUSED = (
    *(
        Clash(
            ("model.name", name),
            lambda model, weight: model != "gumbel_matrix" and weight > 0,
            f"only gumbel_matrix switches blocks on and off; set {name} to 0",
        )
        for name in _PENALTIES
    ),
    *(
        Clash(
            ("router.policy", name),
            lambda policy, weight: policy == "fixed" and weight > 0,
            f"nothing changes given routes; set {name} to 0",
        )
        for name in _PENALTIES
    ),
    *(
        Clash(
            ("model.name", name),
            lambda model, value, models=models, default=default: (
                model not in models and value != default
            ),
            f"this model {lacks}; leave {name} at {default!r}",
        )
        for name, default, models, lacks in (
            ("router.epsilon", None, ("routing_network",), "draws no decisions at random"),
            ("router.epsilon_end", None, ("routing_network",), "draws no decisions at random"),
            ("router.decision_per", "example", ("routing_network",), "decides for no example"),
            ("router.temperature", None, TAKE_ROUTES, "has no temperature"),
            ("router.temperature_end", None, TAKE_ROUTES, "has no temperature"),
            ("router.agent", "per_task", TAKE_ROUTES, "has no agents"),
        )
    ),
    Clash(
        ("router.policy", "router.learns_from"),
        lambda policy, share: policy == "fixed" and share > 0,
        "given routes do not learn; set router.learns_from to 0",
    ),
    Clash(
        ("model.name", "optimizer.block_steps"),
        lambda model, steps: model != "routing_network" and steps == "by_use",
        "only a routing network takes some blocks more often than others; set "
        "optimizer.block_steps to summed",
    ),
    Clash(
        ("model.name", "router.learns_from"),
        lambda model, share: model not in (*TAKE_ROUTES, *MIX) and share > 0,
        "this model has no router; set router.learns_from to 0",
    ),
    Clash(
        ("training.trainable", "router.learns_from"),
        lambda parts, share: parts != "all" and "mixing" not in parts.split(",") and share > 0,
        "the router does not train at all; set router.learns_from to 0",
    ),
    Clash(
        ("training.trainable", "optimizer.block_steps"),
        lambda parts, steps: (
            parts != "all" and "blocks" not in parts.split(",") and steps == "by_use"
        ),
        "the blocks do not train; set optimizer.block_steps to summed",
    ),
    Clash(
        ("optimizer.name", "optimizer.block_steps"),
        lambda name, steps: name == "adam" and steps == "by_use",
        "the steps of adam do not grow with use; set optimizer.block_steps to summed, or "
        "optimizer.name to sgd",
    ),
    Clash(
        ("model.block", "optimizer.block_steps"),
        lambda block, steps: block == "components" and steps == "by_use",
        "the blocks of a bank have to be alike; set optimizer.block_steps to summed",
    ),
    Clash(
        ("model.name", "router.skip_below"),
        lambda model, below: model != "gumbel_matrix" and below > 0,
        "only gumbel_matrix switches blocks off; leave router.skip_below at 0",
    ),
    Clash(
        ("model.name", "router.merge"),
        lambda model, merge: model != "gumbel_matrix" and merge != "mean",
        "only gumbel_matrix merges blocks; leave router.merge at 'mean'",
    ),
    Clash(
        ("router.budget", "router.budget_weight"),
        lambda budget, weight: budget < 1 and weight == 0,
        "a budget that costs nothing does nothing; set router.budget_weight above 0 or "
        "router.budget to 1",
    ),
    Clash(
        ("router.networks", "router.policy"),
        lambda networks, policy: networks == "shared" and policy != "approximator",
        "only an approximator has networks; set router.policy to approximator or router.networks "
        "to per_depth",
    ),
    Clash(
        ("router.task_input", "router.policy", "router.agent"),
        lambda seen, policy, agent: seen and policy != "approximator" and agent != "dispatched",
        "only an approximator or a dispatcher sees inputs; set router.task_input to false",
    ),
    Clash(
        ("router.dispatcher_learning_rate", "router.agent"),
        lambda rate, agent: rate is not None and agent != "dispatched",
        "only a dispatcher has it; set router.agent to dispatched or the rate to None",
    ),
    Clash(
        ("router.trace", "router.rule"),
        lambda trace, rule: trace is not None and trace > 0 and not RULES[rule].bootstraps,
        "this rule uses whole returns anyway; set router.trace to None",
    ),
    Clash(
        ("model.name", "router.rule"),
        lambda name, rule: name not in ROUTED and rule != "wpl",
        "this model has no router; leave router.rule at 'wpl', which it does not use, or set "
        "model.name to routing_network",
    ),
)
