"""Routing networks and modular multi-task learning in JAX.

The public names are loaded when they are first used, so that reading a configuration or printing
help does not import JAX. `__init__.pyi` declares them for type checkers and editors.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULE_OF = {
    "Allocation": "routing_jax.routers.allocation",
    "ConfigError": "routing_jax.errors",
    "ConvBlock": "routing_jax.blocks",
    "DenseBlock": "routing_jax.blocks",
    "Exploration": "routing_jax.types",
    "Mixture": "routing_jax.routers.mixture",
    "RoutedStack": "routing_jax.models.stack",
    "RuleTraits": "routing_jax.config_fields",
    "UserError": "routing_jax.errors",
    "add_tasks": "routing_jax.training.own_run",
    "base_config": "routing_jax.config",
    "build_router": "routing_jax.routers.build",
    "label_parameters": "routing_jax.rl.router_optimizer",
    "router_optimizer": "routing_jax.rl.router_optimizer",
    "task_set": "routing_jax.data.own",
    "task_set_from_folder": "routing_jax.data.own",
    "train": "routing_jax.training.own_run",
    "trajectory": "routing_jax.rl.trajectories",
    "validate": "routing_jax.config",
}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
