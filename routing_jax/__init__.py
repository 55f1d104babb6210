"""Routing networks and modular multi-task learning in JAX.

The public names are loaded when they are first used, so that reading a configuration or printing
help does not import JAX.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULE_OF = {
    "ConfigError": "routing_jax.errors",
    "UserError": "routing_jax.errors",
    "base_config": "routing_jax.config",
    "validate": "routing_jax.config",
}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
