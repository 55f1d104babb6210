"""The guide names what there is; its build, with warnings as errors, is a check of its own."""

import re
from pathlib import Path

import routing_jax

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_the_reference_names_every_public_name():
    text = (DOCS / "reference" / "public_names.md").read_text()
    named = {name: target for name, target in re.findall(r"`(\w+) <([\w.]+)>`", text)}
    assert named == {name: f"{module}.{name}" for name, module in routing_jax._MODULE_OF.items()}


def test_the_reference_has_every_module_of_routers_rules_and_models():
    pages = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    shown = set(re.findall(r"automodule:: ([\w.]+)", pages))
    for package in ("routers", "rl", "models", "export"):
        files = (ROOT / "routing_jax" / package).glob("*.py")
        modules = {f"routing_jax.{package}.{path.stem}" for path in files}
        assert modules - shown <= {f"routing_jax.{package}.__init__", *NOT_SHOWN}


NOT_SHOWN = {
    "routing_jax.routers.factory",
    "routing_jax.models.factory",
    "routing_jax.models.layers",
    "routing_jax.export.run",
}
"""What reads a configuration or a command, which are the program's own."""


def test_every_example_stands_in_the_guide():
    guide = (DOCS / "library.md").read_text()
    for path in (ROOT / "examples").glob("*.*"):
        if path.stem != "questions":  # the data of the others
            assert path.name in guide


def test_the_readme_links_to_pages_that_exist():
    readme = (ROOT / "README.md").read_text()
    pages = re.findall(r"\((docs/[^)#]+)", readme)
    assert len(pages) > 3
    assert all((ROOT / page).exists() for page in pages)
