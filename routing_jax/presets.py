"""Settings that several experiments start from, as fields by dotted name. Imports no JAX."""

COMPOSITIONAL = {
    "data.augment": "crop_flip",
    "model.name": "compositional",
    "model.encoder": "strided",
    "model.block": "inverted_residual",
    "model.bank": "shared",
    "model.num_blocks": 2,
    "model.depth": 8,
    "model.width": 32,
    "model.resolution": 8,
    "model.head": "own",
    "router.optimizer": "adam",
    "router.learning_rate": 1e-2,
    "optimizer.name": "adam",
    "optimizer.learning_rate": 2e-3,
    "optimizer.schedule": "cosine",
    "optimizer.unused_blocks": "drift",
    "training.steps": None,
    "training.epochs": 10,
}
"""A compositional network of a size for CPU: eight depths mixed from two templates."""

GIVEN_BLOCKS = {
    "router.policy": "fixed",
    "router.optimizer": "sgd",
    "model.bank": "per_depth",
    "model.num_blocks": None,
}
"""The same network without templates: `router.routes` says which tasks share a depth's blocks."""

SWITCHES = {
    "model.name": "gumbel_matrix",
    "model.head": "own",
    "router.rule": "gumbel_softmax",
    "router.optimizer": "adam",
    "router.temperature": 50.0,
    "router.temperature_end": 0.5,
    "router.exploration_schedule": "inverse_sqrt",
    "optimizer.name": "adam",
}
"""Gumbel-Matrix routing: switches for each task, and the temperature of the authors' code."""

GUMBEL_MATRIX = SWITCHES | {
    "model.dropout": 0.5,
    "optimizer.schedule": "constant",
    "optimizer.unused_blocks": "drift",
    "training.examples_per_task": 16,
}
"""With what the authors' classifiers have in common besides."""

FIXED_SWITCHES = {"router.policy": "fixed", "router.rule": "wpl", "router.optimizer": "sgd"}
"""In place of learned switches those that `router.routes` says; the rule stands for none."""
ALL_ON = FIXED_SWITCHES | {"router.routes": "all"}
"""A shared bottom."""

WPL_INSTEAD = {
    "model.name": "routing_network",
    "router.rule": "wpl",
    "router.optimizer": "sgd",
    "router.learning_rate": 0.1,
    "router.temperature": None,
    "router.temperature_end": None,
    "router.exploration_schedule": "linear",
}
"""In place of switches a routing network with a table for each task."""

PER_TASK_INSTEAD = WPL_INSTEAD | {
    "router.decision_per": "task",
    "reward.final": "negative_loss",
}
"""The same with one route in a step for all examples of a task, rewarded by minus the loss: of many
classes hardly an answer is right at first."""

EACH_EXAMPLE_INSTEAD = WPL_INSTEAD | {
    "router.agent": "single",
    "router.policy": "approximator",
    "router.task_input": True,
    "router.rule": "reinforce_mean",
    "router.optimizer": "adam",
    "router.learning_rate": 3e-3,
    "reward.final": "negative_loss",
}
"""The same with one network that looks at each example and its task.

It learns by REINFORCE, from minus the loss: where a block's output is normalised, a
straight-through decision, which scales the block's input, has hardly any gradient."""

ROUTING_NETWORK = {
    "model.block_noise": 0.1,
    "router.learning_rate": 0.1,
    "optimizer.learning_rate": 0.02,
    "training.steps": None,
    "training.epochs": 20,
    "training.examples_per_task": 16,
    "training.eval_every": 52,
}
"""Routing Networks on tasks of 2,500 images and more, evaluated thrice in an epoch of so many."""
