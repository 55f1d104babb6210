"""Fields that are each allowed but do not go together, and what to change then."""

from routing_jax.config_clashes_adaptation import ADAPTATION
from routing_jax.config_clashes_added import ADDED
from routing_jax.config_clashes_components import COMPONENTS
from routing_jax.config_clashes_compositional import COMPOSITIONAL
from routing_jax.config_clashes_data import DATA, DISJOINT_TASKS
from routing_jax.config_clashes_unused import UNUSED
from routing_jax.config_fields import MIX, RULES, TAKE_ROUTES, VALUE_RULES
from routing_jax.config_rules import Clash

_OWN_LOGITS = ("cross_stitch", "joint_classifier")
"""Models with a last layer for each task, whatever their other layers are."""

_MODEL = (
    Clash(
        ("model.block", "model.encoder"),
        lambda block, encoder: block == "conv" and encoder == "flatten",
        "convolutional blocks need a map to work on; set model.encoder to stem or model.block to "
        "dense",
    ),
    Clash(
        ("model.block", "model.encoder"),
        lambda block, encoder: block == "valid_conv" and encoder != "pixels",
        "these blocks start at the pixels; set model.encoder to pixels or model.block to conv",
    ),
    Clash(
        ("model.head", "model.name"),
        lambda head, name: head == "own" and name in _OWN_LOGITS,
        "the last layer of this model has logits for each task anyway; set model.head to routed",
    ),
    Clash(
        ("model.dropout", "model.head"),
        lambda dropout, head: dropout > 0 and head == "routed",
        "dropout stands before a head of each task's own; set model.head to own or model.dropout "
        "to 0",
    ),
    Clash(
        ("dispatch.strategy", "router.decision_per"),
        lambda strategy, per: strategy == "gather" and per != "task",
        "gather applies one block per task; set router.decision_per to task "
        "or dispatch.strategy to auto",
    ),
    Clash(
        ("dispatch.strategy", "model.block"),
        lambda strategy, block: strategy == "ragged" and block != "dense",
        "only dense blocks have a ragged product; set dispatch.strategy to auto or model.block to "
        "dense",
    ),
)

_BASELINES = (
    Clash(
        ("model.name", "router.policy"),
        lambda name, policy: name not in TAKE_ROUTES and policy == "fixed",
        "only a routing network has routes that can be fixed; set router.policy to tabular, which "
        "this model does not use, or model.name to routing_network",
    ),
    Clash(
        ("model.name", "router.pass_action"),
        lambda name, pass_action: name != "routing_network" and pass_action,
        "this model runs all blocks and has nothing to pass; set router.pass_action to false",
    ),
    Clash(
        ("model.name", "dispatch.strategy"),
        lambda name, strategy: name != "routing_network" and strategy != "auto",
        "this model runs all blocks; set dispatch.strategy to auto",
    ),
    Clash(
        ("model.name", "model.num_blocks"),
        lambda name, blocks: name in _OWN_LOGITS and blocks is not None,
        "the tasks say how many blocks this model has; set model.num_blocks to None",
    ),
    Clash(
        ("model.name", "data.tasks"),
        lambda name, tasks: name == "joint_classifier" and tasks not in DISJOINT_TASKS,
        "one classifier of all classes needs tasks without common images; set data.tasks to one of "
        f"{', '.join(DISJOINT_TASKS)}, or model.name to routing_network",
    ),
    Clash(
        ("router.policy", "router.routes", "model.num_blocks"),
        lambda policy, routes, blocks: (
            policy == "fixed" and routes not in ("random", "all") and blocks is not None
        ),
        "these routes say themselves how many blocks there are; set model.num_blocks to None",
    ),
    Clash(
        ("router.policy", "router.routes"),
        lambda policy, routes: policy != "fixed" and routes != "own",
        "only the fixed policy takes given routes; set router.policy to fixed or leave "
        "router.routes at 'own'",
    ),
    Clash(
        ("model.name", "router.routes"),
        lambda name, routes: routes == "all" and name == "routing_network",
        "a route of a routing network has one block at each depth; set router.routes to shared, or "
        "model.name to gumbel_matrix",
    ),
    Clash(
        ("model.name", "router.routes"),
        lambda name, routes: routes == "random" and name == "gumbel_matrix",
        "random switches are not built; name them all or each task's block, or set model.name to "
        "routing_network",
    ),
    Clash(
        ("router.policy", "router.rule"),
        lambda policy, rule: policy == "fixed" and rule != "wpl",
        "fixed routes are not learned; leave router.rule at 'wpl', which they do not use, or set "
        "router.policy to tabular",
    ),
    Clash(
        ("router.policy", "router.agent"),
        lambda policy, agent: policy == "fixed" and agent != "per_task",
        "each task has a route of its own; set router.agent to per_task",
    ),
    Clash(
        ("router.policy", "router.pass_action"),
        lambda policy, pass_action: policy == "fixed" and pass_action,
        "fixed routes have a block at every depth; set router.pass_action to false",
    ),
)

_ROUTER = (
    Clash(
        ("model.name", "router.policy", "router.rule"),
        lambda name, policy, rule: (
            name == "gumbel_matrix" and policy == "tabular" and rule != "gumbel_softmax"
        ),
        "its switches learn by back-propagation; set router.rule to gumbel_softmax",
    ),
    Clash(
        ("model.name", "router.policy"),
        lambda name, policy: name == "gumbel_matrix" and policy == "approximator",
        "its switches do not look at the input; set router.policy to tabular",
    ),
    Clash(
        ("model.name", "router.agent"),
        lambda name, agent: name == "gumbel_matrix" and agent != "per_task",
        "each task has switches of its own; set router.agent to per_task",
    ),
    Clash(
        ("model.name", "router.entropy_weight"),
        lambda name, weight: name == "gumbel_matrix" and weight > 0,
        "nothing rewards the entropy of switches; set it to 0, or router.certainty_weight to make "
        "their entropy cost",
    ),
    Clash(
        ("router.rule", "router.measured", "training.examples_per_task"),
        lambda rule, measured, examples: RULES[rule].full_information and measured >= examples,
        "blocks do not learn from the examples that are measured; set router.measured below "
        "training.examples_per_task",
    ),
    Clash(
        ("router.rule", "router.policy"),
        lambda rule, policy: rule == "wpl" and policy == "approximator",
        "wpl moves a table of probabilities; set router.policy to tabular or router.rule to "
        "reinforce_mean",
    ),
    Clash(
        ("model.name", "router.rule", "router.optimizer"),
        lambda name, rule, optimizer: name not in MIX and rule == "wpl" and optimizer != "sgd",
        "wpl takes plain steps on the simplex; set router.optimizer to sgd",
    ),
    Clash(
        ("router.rule", "router.probability_floor"),
        lambda rule, floor: rule != "wpl" and floor > 0,
        "only wpl keeps a table of probabilities that can have a floor; set it to 0 and explore "
        "with router.epsilon",
    ),
    Clash(
        ("router.rule", "router.entropy_weight"),
        lambda rule, weight: rule in VALUE_RULES and weight > 0,
        "action values have no entropy to reward; set router.entropy_weight to 0 and explore with "
        "router.epsilon or router.temperature",
    ),
    Clash(
        ("router.rule", "router.temperature", "router.temperature_end"),
        lambda rule, first, last: rule not in VALUE_RULES and 0 in (first, last),
        "a temperature of 0 takes the best action value, and this rule learns a policy; set it "
        "above 0",
    ),
    Clash(
        (
            "router.rule",
            "router.epsilon",
            "router.epsilon_end",
            "router.temperature",
            "router.temperature_end",
        ),
        lambda rule, epsilon, epsilon_end, temperature, temperature_end: (
            rule in VALUE_RULES
            and epsilon == 0
            and not any((epsilon_end, temperature, temperature_end))
        ),
        "always taking the best action never learns the others; set router.epsilon or "
        "router.temperature above 0",
    ),
    Clash(
        ("router.exploration_schedule", "router.rule", "router.epsilon", "router.epsilon_end"),
        lambda schedule, rule, first, last: (
            schedule == "geometric" and last is not None and not (_epsilon(rule, first) and last)
        ),
        "a geometric schedule never leaves or reaches 0; set both ends above 0 or "
        "router.exploration_schedule to linear",
    ),
    Clash(
        (
            "router.exploration_schedule",
            "router.rule",
            "router.temperature",
            "router.temperature_end",
        ),
        lambda schedule, rule, first, last: (
            schedule == "geometric"
            and last is not None
            and not (_temperature(rule, first) and last)
        ),
        "a geometric schedule never leaves or reaches 0; set both ends above 0 or "
        "router.exploration_schedule to linear",
    ),
    Clash(
        ("router.policy", "router.decision_per"),
        lambda policy, per: policy == "approximator" and per == "task",
        "an approximator sees examples; set router.decision_per to example or router.policy to "
        "tabular",
    ),
    Clash(
        ("router.agent", "router.decision_per"),
        lambda agent, per: agent == "dispatched" and per == "task",
        "a dispatcher sees examples; set router.decision_per to example or router.agent to "
        "per_task",
    ),
    Clash(
        ("router.agent", "router.num_agents"),
        lambda agent, count: agent != "dispatched" and count is not None,
        "only a dispatcher picks from a number of agents; set router.agent to dispatched or "
        "router.num_agents to None",
    ),
)

_TRAINING = (
    Clash(
        ("training.round_robin", "data.share_images"),
        lambda turns, share: turns and share,
        "a step that learns from one task has nobody to share images with; set data.share_images "
        "to false",
    ),
    Clash(
        ("training.round_robin", "model.name"),
        lambda turns, name: turns and name in (*_OWN_LOGITS, "compositional"),
        "this model learns from all tasks together; set training.round_robin to false",
    ),
    Clash(
        ("training.epochs", "training.steps"),
        lambda epochs, steps: (epochs is None) == (steps is None),
        "exactly one of them sets the length of training; give that one a number, the other None",
    ),
)

CLASHES = (
    *(*DATA, *_MODEL, *COMPONENTS, *COMPOSITIONAL, *ADAPTATION),
    *(*_BASELINES, *_ROUTER, *UNUSED, *_TRAINING, *ADDED),
)


def _epsilon(rule: str, epsilon: float | None) -> float:
    return RULES[rule].epsilon if epsilon is None else epsilon


def _temperature(rule: str, temperature: float | None) -> float:
    return RULES[rule].temperature if temperature is None else temperature
