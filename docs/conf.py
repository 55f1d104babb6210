"""The documentation: `python -m sphinx -W --keep-going docs build/docs`."""

import re

import routing_jax

project = "routing_jax"
author = "The routing_jax authors"
project_copyright = author
release = routing_jax.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
html_theme = "furo"
html_title = f"routing_jax {release}"
html_show_copyright = False

default_role = "literal"  # docstrings quote code with single backticks
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "special-members": "__call__"}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # what Flax says of its own methods is not ours to show
napoleon_use_ivar = True
napoleon_numpy_docstring = False

_LETTER = re.compile(r"(^|: )([A-Z])\.(?= |$)")
_FLAX_OWN = re.compile(r", parent: .*\)$")


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", _prepare, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _shorten)


def _prepare(app, what, name, obj, options, lines):
    """Keeps "T." from being a list, "[*" from being emphasis, and "a: b" from having a type."""
    if lines and lines[0].startswith("Alias for field number"):  # a NamedTuple's own words
        lines.clear()
    lines[:] = [_LETTER.sub(r"\1\\\2.", line).replace("[*", r"[\*") for line in lines]
    if what in ("attribute", "property") and lines:
        lines.insert(0, "\\")  # an escaped end of line, which shows nothing


def _shorten(app, what, name, obj, options, signature, returned):
    """Leaves out what Flax adds to every module."""
    return signature and _FLAX_OWN.sub(")", signature), returned
