"""The table of configuration fields: the one place that says which exist.

Each row holds a field's default, its allowed values and its meaning; the base configuration, the
checks and the command line's help are derived from it.
"""

import re
from typing import NamedTuple

from routing_jax import config_adaptation, config_components, config_data
from routing_jax import config_rules as rules
from routing_jax.config_rules import Field, Rule, one_of, or_none


class RuleTraits(NamedTuple):
    """What a learning rule needs of a router."""

    kind: str
    """What the policy's outputs are, see `routers.exploration`."""
    critic: bool = False
    """Whether it learns values of states."""
    control: bool = False
    """Whether it learns a control variate."""
    straight_through: bool = False
    """Whether the loss of the task has to reach the policy."""
    bootstraps: bool = False
    """Whether its targets are made of values of the next decision."""
    full_information: bool = False
    """Whether it needs the losses of all actions, not only of those taken."""

    @property
    def epsilon(self) -> float:
        """Share of uniform draws where none is set: action values need some, a policy draws."""
        return 0.1 if self.kind == "values" else 0.0

    @property
    def temperature(self) -> float:
        """Temperature where none is set: the best action value, or the policy itself."""
        return 0.0 if self.kind == "values" else 1.0


MODELS = (
    *("routing_network", "cross_stitch", "soft_mixture", "gumbel_matrix"),
    *("joint_classifier", "compositional"),
)
ROUTED = ("routing_network", "gumbel_matrix")
"""Models with a router that a rule trains."""
TAKE_ROUTES = (*ROUTED, "compositional")
"""Models whose routes can be given."""
MIX = ("compositional", "soft_mixture")
"""Models whose router is mixing weights, which learn by back-propagation."""
STEMS = ("strided", "space_to_depth", "plain", "resnet")
"""The encoders that residual blocks stand behind: they set resolution and width."""
ENCODERS = ("conv4", "stem", "flatten", "pixels", "pointwise", *STEMS)
RESIDUAL = ("inverted_residual", "basic")
"""The blocks of compositional networks."""
BLOCKS = ("dense", "conv", "valid_conv", "components", *RESIDUAL)
STATISTICS = ("shared", "per_depth", "per_depth_and_task")
HEADS = ("routed", "own", "shared")
BANKS = ("per_depth", "shared")
MIXING_STARTS = ("uneven", "alike", "cycle", "sequence", "source")
TRAINABLE = ("head", "mixing", "normalisation", "statistics", "blocks", "encoder", "adapter")
"""The parts of a network that can train; see `training.trainable`."""
DTYPES = ("float32", "bfloat16")
ROUTER_AGENTS = ("per_task", "single", "dispatched")
ROUTER_POLICIES = ("tabular", "approximator", "fixed")
FIXED_ROUTES = ("own", "own_last", "shared", "random", "all")
MERGES = ("mean", "sum")
POLICY_NETWORKS = ("per_depth", "shared")
RULES = {
    "wpl": RuleTraits("probabilities"),
    "reinforce": RuleTraits("logits"),
    "reinforce_mean": RuleTraits("logits"),
    "reinforce_learned": RuleTraits("logits", critic=True),
    "actor_critic": RuleTraits("logits", critic=True, bootstraps=True),
    "q_learning": RuleTraits("values", bootstraps=True),
    "sarsa": RuleTraits("values", bootstraps=True),
    "expected_sarsa": RuleTraits("values", bootstraps=True),
    "advantage_learning": RuleTraits("values", bootstraps=True),
    "gumbel_softmax": RuleTraits("logits", straight_through=True),
    "relax": RuleTraits("logits", control=True),
    "hedge": RuleTraits("logits", full_information=True),
}
"""The learning rules: functions of these names in `rl.rules`, and what they need of a router."""
ROUTER_RULES = tuple(RULES)
VALUE_RULES = tuple(name for name, rule in RULES.items() if rule.kind == "values")
ROUTER_OPTIMIZERS = ("sgd", "adam")
EXPLORATION_SCHEDULES = ("linear", "geometric", "inverse_sqrt")
WPL_CONVENTIONS = ("routing_networks", "abdallah_lesser")
DECISIONS_PER = ("example", "task")
APPLICATIONS = ("mix_parameters", "mix_outputs", "select")
DISPATCH_STRATEGIES = ("auto", "dense", "gather", "grouped", "ragged")
FINAL_REWARDS = ("correctness", "negative_loss")
COLLABORATION_REWARDS = ("usage", "probability")
OPTIMIZERS = ("sgd", "adam")
UNUSED_BLOCKS = ("keep", "drift")
BLOCK_STEPS = ("summed", "by_use")
SCHEDULES = ("constant", "step", "cosine")

_EXPERIMENT_NAME = Rule(
    str,
    "a name of letters, digits, _ and -",
    lambda value: re.fullmatch(r"[A-Za-z0-9_-]+", value) is not None,
)
_ROUTES = Rule(
    str,
    f"{', '.join(FIXED_ROUTES)}, or each task's route such as 0-0-0 0-1-2",
    lambda value: (
        value in FIXED_ROUTES or re.fullmatch(r"\d+(-\d+)*( \d+(-\d+)*)*", value) is not None
    ),
)

_COMPONENTS = Rule(
    str,
    f"names of {', '.join(config_components.COMPONENTS)}, each with how often it comes, such as "
    "'8xconv3 identity'; or ''",
    lambda value: not value or config_components.are_components(value),
)
_STRIDES = Rule(
    str,
    "1 or 2 for each routed layer, such as 2-1-2; or ''",
    lambda value: not value or config_components.are_strides(value),
)

FIELDS: dict[str, Field] = {
    "experiment": Field(
        "experiment", _EXPERIMENT_NAME, "names the run in results, figures and the work directory"
    ),
    "sweep": Field(
        "", rules.ANY_TEXT, "axes of a grid, such as 'rho=0,0.3 seed=0:8'; '' = a single run"
    ),
    **config_data.FIELDS,
    # Model.
    "model.name": Field("routing_network", one_of(MODELS), "system to train"),
    "model.encoder": Field("conv4", one_of(ENCODERS), "layers before the routed ones"),
    "model.block": Field("dense", one_of(BLOCKS), "what a hidden routed layer is made of"),
    "model.components": Field(
        "", _COMPONENTS, "the function blocks of a layer of block=components; see components.py"
    ),
    "model.strides": Field("", _STRIDES, "strides of these layers; '' = 1 everywhere"),
    "model.num_blocks": Field(
        None, or_none(rules.COUNT, "one per task"), "function blocks of a bank (K)"
    ),
    "model.depth": Field(3, rules.COUNT, "number of routing decisions (D)"),
    "model.width": Field(128, rules.COUNT, "features, or channels, of a routed layer (F)"),
    "model.resolution": Field(
        8, rules.COUNT, "side of the map inside an isometric network, from end to end"
    ),
    "model.statistics": Field(
        "per_depth",
        one_of(STATISTICS),
        "which places of an isometric network have running averages of their own",
    ),
    "model.head": Field(
        "routed",
        one_of(HEADS),
        "what gives the logits: the last routed layer, or a layer behind it that each task has of "
        "its own, or that all tasks of the same classes share",
    ),
    "model.dropout": Field(
        0.0, rules.UNIT_BELOW_ONE, "share of features dropped before such a head"
    ),
    "model.bank": Field("per_depth", one_of(BANKS), "own bank for each depth, or one for all"),
    "model.block_noise": Field(
        1.0,
        rules.UNIT,
        "0 = all blocks of a bank start equal, 1 = independent draws as in the paper",
    ),
    "model.dtype": Field("float32", one_of(DTYPES), "number format of the computation"),
    # Router.
    "router.agent": Field("per_task", one_of(ROUTER_AGENTS), "which agent decides"),
    "router.policy": Field("tabular", one_of(ROUTER_POLICIES), "what maps a state to an action"),
    "router.routes": Field("own", _ROUTES, "the routes of the fixed policy; see routers/fixed.py"),
    "router.num_agents": Field(
        None, or_none(rules.COUNT, "one per task"), "agents that a dispatcher picks from (G)"
    ),
    "router.networks": Field(
        "per_depth",
        one_of(POLICY_NETWORKS),
        "an approximator's network for each depth, or one that sees the depth",
    ),
    "router.hidden": Field(64, rules.COUNT, "hidden units of an approximator or dispatcher"),
    "router.task_input": Field(False, rules.FLAG, "whether these see the task, as one-hot"),
    "router.rule": Field("wpl", one_of(ROUTER_RULES), "how the router learns"),
    "router.advantage_scale": Field(
        0.5, rules.UNIT_ABOVE_ZERO, "advantage_learning stretches gaps by 1 over this"
    ),
    "router.measured": Field(
        4, rules.COUNT, "examples of a task in a step that hedge tries all actions on; held out"
    ),
    "router.optimizer": Field(
        "sgd", one_of(ROUTER_OPTIMIZERS), "what turns a rule's gradient into a step"
    ),
    "router.wpl_convention": Field(
        "routing_networks",
        one_of(WPL_CONVENTIONS),
        "whether WPL scales a positive advantage by pi or by 1 - pi",
    ),
    "router.decision_per": Field("example", one_of(DECISIONS_PER), "what one decision is for"),
    "router.pass_action": Field(False, rules.FLAG, "whether an agent may skip a depth (PASS)"),
    "router.learning_rate": Field(0.1, rules.POSITIVE, "step size of the policy"),
    "router.learns_from": Field(
        0.0,
        rules.UNIT_BELOW_ONE,
        "share of the run that is over when the router begins to learn; blocks do at once",
    ),
    "router.dispatcher_learning_rate": Field(
        None, or_none(rules.POSITIVE, "router.learning_rate"), "step size of a dispatcher"
    ),
    "router.return_rate": Field(
        0.05, rules.UNIT_ABOVE_ZERO, "rate of the running mean return, per step"
    ),
    "router.trace": Field(
        None,
        or_none(rules.UNIT, "1 for tables, which see no difference between states, else 0"),
        "lambda of targets that bootstrap: 0 = one step, 1 = the whole return",
    ),
    "router.epsilon": Field(
        None,
        or_none(rules.UNIT, "0.1 for rules that learn action values, else 0"),
        "share of decisions drawn uniformly in training",
    ),
    "router.epsilon_end": Field(
        None, or_none(rules.UNIT, "router.epsilon"), "the same at the end of training"
    ),
    "router.temperature": Field(
        None,
        or_none(rules.NON_NEGATIVE, "0 for rules that learn action values, else 1"),
        "divides the policy's logits in training; 0 = the best action, for action values",
    ),
    "router.temperature_end": Field(
        None, or_none(rules.NON_NEGATIVE, "router.temperature"), "the same at the end of training"
    ),
    "router.exploration_schedule": Field(
        "linear", one_of(EXPLORATION_SCHEDULES), "the way from start to end of both"
    ),
    "router.probability_floor": Field(
        0.0, rules.UNIT, "smallest probability of an action in a table of probabilities"
    ),
    "router.entropy_weight": Field(0.0, rules.NON_NEGATIVE, "weight of the policy's entropy"),
    # Mixing weights (compositional).
    "router.mixing_start": Field(
        "uneven",
        one_of(MIXING_STARTS),
        "the mixing weights that tasks start from: each its own; all the same, drawn (alike) or "
        "nearly an order of blocks (cycle: 0 1 0 1, sequence: 0 0 1 1); or, where tasks are new to "
        "the network of training.init_from, the mean of those that its tasks have",
    ),
    # Allocation of blocks to tasks (gumbel_matrix).
    "router.start_probability": Field(
        0.5, rules.UNIT_INSIDE, "that a block is on for a task, at the start"
    ),
    "router.skip_below": Field(
        0.0,
        rules.BELOW_HALF,
        "in training, blocks that are on with less than this probability are not computed",
    ),
    "router.merge": Field(
        "mean", one_of(MERGES), "what becomes of the outputs of blocks that are on"
    ),
    "router.budget": Field(1.0, rules.UNIT, "share of blocks that may be on at no cost"),
    "router.budget_weight": Field(0.0, rules.NON_NEGATIVE, "weight of the share beyond the budget"),
    "router.certainty_weight": Field(
        0.0,
        rules.NON_NEGATIVE,
        "weight of the switches' entropy as a cost that grows to its full size",
    ),
    "router.empty_weight": Field(
        0.0, rules.NON_NEGATIVE, "weight of the probability that a depth has no block on"
    ),
    "router.count_weight": Field(0.0, rules.NON_NEGATIVE, "weight of the number of blocks on"),
    # Dispatch.
    "dispatch.apply": Field(
        "mix_parameters",
        one_of(APPLICATIONS),
        "how mixing weights are applied; select = the block of the largest one alone",
    ),
    "dispatch.strategy": Field(
        "auto", one_of(DISPATCH_STRATEGIES), "how the chosen blocks are applied"
    ),
    # Reward.
    "reward.final": Field(
        "correctness", one_of(FINAL_REWARDS), "reward for the answer: +1 / -1, or minus the loss"
    ),
    "reward.rho": Field(0.0, rules.UNIT, "weight of the collaboration reward"),
    "reward.collaboration": Field(
        "usage", one_of(COLLABORATION_REWARDS), "what the collaboration reward averages"
    ),
    "reward.usage_window": Field(
        256, or_none(rules.COUNT, "those of ten steps"), "length of that average, in decisions"
    ),
    "reward.discount": Field(1.0, rules.UNIT, "factor of a return per depth"),
    # Optimizer of the blocks.
    "optimizer.name": Field("sgd", one_of(OPTIMIZERS), "how the blocks learn"),
    "optimizer.learning_rate": Field(0.05, rules.POSITIVE, "first step size of the blocks"),
    "optimizer.momentum": Field(0.9, rules.UNIT_BELOW_ONE, "momentum of sgd"),
    "optimizer.schedule": Field(
        "step", one_of(SCHEDULES), "step = divided by 10 after 70 % of the steps"
    ),
    "optimizer.l2": Field(
        0.0, rules.NON_NEGATIVE, "weight of half the squared norm of all parameters but biases"
    ),
    "optimizer.block_steps": Field(
        "summed",
        one_of(BLOCK_STEPS),
        "a block's gradient, over the examples that took it: summed, or divided by the share that "
        "its router gives it",
    ),
    "optimizer.unused_blocks": Field(
        "keep",
        one_of(UNUSED_BLOCKS),
        "a block that no example took: keep it, or let momentum and adam move it",
    ),
    **config_adaptation.ADAPTATION,
    # Training.
    "training.epochs": Field(
        None,
        or_none(rules.COUNT, "a length in steps"),
        "length in epochs: one draws each example of the largest task once",
    ),
    "training.steps": Field(
        1000, or_none(rules.COUNT, "a length in epochs"), "length in steps; exactly one of the two"
    ),
    "training.init_from": Field(
        "",
        rules.ANY_TEXT,
        "work directory of a finished run whose parameters and running averages this one starts "
        "from; '' = from random draws",
    ),
    "training.trainable": Field(
        "all",
        rules.some_of(TRAINABLE, "all", "none"),
        "which parts train, or in an adaptation which of the target's own; mixing are routers and "
        "mixing weights, normalisation their scales and offsets, statistics the running averages",
    ),
    "training.round_robin": Field(
        False, rules.FLAG, "whether a step learns from one task only, in turns, instead of from all"
    ),
    "training.examples_per_task": Field(16, rules.COUNT, "examples of each task in a step (n)"),
    "training.eval_every": Field(100, rules.COUNT, "steps from one evaluation to the next"),
    "training.checkpoint_every": Field(500, rules.COUNT, "steps from one checkpoint to the next"),
    "training.seed": Field(0, rules.SEED, "seed of every random draw"),
}


TRACED = {
    "seed": "training.seed",
    "learning_rate": "optimizer.learning_rate",
    "router_learning_rate": "router.learning_rate",
    "learns_from": "router.learns_from",
    "return_rate": "router.return_rate",
    "trace": "router.trace",
    "dispatcher_learning_rate": "router.dispatcher_learning_rate",
    "epsilon": "router.epsilon",
    "epsilon_end": "router.epsilon_end",
    "temperature": "router.temperature",
    "temperature_end": "router.temperature_end",
    "entropy_weight": "router.entropy_weight",
    "budget": "router.budget",
    "budget_weight": "router.budget_weight",
    "certainty_weight": "router.certainty_weight",
    "empty_weight": "router.empty_weight",
    "count_weight": "router.count_weight",
    "rho": "reward.rho",
    "discount": "reward.discount",
    "block_noise": "model.block_noise",
}
"""The field behind each of `training.state.Hyperparams`: a compiled program takes their values as
arguments, so the cells of a sweep that differ only in them share one program."""
