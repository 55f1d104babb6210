"""The table of configuration fields: the one place that says which exist.

Each row holds a field's default, its allowed values and its meaning; the base configuration, the
checks and the command line's help are derived from it.
"""

import re

from routing_jax import config_rules as rules
from routing_jax.config_rules import Field, Rule, one_of, or_none

DATA_SETS = ("mnist", "fashion_mnist", "usps", "cifar100", "digits")
DATA_TASKS = ("one_vs_rest", "superclass")
DATA_FALLBACKS = ("digits", "none")
AUGMENTATIONS = ("none", "crop", "crop_flip")
MODELS = ("routing_network",)
ENCODERS = ("conv4", "flatten")
BANKS = ("per_depth", "shared")
DTYPES = ("float32", "bfloat16")
ROUTER_AGENTS = ("per_task", "single")
ROUTER_POLICIES = ("tabular",)
ROUTER_RULES = ("wpl",)
WPL_CONVENTIONS = ("routing_networks", "abdallah_lesser")
DECISIONS_PER = ("example", "task")
DISPATCH_STRATEGIES = ("auto", "dense", "gather", "grouped", "ragged")
FINAL_REWARDS = ("correctness", "negative_loss")
COLLABORATION_REWARDS = ("usage", "probability")
OPTIMIZERS = ("sgd", "adam")
UNUSED_BLOCKS = ("keep", "drift")
SCHEDULES = ("constant", "step", "cosine")

_EXPERIMENT_NAME = Rule(
    str,
    "a name of letters, digits, _ and -",
    lambda value: re.fullmatch(r"[A-Za-z0-9_-]+", value) is not None,
)

FIELDS: dict[str, Field] = {
    "experiment": Field(
        "experiment", _EXPERIMENT_NAME, "names the run in results, figures and the work directory"
    ),
    # Data.
    "data.name": Field("mnist", one_of(DATA_SETS), "data set; digits is embedded in scikit-learn"),
    "data.tasks": Field("one_vs_rest", one_of(DATA_TASKS), "how classes are cut into tasks"),
    "data.dir": Field(
        "", rules.ANY_TEXT, "prepared TFDS sets; '' = $ROUTING_JAX_DATA_DIR, then TFDS's default"
    ),
    "data.fallback": Field(
        "digits", one_of(DATA_FALLBACKS), "what replaces a missing set; none = an error"
    ),
    "data.cache_dir": Field("", rules.ANY_TEXT, "decoded arrays; '' = the user's cache directory"),
    "data.validation_fraction": Field(
        0.0, rules.UNIT_BELOW_ONE, "share of the training examples held out for validation"
    ),
    "data.augment": Field("none", one_of(AUGMENTATIONS), "random changes to training images"),
    "data.share_images": Field(
        False, rules.FLAG, "whether all tasks of a step look at the same images"
    ),
    # Model.
    "model.name": Field("routing_network", one_of(MODELS), "system to train"),
    "model.encoder": Field("conv4", one_of(ENCODERS), "layers before the routed ones"),
    "model.num_blocks": Field(
        None, or_none(rules.COUNT, "one per task"), "function blocks of a bank (K)"
    ),
    "model.depth": Field(3, rules.COUNT, "number of routing decisions (D)"),
    "model.width": Field(128, rules.COUNT, "features of a routed layer (F)"),
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
    "router.rule": Field("wpl", one_of(ROUTER_RULES), "how the router learns"),
    "router.wpl_convention": Field(
        "routing_networks",
        one_of(WPL_CONVENTIONS),
        "whether WPL scales a positive advantage by pi or by 1 - pi",
    ),
    "router.decision_per": Field("example", one_of(DECISIONS_PER), "what one decision is for"),
    "router.pass_action": Field(False, rules.FLAG, "whether an agent may skip a depth (PASS)"),
    "router.learning_rate": Field(0.1, rules.POSITIVE, "step size of the policy"),
    "router.return_rate": Field(
        0.05, rules.UNIT_ABOVE_ZERO, "rate of the running mean return, per step"
    ),
    "router.epsilon": Field(0.0, rules.UNIT, "share of decisions drawn uniformly in training"),
    "router.temperature": Field(1.0, rules.POSITIVE, "divides the policy's logits in training"),
    "router.entropy_weight": Field(0.0, rules.NON_NEGATIVE, "weight of the policy's entropy"),
    # Dispatch.
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
    "reward.usage_window": Field(256, rules.COUNT, "length of that average, in decisions"),
    "reward.discount": Field(1.0, rules.UNIT, "factor of a return per depth"),
    # Optimizer of the blocks.
    "optimizer.name": Field("sgd", one_of(OPTIMIZERS), "how the blocks learn"),
    "optimizer.learning_rate": Field(0.05, rules.POSITIVE, "first step size of the blocks"),
    "optimizer.momentum": Field(0.9, rules.UNIT_BELOW_ONE, "momentum of sgd"),
    "optimizer.schedule": Field(
        "step", one_of(SCHEDULES), "step = divided by 10 after 70 % of the steps"
    ),
    "optimizer.unused_blocks": Field(
        "keep",
        one_of(UNUSED_BLOCKS),
        "a block that no example took: keep it, or let momentum and adam move it",
    ),
    # Training.
    "training.epochs": Field(
        None,
        or_none(rules.COUNT, "a length in steps"),
        "length in epochs: one draws each example of the largest task once",
    ),
    "training.steps": Field(
        1000, or_none(rules.COUNT, "a length in epochs"), "length in steps; exactly one of the two"
    ),
    "training.examples_per_task": Field(16, rules.COUNT, "examples of each task in a step (n)"),
    "training.eval_every": Field(100, rules.COUNT, "steps from one evaluation to the next"),
    "training.checkpoint_every": Field(500, rules.COUNT, "steps from one checkpoint to the next"),
    "training.seed": Field(0, rules.SEED, "seed of every random draw"),
}
