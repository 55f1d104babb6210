"""Work directories of made-up runs and sweeps, and a page taken apart."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routing_jax.config import base_config, flatten
from routing_jax.files import write_json
from routing_jax.reporting.page.collect import collect
from routing_jax.reporting.page.make import make_page
from routing_jax.reporting.results import build_results, write_results
from routing_jax.reporting.routing_file import write_routing

MODELS = {"routes": "routing_network", "switches": "gumbel_matrix", "weights": "soft_mixture"}


class Page(HTMLParser):
    """A page: `data` of its scripts, and each table as its rows of texts, the head first."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.data, self.tables, self.captions = text, None, [], []
        self._open: list[str] = []
        self._is_data = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "link", "input"):
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "caption":
            self.captions.append("")
        self._is_data = dict(attributes).get("id") == "data"

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"{tag} closes what is not open"

    def handle_data(self, content):
        if "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += content.strip()
        elif "caption" in self._open:
            self.captions[-1] += content
        elif self._is_data and self._open[-1:] == ["script"]:
            self.data = json.loads(content)

    def table(self, start: str) -> list[list[str]]:
        """The table whose caption begins so."""
        found = [t for c, t in zip(self.captions, self.tables, strict=True) if c.startswith(start)]
        assert len(found) == 1, self.captions
        return found[0]

    def figure(self, title: str) -> dict[str, Any]:
        (found,) = [one for one in self.data["figures"] if one["title"] == title]
        return found


@pytest.fixture(scope="session")
def make_results(make_run) -> Callable[..., tuple[dict, Any]]:
    """Results of a run, and its routing; `kind` as in `page.routes.KINDS`."""

    def make(*, seed: int = 0, rho: float = 0.0, kind: str = "routes", **sizes):
        record, routing = make_run(**sizes)
        results = build_results(record)
        results["config"] = {
            "model": {"name": MODELS[kind]},
            "router": {"pass_action": sizes.get("pass_action", False)},
            "reward": {"rho": rho},
            "training": {"seed": seed},
        }
        results["seeds"] = [seed + one for one in results["seeds"]]
        for one, curve in enumerate(results["curve"]):
            for entry in curve:
                entry["test_accuracy"] = 0.8 + 0.0015 * entry["step"] + 0.01 * (seed + one)
        if kind != "routes":
            results["routing_map"] = None
        if kind == "switches":
            on = routing.probabilities[:, -1] >= 0.5
            results["allocation"] = [
                [[np.flatnonzero(blocks).tolist() for blocks in task] for task in seed]
                for seed in on
            ]
        return results, routing

    return make


@pytest.fixture(scope="session")
def write_run(make_results) -> Callable[..., Path]:
    """Writes the work directory of a run; `names` are those of its tasks."""

    def write(workdir: Path, *, names: list[str] | None = None, **about) -> Path:
        results, routing = make_results(**{"tasks": len(names)} if names else {}, **about)
        results["tasks"] = names or results["tasks"]
        results["command"] = f"python launch.py --workdir={workdir.name}"
        workdir.mkdir(parents=True)
        write_results(workdir / "results.json", results)
        write_routing(
            workdir / "routing.npz", routing.probabilities, routing.steps, results["tasks"]
        )
        return workdir

    return write


@pytest.fixture(scope="session")
def write_sweep(make_results) -> Callable[..., Path]:
    """Writes the work directory of a sweep of rho and two seeds, in one program.

    The cell (last rho, seed 1) has diverged if `failed`.
    """

    def write(workdir: Path, rhos: tuple[float, ...] = (0.0, 0.3), *, failed: bool = False) -> Path:
        cells, rows = [], []
        for rho in rhos:
            for seed in (0, 1):
                results, routing = make_results(seed=seed, rho=rho)
                # Known numbers: 0.9 + rho / 10, and 0.02 more for the second seed.
                results["test"]["accuracy"]["mean"] = 0.9 + rho / 10 + 0.02 * seed
                rows.append(np.roll(routing.probabilities, len(cells), axis=-1))
                settings = {"reward.rho": rho, "training.seed": seed}
                about = {"index": len(cells), "settings": settings, "command": f"cell {len(cells)}"}
                cells.append(about | {"status": "ok", "failed_step": None, "results": results})
        if failed:
            cells[-1] |= {"status": "failed", "failed_step": 7, "results": None}
        program = workdir / "programs" / "000"
        program.mkdir(parents=True)
        # In the program the cells stand the other way round.
        write_json(program / "cells.json", cells[::-1])
        tasks = cells[0]["results"]["tasks"]
        write_routing(program / "routing.npz", np.concatenate(rows[::-1]), routing.steps, tasks)
        write_json(workdir / "sweep.json", {"axes": list(settings), "cells": cells})
        _write_plan(workdir)
        return workdir

    return write


@pytest.fixture
def make_workdir(write_run, tmp_path) -> Callable[..., Path]:
    """`write_run` by the name of a directory of this test's own."""
    return lambda name, **about: write_run(tmp_path / name, **about)


@pytest.fixture
def make_sweep(write_sweep, tmp_path) -> Callable[..., Path]:
    """`write_sweep` by the name of a directory of this test's own."""
    return lambda name, *rhos, **about: write_sweep(tmp_path / name, *rhos, **about)


def _write_plan(workdir: Path) -> None:
    config = base_config()
    given = flatten(config)
    config.sweep = "rho=0,0.3 seed=0:2"
    config.model.depth = 2
    write_json(workdir / "config.json", config.to_dict())
    launch = ["launch.py", "--config=experiments/mnist_mtl.py"]
    write_json(workdir / "plan.json", {"launch": launch, "given": given, "programs": []})


@pytest.fixture
def make_report() -> Callable[..., tuple[Page, list[tuple[str, str]]]]:
    """The page of work directories, and what is left out of it."""

    def make(*workdirs: Path) -> tuple[Page, list[tuple[str, str]]]:
        text, problems = make_page(collect(workdirs))
        return Page(text), problems

    return make
