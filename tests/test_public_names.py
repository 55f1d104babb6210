"""The public names: declared, lazy, and typed."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import routing_jax

STUB = Path(routing_jax.__file__).with_suffix(".pyi")


def test_the_stub_declares_each_public_name_from_the_module_it_is_loaded_from():
    imports = [
        node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ImportFrom)
    ]
    declared = {alias.asname: node.module for node in imports for alias in node.names}
    assert declared == routing_jax._MODULE_OF
    assert all(alias.name == alias.asname for node in imports for alias in node.names)


def test_every_public_name_loads_and_is_documented():
    for name, module in routing_jax._MODULE_OF.items():
        loaded = getattr(routing_jax, name)
        assert loaded is getattr(import_module(module), name)
        assert loaded.__doc__


def test_importing_the_package_loads_nothing_of_jax():
    code = (
        "import sys, routing_jax as rj; dir(rj); rj.base_config; rj.RuleTraits\n"
        "print([m for m in ('jax', 'jaxlib', 'numpy', 'flax', 'optax') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_the_package_says_that_it_is_typed():
    assert STUB.with_name("py.typed").exists()
