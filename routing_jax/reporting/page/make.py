"""Makes the page of what was found."""

import functools
import importlib.resources
import re
from dataclasses import asdict
from typing import Any

import jinja2
from markupsafe import Markup

import routing_jax
from routing_jax.files import to_json
from routing_jax.reporting.looks import LINE_COLOURS
from routing_jax.reporting.page.collect import Found
from routing_jax.reporting.page.compare import fields_that_differ, side_by_side, task_tables
from routing_jax.reporting.page.curves import curve_figures
from routing_jax.reporting.page.figures import Figure
from routing_jax.reporting.page.lines import lines_of_runs, lines_of_sweep
from routing_jax.reporting.page.provenance import commands, machines
from routing_jax.reporting.page.routes import pack_routes, packed_bytes
from routing_jax.reporting.page.sweep_curves import sweep_figures

_STATIC = "routing_jax.reporting.page"
_SCRIPTS = ("packed.js", "tables.js", "routing_map.js", "flows.js", "page.js")


def make_page(found: Found) -> tuple[str, list[tuple[str, str]]]:
    """The page, and (name, what is wrong) of what is left out of it."""
    runs = lines_of_runs(found.runs)
    lines = runs + [
        line for sweep in found.sweeps for line in lines_of_sweep(sweep.name, sweep.trained)
    ]
    routes, unread = pack_routes(lines)
    problems = [*found.problems, *unread]
    curves = curve_figures(lines)
    swept = [figure for sweep in found.sweeps for figure in sweep_figures(sweep)]
    library, library_version = _plotly()
    data = {
        "figures": [_plain(figure) for figure in [*curves, *swept]],
        "routes": routes,
        "colours": LINE_COLOURS,
    }
    template = _environment().get_template("page.html")
    text = template.render(
        version=routing_jax.__version__,
        lines=lines,
        problems=problems,
        overview=[side_by_side(lines), *fields_that_differ(lines)],
        curves=curves,
        routes=routes,
        sweeps=swept,
        tasks=task_tables(lines),
        machines=machines(lines),
        commands=commands(runs, found.sweeps),
        data=_script_json(data),
        library=library,
        library_version=library_version,
        style=Markup(_static("page.css")),
        scripts=[Markup(_static(name)) for name in _SCRIPTS],
    )
    return text, problems


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(_STATIC, "static"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _plain(figure: Figure) -> dict[str, Any]:
    plain = asdict(figure)
    return {name: plain[name] for name in ("title", "data", "layout")}


def _script_json(value: Any) -> Markup:
    """JSON that may stand in a script element: nothing in it can end the element."""
    text = to_json(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(text)


def _static(name: str) -> str:
    return importlib.resources.files(_STATIC).joinpath("static", name).read_text(encoding="utf-8")


@functools.cache
def _plotly() -> tuple[str, str]:
    """Plotly's own JavaScript, packed, which its Python package brings along; and its version."""
    path = importlib.resources.files("plotly").joinpath("package_data", "plotly.min.js")
    content = path.read_bytes()
    version = re.search(rb"plotly\.js v([\d.]+)", content[:200])
    return packed_bytes(content), version[1].decode("ascii") if version else "unknown"
