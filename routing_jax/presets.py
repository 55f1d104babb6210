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
