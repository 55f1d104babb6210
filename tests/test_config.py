"""The defaults, the checks and their exact messages."""

import copy
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies as st
from ml_collections import ConfigDict

import routing_jax
from routing_jax import config as config_lib
from routing_jax.config_fields import FIELDS
from routing_jax.errors import ConfigError, UserError

SYNTHETIC = {
    "data__name": "synthetic",
    "data__tasks": "related_pairs",
    "model__encoder": "flatten",
    "reward__final": "negative_loss",
}


def nested(values: dict) -> dict:
    """The values by dotted name, grouped."""
    groups = {}
    for name, value in values.items():
        group, _, leaf = name.rpartition(".")
        (groups.setdefault(group, {}) if group else groups)[leaf] = value
    return groups


def changed(**values) -> ConfigDict:
    """The base configuration with values by dotted name; `__` stands for the dot."""
    config = config_lib.base_config()
    config.update(nested({name.replace("__", "."): value for name, value in values.items()}))
    return config


def problems(config: ConfigDict) -> list[str]:
    """The lines of the error that validate raises."""
    with pytest.raises(ConfigError) as caught:
        config_lib.validate(config)
    header, *lines = str(caught.value).split("\n  ")
    count = "1 place" if len(lines) == 1 else f"{len(lines)} places"
    assert header == f"The configuration is wrong in {count}:"
    return lines


def test_the_defaults_are_valid():
    config_lib.validate(config_lib.base_config())


def test_every_default_is_allowed_by_its_own_rule():
    assert [name for name, field in FIELDS.items() if not field.rule.accepts(field.default)] == []


def test_the_defaults_are_those_of_the_paper_and_the_issue():
    config = config_lib.base_config()
    assert config.to_dict() == {
        "experiment": "experiment",
        "sweep": "",
        "data": {
            "name": "mnist",
            "tasks": "one_vs_rest",
            "dir": "",
            "input": "auto",
            "fallback": "digits",
            "cache_dir": "",
            "num_tasks": None,
            "first_task": 0,
            "old_tasks": "",
            "validation_fraction": 0.0,
            "validation_use": "tuning",
            "alphabets": "",
            "domains": "all",
            "digit_frame": "stored",
            "target": "",
            "label_fraction": 1.0,
            "examples_per_class": None,
            "image_size": 0,
            "augment": "none",
            "share_images": False,
            "num_pairs": 4,
            "relatedness": 0.5,
        },
        "model": {
            "name": "routing_network",
            "encoder": "conv4",
            "block": "dense",
            "components": "",
            "strides": "",
            "num_blocks": None,
            "depth": 3,
            "width": 128,
            "resolution": 8,
            "statistics": "per_depth",
            "head": "routed",
            "dropout": 0.0,
            "bank": "per_depth",
            "block_noise": 1.0,
            "dtype": "float32",
        },
        "router": {
            "agent": "per_task",
            "policy": "tabular",
            "routes": "own",
            "num_agents": None,
            "networks": "per_depth",
            "hidden": 64,
            "task_input": False,
            "rule": "wpl",
            "advantage_scale": 0.5,
            "measured": 4,
            "optimizer": "sgd",
            "wpl_convention": "routing_networks",
            "decision_per": "example",
            "pass_action": False,
            "learns_from": 0.0,
            "learning_rate": 0.1,
            "dispatcher_learning_rate": None,
            "return_rate": 0.05,
            "trace": None,
            "epsilon": None,
            "epsilon_end": None,
            "temperature": None,
            "temperature_end": None,
            "exploration_schedule": "linear",
            "probability_floor": 0.0,
            "entropy_weight": 0.0,
            "mixing_start": "uneven",
            "start_probability": 0.5,
            "skip_below": 0.0,
            "merge": "mean",
            "budget": 1.0,
            "budget_weight": 0.0,
            "certainty_weight": 0.0,
            "empty_weight": 0.0,
            "count_weight": 0.0,
        },
        "dispatch": {"apply": "mix_parameters", "strategy": "auto"},
        "reward": {
            "final": "correctness",
            "rho": 0.0,
            "collaboration": "usage",
            "usage_window": 256,
            "discount": 1.0,
        },
        "optimizer": {
            "name": "sgd",
            "learning_rate": 0.05,
            "momentum": 0.9,
            "schedule": "step",
            "l2": 0.0,
            "unused_blocks": "keep",
            "block_steps": "summed",
        },
        "adaptation": {
            "loss": "moments",
            "moments_of": "maps",
            "moments_weight": 5e-4,
            "start_from": "",
            "opponent_learning_rate": 1e-4,
            "train_sources": False,
        },
        "training": {
            "epochs": None,
            "steps": 1000,
            "init_from": "",
            "trainable": "all",
            "round_robin": False,
            "examples_per_task": 16,
            "eval_every": 100,
            "checkpoint_every": 500,
            "seed": 0,
        },
    }


def test_fields_that_may_be_none_keep_their_type():
    config = config_lib.base_config()
    config.training.steps = None
    config.training.steps = 5
    with pytest.raises(TypeError):
        config.training.steps = "many"
    with pytest.raises(TypeError):
        config.model.num_blocks = "many"


# Values that can be typed on a command line stand in test_bad_input.py.
BAD_TYPES = [
    # Types that ConfigDict lets through.
    ("model.depth", True, "an integer >= 1 (default 3)"),
    ("model.depth", None, "an integer >= 1 (default 3)"),
    ("reward.rho", None, "a number in [0, 1] (default 0.0)"),
    ("data.dir", None, "text (default '')"),
    ("data.share_images", None, "true or false (default False)"),
]


@pytest.mark.parametrize(("name", "value", "advice"), BAD_TYPES)
def test_a_wrong_type_is_told_with_what_is_allowed(name, value, advice):
    config = changed(**{name.replace(".", "__"): value})
    assert problems(config) == [f"{name} = {value!r} is not allowed: set it to {advice}"]


COMPOSITIONAL = {
    "model__name": "compositional",
    "model__block": "inverted_residual",
    "model__encoder": "strided",
    "model__head": "own",
}
GUMBEL = {"model__name": "gumbel_matrix", "router__rule": "gumbel_softmax"}
ALPHABETS = {"data__name": "omniglot", "data__tasks": "alphabet"}
COMPONENTS = {
    "model__block": "components",
    "model__components": "conv3 identity",
    "model__encoder": "pointwise",
    "model__head": "own",
}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"data__tasks": "superclass"},
            "data.tasks = 'superclass' and data.name = 'mnist' clash: this set has no "
            "superclasses; set data.name to cifar100, or data.tasks to one_vs_rest",
        ),
        (
            {"data__name": "cifar100", "data__tasks": "superclass", "data__share_images": True},
            "data.share_images = True and data.tasks = 'superclass' clash: these tasks have no "
            "images in common; set data.share_images to false",
        ),
        (
            {"data__name": "digits", "data__input": "stream"},
            "data.input = 'stream' and data.name = 'digits' clash: only mnist, fashion_mnist, "
            "usps, cifar100, class_folders are streamed; set data.input to auto",
        ),
        (
            {"data__tasks": "rotated_copies", "data__input": "stream"},
            "data.input = 'stream' and data.tasks = 'rotated_copies' clash: turned images have to "
            "be made first; set data.input to auto",
        ),
        (
            {"data__name": "class_folders"},
            "data.dir = '' and data.name = 'class_folders' clash: the folders have to be named; "
            "set data.dir to the folder that holds train and val",
        ),
        (
            {"data__tasks": "alphabet"},
            "data.tasks = 'alphabet' and data.name = 'mnist' clash: omniglot has alphabet tasks, "
            "and no other set has them; change one of the two",
        ),
        (
            {"data__name": "omniglot"},
            "data.tasks = 'one_vs_rest' and data.name = 'omniglot' clash: omniglot has alphabet "
            "tasks, and no other set has them; change one of the two",
        ),
        (
            {"data__name": "omniglot", "data__tasks": "alphabet", "data__share_images": True},
            "data.share_images = True and data.tasks = 'alphabet' clash: these tasks have no "
            "images in common; set data.share_images to false",
        ),
        (
            {"data__validation_use": "best_step"},
            "data.validation_use = 'best_step' and data.validation_fraction = 0.0 clash: the best "
            "step is chosen by held-out examples; set data.validation_fraction above 0",
        ),
        (
            {"data__alphabets": "Korean"},
            "data.alphabets = 'Korean' and data.name = 'mnist' clash: only omniglot has alphabets; "
            "set data.alphabets to ''",
        ),
        (
            ALPHABETS | {"data__alphabets": "Korean", "data__first_task": 1},
            "data.alphabets = 'Korean' and data.first_task = 1 clash: the names say which tasks "
            "are taken; set data.first_task to 0",
        ),
        (
            {"data__examples_per_class": 5, "data__label_fraction": 0.5},
            "data.examples_per_class = 5 and data.label_fraction = 0.5 clash: both say how many "
            "labels are kept; set data.label_fraction to 1 or data.examples_per_class to None",
        ),
        (
            ALPHABETS | {"data__alphabets": "Korean", "data__num_tasks": 1},
            "data.alphabets = 'Korean' and data.num_tasks = 1 clash: the names say how many tasks "
            "there are; set data.num_tasks to None",
        ),
        (
            {"data__name": "clusters"},
            "data.tasks = 'one_vs_rest' and data.name = 'clusters' clash: the set clusters has "
            "tasks of its own, and no other set has them; change one of the two",
        ),
        (
            {"training__round_robin": True, "data__share_images": True},
            "training.round_robin = True and data.share_images = True clash: a step that learns "
            "from one task has nobody to share images with; set data.share_images to false",
        ),
        (
            {"training__round_robin": True, "model__name": "cross_stitch"},
            "training.round_robin = True and model.name = 'cross_stitch' clash: this model learns "
            "from all tasks together; set training.round_robin to false",
        ),
        (
            COMPONENTS | {"model__encoder": "flatten"},
            "model.block = 'components' and model.encoder = 'flatten' clash: components need a map "
            "to work on; set model.encoder to pointwise or model.block to dense",
        ),
        (
            COMPONENTS | {"model__components": ""},
            "model.block = 'components' and model.components = '' clash: block=components and the "
            "names of the components go together; set both or neither",
        ),
        (
            {"model__components": "conv3"},
            "model.block = 'dense' and model.components = 'conv3' clash: block=components and the "
            "names of the components go together; set both or neither",
        ),
        (
            {"model__strides": "2-1-1"},
            "model.block = 'dense' and model.strides = '2-1-1' clash: only components have strides "
            "that can be set; set model.strides to ''",
        ),
        (
            COMPONENTS | {"model__strides": "2-1"},
            "model.strides = '2-1' and model.depth = 3 clash: each routed layer has one stride; "
            "give as many as model.depth says",
        ),
        (
            COMPONENTS | {"model__width": 6},
            "model.block = 'components' and model.encoder = 'pointwise' and model.width = 6 clash: "
            "4 groups of channels are normalised; set model.width to a multiple of 4",
        ),
        (
            COMPONENTS | {"model__head": "routed"},
            "model.block = 'components' and model.head = 'routed' clash: components give maps; set "
            "model.head to own, which gives the logits",
        ),
        (
            COMPONENTS | {"model__num_blocks": 2},
            "model.block = 'components' and model.num_blocks = 2 clash: the components say "
            "themselves how many blocks there are; set model.num_blocks to None",
        ),
        (
            SYNTHETIC | {"data__tasks": "one_vs_rest"},
            "data.tasks = 'one_vs_rest' and data.name = 'synthetic' clash: synthetic has "
            "related_pairs tasks, and no other set has them; change one of the two",
        ),
        (
            SYNTHETIC | {"reward__final": "correctness"},
            "reward.final = 'correctness' and data.name = 'synthetic' clash: a predicted number is "
            "not right or wrong; set reward.final to negative_loss",
        ),
        (
            SYNTHETIC | {"model__encoder": "conv4"},
            "model.encoder = 'conv4' and data.name = 'synthetic' clash: synthetic inputs are "
            "vectors, not images; set model.encoder to flatten",
        ),
        (
            SYNTHETIC | {"data__augment": "crop"},
            "data.augment = 'crop' and data.name = 'synthetic' clash: synthetic inputs are "
            "vectors, not images; set data.augment to none",
        ),
        (
            {"data__name": "digits", "data__image_size": 4},
            "data.image_size = 4 and data.name = 'digits' clash: only single prepared sets are "
            "scaled; set data.image_size to 0",
        ),
        (
            {"data__name": "digit_domains", "data__image_size": 16},
            "data.tasks = 'one_vs_rest' and data.name = 'digit_domains' clash: its sources are its "
            "superclasses, and each is a task; set data.tasks to superclass",
        ),
        (
            {"data__name": "digit_domains", "data__tasks": "superclass"},
            "data.image_size = 0 and data.name = 'digit_domains' clash: its sources have images of "
            "unlike sizes; set data.image_size to 16",
        ),
        (
            COMPOSITIONAL | {"model__name": "routing_network"},
            "model.name = 'routing_network' and model.block = 'inverted_residual' clash: "
            "compositional has blocks of inverted_residual or basic, and no other model keeps the "
            "running averages that they need; change one of the two",
        ),
        (
            COMPOSITIONAL | {"model__encoder": "conv4"},
            "model.block = 'inverted_residual' and model.encoder = 'conv4' clash: residual "
            "blocks, and no others, need a stem that sets their width; set model.encoder to "
            "strided for inverted_residual, to resnet for basic, else to conv4",
        ),
        (
            COMPOSITIONAL | {"model__head": "routed"},
            "model.name = 'compositional' and model.head = 'routed' clash: all blocks of a "
            "compositional network keep the map, so none can give the logits; set model.head to "
            "own",
        ),
        (
            COMPOSITIONAL | {"router__agent": "dispatched"},
            "model.name = 'compositional' and router.agent = 'dispatched' clash: mixing weights do "
            "not look at the input; set router.agent to per_task, or to single for one mixture for "
            "all tasks",
        ),
        (
            {"data__digit_frame": "ink"},
            "data.digit_frame = 'ink' and data.name = 'mnist' clash: only digit_domains scales "
            "digits by their ink; set data.name to it, or data.digit_frame to stored",
        ),
        (
            COMPOSITIONAL | {"router__entropy_weight": 0.1},
            "model.name = 'compositional' and router.entropy_weight = 0.1 clash: nothing rewards "
            "the entropy of mixing weights; set it to 0, and router.temperature_end below "
            "router.temperature for pure orders",
        ),
        (
            COMPOSITIONAL | {"router__policy": "fixed", "router__routes": "random"},
            "model.name = 'compositional' and router.routes = 'random' clash: the order of blocks "
            "is given as shared, own, own_last, or each task's blocks; name one of these",
        ),
        (
            COMPOSITIONAL | {"router__policy": "fixed", "dispatch__apply": "select"},
            "router.policy = 'fixed' and dispatch.apply = 'select' clash: given routes take one "
            "block whole in any case; leave dispatch.apply at 'mix_parameters'",
        ),
        (
            COMPOSITIONAL | {"router__policy": "fixed", "router__mixing_start": "alike"},
            "router.policy = 'fixed' and router.mixing_start = 'alike' clash: given routes have no "
            "mixing weights to start from; leave router.mixing_start at 'uneven'",
        ),
        (
            COMPOSITIONAL | {"router__mixing_start": "source"},
            "router.mixing_start = 'source' and training.init_from = '' clash: there is no run "
            "whose mixing weights to start from; name its work directory in training.init_from, or "
            "set router.mixing_start to alike",
        ),
        (
            COMPOSITIONAL | {"router__agent": "single", "router__mixing_start": "alike"},
            "router.agent = 'single' and router.mixing_start = 'alike' clash: one mixture for all "
            "tasks is alike in any case, and no task has one of its own; leave "
            "router.mixing_start at 'uneven', or set it to cycle or sequence",
        ),
        (
            {"model__statistics": "shared"},
            "model.name = 'routing_network' and model.statistics = 'shared' clash: only "
            "compositional looks at it; leave model.statistics at 'per_depth'",
        ),
        (
            {"dispatch__apply": "mix_outputs"},
            "model.name = 'routing_network' and dispatch.apply = 'mix_outputs' clash: only "
            "compositional looks at it; leave dispatch.apply at 'mix_parameters'",
        ),
        (
            {"dispatch__strategy": "gather"},
            "dispatch.strategy = 'gather' and router.decision_per = 'example' clash: gather "
            "applies one block per task; set router.decision_per to task or dispatch.strategy "
            "to auto",
        ),
        (
            {
                "dispatch__strategy": "ragged",
                "model__block": "conv",
                "model__encoder": "stem",
            },
            "dispatch.strategy = 'ragged' and model.block = 'conv' clash: only dense blocks have a "
            "ragged product; set dispatch.strategy to auto or model.block to dense",
        ),
        (
            {"model__name": "cross_stitch", "router__policy": "fixed"},
            "model.name = 'cross_stitch' and router.policy = 'fixed' clash: only a routing network "
            "has routes that can be fixed; set router.policy to tabular, which this model does not "
            "use, or model.name to routing_network",
        ),
        (
            {"model__name": "cross_stitch", "router__pass_action": True},
            "model.name = 'cross_stitch' and router.pass_action = True clash: this model runs all "
            "blocks and has nothing to pass; set router.pass_action to false",
        ),
        (
            {"model__name": "soft_mixture", "dispatch__strategy": "dense"},
            "model.name = 'soft_mixture' and dispatch.strategy = 'dense' clash: this model runs "
            "all blocks; set dispatch.strategy to auto",
        ),
        (
            {"model__name": "cross_stitch", "model__num_blocks": 4},
            "model.name = 'cross_stitch' and model.num_blocks = 4 clash: the tasks say how many "
            "blocks this model has; set model.num_blocks to None",
        ),
        (
            {"model__name": "joint_classifier"},
            "model.name = 'joint_classifier' and data.tasks = 'one_vs_rest' clash: one classifier "
            "of all classes needs tasks without common images; set data.tasks to one of "
            "superclass, alphabet, random_groups, or model.name to routing_network",
        ),
        (
            {"data__name": "mini_imagenet", "data__tasks": "one_vs_rest"},
            "data.tasks = 'one_vs_rest' and data.name = 'mini_imagenet' clash: mini_imagenet has "
            "random_groups tasks, and no other set has them; change one of the two",
        ),
        (
            {"router__policy": "fixed", "model__num_blocks": 4},
            "router.policy = 'fixed' and router.routes = 'own' and model.num_blocks = 4 clash: "
            "these routes say themselves how many blocks there are; set model.num_blocks to None",
        ),
        (
            {"router__routes": "shared"},
            "router.policy = 'tabular' and router.routes = 'shared' clash: only the fixed policy "
            "takes given routes; set router.policy to fixed or leave router.routes at 'own'",
        ),
        (
            {"router__policy": "fixed", "router__rule": "sarsa"},
            "router.policy = 'fixed' and router.rule = 'sarsa' clash: fixed routes are not "
            "learned; leave router.rule at 'wpl', which they do not use, or set router.policy to "
            "tabular",
        ),
        (
            {"router__policy": "fixed", "router__agent": "single"},
            "router.policy = 'fixed' and router.agent = 'single' clash: each task has a route of "
            "its own; set router.agent to per_task",
        ),
        (
            {"router__policy": "fixed", "router__pass_action": True},
            "router.policy = 'fixed' and router.pass_action = True clash: fixed routes have a "
            "block at every depth; set router.pass_action to false",
        ),
        (
            {"model__block": "conv", "model__encoder": "flatten"},
            "model.block = 'conv' and model.encoder = 'flatten' clash: convolutional blocks need a "
            "map to work on; set model.encoder to stem or model.block to dense",
        ),
        (
            {"router__policy": "approximator"},
            "router.rule = 'wpl' and router.policy = 'approximator' clash: wpl moves a table of "
            "probabilities; set router.policy to tabular or router.rule to reinforce_mean",
        ),
        (
            {"router__optimizer": "adam"},
            "model.name = 'routing_network' and router.rule = 'wpl' and router.optimizer = 'adam' "
            "clash: wpl takes plain steps on the simplex; set router.optimizer to sgd",
        ),
        (
            {"router__rule": "reinforce", "router__probability_floor": 0.01},
            "router.rule = 'reinforce' and router.probability_floor = 0.01 clash: only wpl keeps a "
            "table of probabilities that can have a floor; set it to 0 and explore with "
            "router.epsilon",
        ),
        (
            {"router__rule": "sarsa", "router__entropy_weight": 0.1},
            "router.rule = 'sarsa' and router.entropy_weight = 0.1 clash: action values have no "
            "entropy to reward; set router.entropy_weight to 0 and explore with router.epsilon or "
            "router.temperature",
        ),
        (
            {"router__temperature_end": 0.0},
            "router.rule = 'wpl' and router.temperature = None and router.temperature_end = 0.0 "
            "clash: a temperature of 0 takes the best action value, and this rule learns a policy; "
            "set it above 0",
        ),
        (
            {"router__rule": "q_learning", "router__epsilon": 0.0},
            "router.rule = 'q_learning' and router.epsilon = 0.0 and router.epsilon_end = None and "
            "router.temperature = None and router.temperature_end = None clash: always taking the "
            "best action never learns the others; set router.epsilon or router.temperature above 0",
        ),
        (
            {"router__exploration_schedule": "geometric", "router__epsilon_end": 0.1},
            "router.exploration_schedule = 'geometric' and router.rule = 'wpl' and router.epsilon "
            "= None and router.epsilon_end = 0.1 clash: a geometric schedule never leaves or "
            "reaches 0; set both ends above 0 or router.exploration_schedule to linear",
        ),
        (
            {
                "router__exploration_schedule": "geometric",
                "router__rule": "sarsa",
                "router__temperature_end": 0.1,
            },
            "router.exploration_schedule = 'geometric' and router.rule = 'sarsa' and "
            "router.temperature = None and router.temperature_end = 0.1 clash: a geometric "
            "schedule never leaves or reaches 0; set both ends above 0 or "
            "router.exploration_schedule to linear",
        ),
        (
            {
                "router__rule": "reinforce",
                "router__policy": "approximator",
                "router__decision_per": "task",
            },
            "router.policy = 'approximator' and router.decision_per = 'task' clash: an "
            "approximator sees examples; set router.decision_per to example or router.policy to "
            "tabular",
        ),
        (
            {"router__agent": "dispatched", "router__decision_per": "task"},
            "router.agent = 'dispatched' and router.decision_per = 'task' clash: a dispatcher sees "
            "examples; set router.decision_per to example or router.agent to per_task",
        ),
        (
            {"router__networks": "shared"},
            "router.networks = 'shared' and router.policy = 'tabular' clash: only an approximator "
            "has networks; set router.policy to approximator or router.networks to per_depth",
        ),
        (
            {"router__task_input": True},
            "router.task_input = True and router.policy = 'tabular' and router.agent = 'per_task' "
            "clash: only an approximator or a dispatcher sees inputs; set router.task_input to "
            "false",
        ),
        (
            {"router__dispatcher_learning_rate": 0.1},
            "router.dispatcher_learning_rate = 0.1 and router.agent = 'per_task' clash: only a "
            "dispatcher has it; set router.agent to dispatched or the rate to None",
        ),
        (
            {"router__trace": 0.5},
            "router.trace = 0.5 and router.rule = 'wpl' clash: this rule uses whole returns "
            "anyway; set router.trace to None",
        ),
        (
            {"model__name": "soft_mixture", "router__rule": "sarsa"},
            "model.name = 'soft_mixture' and router.rule = 'sarsa' clash: this model has no "
            "router; leave router.rule at 'wpl', which it does not use, or set model.name to "
            "routing_network",
        ),
        (
            {"model__name": "gumbel_matrix"},
            "model.name = 'gumbel_matrix' and router.policy = 'tabular' and router.rule = 'wpl' "
            "clash: its switches learn by back-propagation; set router.rule to gumbel_softmax",
        ),
        (
            GUMBEL | {"router__policy": "approximator"},
            "model.name = 'gumbel_matrix' and router.policy = 'approximator' clash: its switches "
            "do not look at the input; set router.policy to tabular",
        ),
        (
            GUMBEL | {"router__agent": "single"},
            "model.name = 'gumbel_matrix' and router.agent = 'single' clash: each task has "
            "switches of its own; set router.agent to per_task",
        ),
        (
            GUMBEL | {"router__entropy_weight": 0.1},
            "model.name = 'gumbel_matrix' and router.entropy_weight = 0.1 clash: nothing rewards "
            "the entropy of switches; set it to 0, or router.certainty_weight to make their "
            "entropy cost",
        ),
        (
            GUMBEL | {"router__budget": 0.5},
            "router.budget = 0.5 and router.budget_weight = 0.0 clash: a budget that costs nothing "
            "does nothing; set router.budget_weight above 0 or router.budget to 1",
        ),
        (
            {
                "model__name": "gumbel_matrix",
                "router__policy": "fixed",
                "router__routes": "all",
                "router__budget": 0.5,
                "router__budget_weight": 1.0,
            },
            "router.policy = 'fixed' and router.budget_weight = 1.0 clash: nothing changes given "
            "routes; set router.budget_weight to 0",
        ),
        (
            {"router__count_weight": 0.1},
            "model.name = 'routing_network' and router.count_weight = 0.1 clash: only "
            "gumbel_matrix switches blocks on and off; set router.count_weight to 0",
        ),
        (
            {"router__policy": "fixed", "router__learns_from": 0.1},
            "router.policy = 'fixed' and router.learns_from = 0.1 clash: given routes do not "
            "learn; set router.learns_from to 0",
        ),
        (
            {"model__name": "soft_mixture", "router__epsilon": 0.1},
            "model.name = 'soft_mixture' and router.epsilon = 0.1 clash: this model draws no "
            "decisions at random; leave router.epsilon at None",
        ),
        (
            {"model__name": "cross_stitch", "router__agent": "single"},
            "model.name = 'cross_stitch' and router.agent = 'single' clash: this model has no "
            "agents; leave router.agent at 'per_task'",
        ),
        (
            {"model__name": "cross_stitch", "router__learns_from": 0.1},
            "model.name = 'cross_stitch' and router.learns_from = 0.1 clash: this model has no "
            "router; set router.learns_from to 0",
        ),
        (
            {"training__trainable": "blocks,encoder", "router__learns_from": 0.1},
            "training.trainable = 'blocks,encoder' and router.learns_from = 0.1 clash: the router "
            "does not train at all; set router.learns_from to 0",
        ),
        (
            {"training__trainable": "mixing", "optimizer__block_steps": "by_use"},
            "training.trainable = 'mixing' and optimizer.block_steps = 'by_use' clash: the blocks "
            "do not train; set optimizer.block_steps to summed",
        ),
        (
            {"optimizer__name": "adam", "optimizer__block_steps": "by_use"},
            "optimizer.name = 'adam' and optimizer.block_steps = 'by_use' clash: the steps of adam "
            "do not grow with use; set optimizer.block_steps to summed, or optimizer.name to sgd",
        ),
        (
            {"model__name": "cross_stitch", "optimizer__block_steps": "by_use"},
            "model.name = 'cross_stitch' and optimizer.block_steps = 'by_use' clash: only a "
            "routing network takes some blocks more often than others; set optimizer.block_steps "
            "to summed",
        ),
        (
            {
                "model__block": "components",
                "model__encoder": "pointwise",
                "model__head": "own",
                "model__components": "2xconv3 identity",
                "model__strides": "2-2-1",
                "optimizer__block_steps": "by_use",
            },
            "model.block = 'components' and optimizer.block_steps = 'by_use' clash: the blocks of "
            "a bank have to be alike; set optimizer.block_steps to summed",
        ),
        (
            {"router__skip_below": 0.1},
            "model.name = 'routing_network' and router.skip_below = 0.1 clash: only gumbel_matrix "
            "switches blocks off; leave router.skip_below at 0",
        ),
        (
            {"router__merge": "sum"},
            "model.name = 'routing_network' and router.merge = 'sum' clash: only gumbel_matrix "
            "merges blocks; leave router.merge at 'mean'",
        ),
        (
            {"router__policy": "fixed", "router__routes": "all"},
            "model.name = 'routing_network' and router.routes = 'all' clash: a route of a routing "
            "network has one block at each depth; set router.routes to shared, or model.name to "
            "gumbel_matrix",
        ),
        (
            GUMBEL | {"router__policy": "fixed", "router__rule": "wpl", "router__routes": "random"},
            "model.name = 'gumbel_matrix' and router.routes = 'random' clash: random switches are "
            "not built; name them all or each task's block, or set model.name to routing_network",
        ),
        (
            {"model__block": "valid_conv"},
            "model.block = 'valid_conv' and model.encoder = 'conv4' clash: these blocks start at "
            "the pixels; set model.encoder to pixels or model.block to conv",
        ),
        (
            {"model__head": "own", "model__name": "cross_stitch"},
            "model.head = 'own' and model.name = 'cross_stitch' clash: the last layer of this "
            "model has logits for each task anyway; set model.head to routed",
        ),
        (
            {"model__dropout": 0.5},
            "model.dropout = 0.5 and model.head = 'routed' clash: dropout stands before a head of "
            "each task's own; set model.head to own or model.dropout to 0",
        ),
        (
            {"data__tasks": "rotated_copies", "data__share_images": True},
            "data.share_images = True and data.tasks = 'rotated_copies' clash: these tasks have no "
            "images in common; set data.share_images to false",
        ),
        (
            {"router__num_agents": 3},
            "router.agent = 'per_task' and router.num_agents = 3 clash: only a dispatcher picks "
            "from a number of agents; set router.agent to dispatched or router.num_agents to None",
        ),
        (
            {"training__epochs": 3},
            "training.epochs = 3 and training.steps = 1000 clash: exactly one of them sets the "
            "length of training; give that one a number, the other None",
        ),
        (
            {"training__steps": None},
            "training.epochs = None and training.steps = None clash: exactly one of them sets the "
            "length of training; give that one a number, the other None",
        ),
    ],
)
def test_a_clash_names_the_fields_and_the_way_out(values, line):
    assert problems(changed(**values)) == [line]


def test_valid_combinations_pass():
    config_lib.validate(changed(data__name="cifar100", data__tasks="superclass"))
    config_lib.validate(changed(data__name="omniglot", data__tasks="alphabet"))
    config_lib.validate(changed(**SYNTHETIC, data__share_images=True))
    config_lib.validate(changed(dispatch__strategy="gather", router__decision_per="task"))
    config_lib.validate(changed(training__epochs=2, training__steps=None))
    config_lib.validate(changed(reward__rho=1, model__num_blocks=4))
    config_lib.validate(changed(model__block="conv", model__encoder="stem"))
    config_lib.validate(changed(router__agent="dispatched", router__num_agents=3))
    config_lib.validate(changed(router__rule="q_learning", router__policy="approximator"))
    config_lib.validate(changed(router__rule="sarsa", router__epsilon=0.0, router__temperature=1.0))
    config_lib.validate(
        changed(router__rule="sarsa", router__epsilon=0.0, router__temperature_end=1.0)
    )
    config_lib.validate(
        changed(router__exploration_schedule="geometric", router__temperature_end=0.1)
    )


def test_every_problem_is_in_the_one_message():
    config = changed(reward__rho=2.0, model__depth=0, training__epochs=1)
    config.reward.roh = 0.3
    del config.model.width
    assert problems(config) == [
        "reward.roh: there is no such field; did you mean reward.rho?",
        "model.width is missing: start from routing_jax.base_config()",
        "model.depth = 0 is not allowed: set it to an integer >= 1 (default 3)",
        "reward.rho = 2.0 is not allowed: set it to a number in [0, 1] (default 0.0)",
        "training.epochs = 1 and training.steps = 1000 clash: exactly one of them sets the length "
        "of training; give that one a number, the other None",
    ]


def test_a_wrong_field_brings_no_clash_with_it():
    lines = problems(changed(data__tasks="superclass", data__name="cifar10"))
    assert [line.partition(" ")[0] for line in lines] == ["data.name"]


def test_from_values_keeps_types_and_fills_in_defaults():
    config = config_lib.from_values({"training": {"steps": None, "epochs": 2}})
    assert config.is_locked
    assert (config.training.steps, config.training.epochs, config.model.depth) == (None, 2, 3)
    with pytest.raises(TypeError):
        config.training.steps = "many"


def test_from_values_refuses_unknown_fields_and_wrong_types():
    with pytest.raises(ConfigError) as caught:
        config_lib.from_values({"reward": {"roh": 0.3, "rho": "high"}, "colour": "red"})
    assert str(caught.value) == (
        "The configuration is wrong in 3 places:\n"
        "  reward.roh: there is no such field; did you mean reward.rho?\n"
        "  colour: there is no such field; launch.py --help lists the fields.\n"
        "  reward.rho = 'high' is not allowed: set it to a number in [0, 1] (default 0.0)"
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("reward.roh", ["reward.rho"]),
        ("rho", ["reward.rho"]),
        ("train.steps", ["training.steps"]),
        ("learning_rate", ["router.learning_rate", "optimizer.learning_rate"]),
        ("dispatch", ["dispatch.apply", "dispatch.strategy"]),
        ("zzz", []),
    ],
)
def test_the_nearest_fields(name, near):
    assert config_lib.nearest_fields(name) == near


@pytest.mark.parametrize(
    ("named", "length"),
    [
        ({"training.epochs"}, (7, None)),
        ({"training.steps"}, (None, 9)),
        ({"reward.rho"}, (7, 9)),
    ],
)
def test_naming_one_length_clears_the_other(named, length):
    config = changed(training__epochs=7, training__steps=9)
    config_lib.resolve_length(config, named)
    assert (config.training.epochs, config.training.steps) == length


def test_naming_both_lengths_is_an_error():
    with pytest.raises(ConfigError) as caught:
        config_lib.resolve_length(config_lib.base_config(), {"training.epochs", "training.steps"})
    assert str(caught.value) == (
        "training.epochs and training.steps both set the length of training: name only one."
    )


def test_two_base_configurations_share_nothing():
    first, second = config_lib.base_config(), config_lib.base_config()
    copied = copy.deepcopy(first)
    first.training.steps = 1
    first.model.depth = 9
    assert second == config_lib.base_config() == copied


@hypothesis.given(
    name=st.sampled_from(sorted(FIELDS)),
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
)
def test_validation_agrees_with_the_rule_and_never_fails_otherwise(name, value):
    values = {**config_lib.flatten(config_lib.base_config()), name: value}
    config = ConfigDict(nested(values))
    if FIELDS[name].rule.accepts(value):
        try:
            config_lib.validate(config)
        except ConfigError as error:
            assert " clash: " in str(error)
    else:
        assert len(problems(config)) == 1


def test_an_error_is_both_a_user_error_and_a_value_error():
    assert issubclass(ConfigError, UserError)
    assert issubclass(ConfigError, ValueError)


def test_the_public_names_load_on_use():
    assert routing_jax.base_config is config_lib.base_config
    assert routing_jax.validate is config_lib.validate
    assert routing_jax.ConfigError is ConfigError
    assert routing_jax.UserError is UserError
    assert set(routing_jax.__all__) <= set(dir(routing_jax))
    with pytest.raises(AttributeError, match="module 'routing_jax' has no attribute 'traning'"):
        routing_jax.traning  # noqa: B018


def test_the_configuration_imports_neither_jax_nor_numpy():
    code = (
        "import sys, routing_jax.config, routing_jax.cli, routing_jax.workdir\n"
        "routing_jax.base_config()\n"
        "print([m for m in ('jax', 'jaxlib', 'numpy', 'flax') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
