"""The examples run and learn; each as its own file would, with JAX as it is by default."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import nbclient
import nbformat
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
LEAST = {"ten_lines": 0.93, "custom_block": 0.9, "custom_rule": 0.93, "full_information": 0.93}
"""Mean accuracy over the five questions."""


@pytest.fixture
def example(monkeypatch):
    """Imports an example; those it imports itself are found beside it."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(EXAMPLES)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield importlib.import_module
    for name in sys.modules.keys() - before:
        if (EXAMPLES / f"{name}.py").exists():
            del sys.modules[name]


def test_no_example_is_left_out():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {*LEAST, "edited_blocks", "many_at_once", "own_tasks", "questions"}


@pytest.mark.parametrize(
    "name",
    [
        "ten_lines",
        "custom_rule",
        pytest.param("full_information", marks=pytest.mark.slow),
        pytest.param("custom_block", marks=pytest.mark.slow),
    ],
)
def test_an_example_learns(name, example):
    found = example(name).main()
    assert found.shape == (5,)
    assert found.mean() > LEAST[name]


@pytest.mark.slow
def test_the_blocks_of_a_trained_network_are_edited(example, capsys):
    found = example("edited_blocks").main()
    assert found["as trained"] > 0.85  # by chance 30 %
    assert found["without the first"] < found["the last two swapped"] < found["as trained"]
    assert "without the first" in capsys.readouterr().out


def test_task_sets_of_ones_own_are_learned(example, capsys):
    found, folder = example("own_tasks").main()
    assert set(found) == {"digit", "odd", "upside down"}
    assert min(found.values()) > 0.75  # by chance 10 %, 50 % and 50 %
    assert "upside down" in capsys.readouterr().out
    assert folder.task_names == ("large digits", "small digits")
    assert folder.train.sizes.sum() == 450


def test_routing_takes_ten_lines_of_a_model_and_a_loop():
    text = (EXAMPLES / "ten_lines.py").read_text().partition("def accuracy")[0]
    lines = text.partition('"""\n\n')[2].splitlines()
    marked = [line for line in lines if line.endswith("# <-")]
    assert len(marked) == 10
    words = ("rj.", "routing_jax", "routed", "routes", "trajectory", "ROUTER =", '"router"')
    assert all(line in marked for line in lines if any(word in line for word in words))


@pytest.mark.slow
def test_many_trainings_are_one_program_and_one_is_spread_over_devices():
    """In a process of four devices; where JAX has counted them, it is too late for others."""
    flags = (os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=4")
    four = os.environ | {"XLA_FLAGS": " ".join(flags)}
    run = subprocess.run(
        [sys.executable, "many_at_once.py"],
        cwd=EXAMPLES,
        env=four,
        capture_output=True,
        text=True,
        check=True,
    )
    *rates, spread = run.stdout.splitlines()
    shares = [[float(share) for share in re.findall(r"([\d.]+)%", line)] for line in rates]
    assert np.shape(shares) == (2, 4) and np.min(shares) > 80
    told = re.fullmatch(r"rate 0.3, seed 0, 4 devices: ([\d.]+)% right", spread)
    # The same training as the first of the second rate, up to what rounding makes of it.
    assert float(told[1]) == pytest.approx(shares[1][0], abs=2)


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(monkeypatch):
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(EXAMPLES / "routes_of_questions.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("has a loop" in output.get("text", "") for output in outputs)
