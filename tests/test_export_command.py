"""A trained run's networks as files, from the command line, loaded with JAX alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_runs import ROOT

import launch
from routing_jax.cli import parse
from routing_jax.config import base_config
from routing_jax.data import loading
from routing_jax.export import run as export_run
from routing_jax.export.compared import Comparison
from routing_jax.reporting.provenance import program_version
from routing_jax.training import loop
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.manifest import read_manifest, write_manifest
from routing_jax.training.run import make_run
from routing_jax.training.step import variables_of

LOAD_AND_CALL = """
import sys
{load}
inputs = numpy.load("inputs.npy")
tasks = numpy.load("tasks.npy")
{call}
numpy.save("outputs.npy", outputs)
print(sorted(name for name in sys.modules if name in ("flax", "routing_jax", "optax")))
"""


def export(workdir: Path, *arguments: str) -> int:
    program = str(ROOT / "launch.py")
    return launch.main([program, "--mode=export", f"--workdir={workdir}", *arguments])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, ""),
        ({"image_size": 16}, "; scaled to 16x16 pixels: down by the mean of an area, up bilinear"),
        (
            {"image_size": 16, "digit_frame": "ink"},
            "; the square around the ink (brightness of 32 of 255 and more) scaled to 16x16 "
            "pixels, bilinear",
        ),
    ],
)
def test_what_stands_between_a_stored_image_and_the_network_is_told(fields, told):
    config = base_config()
    config.data.update(fields)
    command, tasks = SimpleNamespace(config=config), SimpleNamespace(image_shape=(8, 8, 1), name="")
    assert export_run._preprocessing(command, tasks) == (
        f"grey or colour values 0 to 255; the network scales them to 0 to 1 itself{told}"
    )


@pytest.fixture
def workdir(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def load_alone(folder: Path, inputs: np.ndarray, task: int) -> np.ndarray:
    """The outputs for a task, as a process with JAX and NumPy alone gets them from the files."""
    np.save(folder / "inputs.npy", inputs)
    np.save(folder / "tasks.npy", np.full(len(inputs), task, np.int32))
    *load, call = json.loads((folder / "network.json").read_text())["load"]
    code = LOAD_AND_CALL.format(load="\n".join(load), call=call)
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"
    return np.load(folder / "outputs.npy")


@pytest.mark.slow
def test_exported_networks_say_what_the_full_one_says_on_every_test_image(workdir, capsys):
    assert export(workdir, "--task=3") == 0
    assert "task 3, 3 or not, step 12: " in capsys.readouterr().out
    assert export(workdir) == 0
    config = parse(["launch.py", "--mode=evaluate", f"--workdir={workdir}"]).config
    tasks = loading.load(config.data, say=print)
    planned = make_run(config, tasks)
    checkpoints = Checkpoints(workdir / "checkpoints", dataset=tasks.name)
    state = checkpoints.restore(loop.abstract_state(planned)).state
    compare = Comparison(planned.program.model(planned.hyper), variables_of(state), tasks)
    for folder, numbers in (("task_3", [3]), ("all", [0, 9])):
        for task in numbers:
            difference = compare.largest(
                lambda inputs, task, folder=folder: load_alone(
                    workdir / "export" / folder, inputs, task
                ),
                task,
            )
            assert difference < 1e-5
    meaning = json.loads((workdir / "export" / "task_3" / "network.json").read_text())
    routes = json.loads((workdir / "results.json").read_text())["routing_map"][0]
    assert meaning["blocks"] == [[block] for block in routes[3]]
    assert meaning["inputs"] == {"shape": ["n", 8, 8, 1], "dtype": "uint8"}
    assert meaning["task"] == {"number": 3, "name": "3 or not", "classes": 2}
    assert meaning["largest_difference"]["value"] < 1e-5
    assert meaning["parameters"] < 0.5 * meaning["parameters_of_full_network"]


def refused(capsys, workdir: Path, *arguments: str) -> str:
    assert export(workdir, *arguments) == 2
    output = capsys.readouterr()
    assert not (workdir / "export").exists()
    return output.err


def test_a_task_that_there_is_not_is_answered_with_those_that_are(workdir, capsys):
    listed = ", ".join(f"{digit} ({digit} or not)" for digit in range(10))
    assert refused(capsys, workdir, "--task=12") == (
        f"error: --task=12: this run has 10 tasks: {listed}. Name one by its number, or all.\n"
    )


def test_a_run_that_never_saved_is_told(workdir, capsys):
    shutil.rmtree(workdir / "checkpoints")
    assert refused(capsys, workdir) == (
        f"error: There is no checkpoint in {workdir / 'checkpoints'}: nothing was saved yet. Run "
        "--mode=train first, or name another --workdir.\n"
    )


def saved_by(workdir: Path, version: str) -> str:
    """Makes the newest checkpoint that of another version; what is said of it."""
    folder = workdir / "checkpoints" / "12"
    content = read_manifest(folder)
    (folder / "manifest.json").unlink()
    write_manifest(folder, {**content, "version": version})
    return f"It was saved by routing_jax {version}, and this is routing_jax {program_version()}."


def test_a_configuration_of_another_version_is_told_by_its_number(workdir, capsys):
    config = json.loads((workdir / "config.json").read_text())
    config["model"]["gate"] = "soft"
    (workdir / "config.json").write_text(json.dumps(config))
    program = saved_by(workdir, "0.0.7")
    assert refused(capsys, workdir) == (
        f"error: {workdir / 'config.json'} cannot be read: The configuration is wrong in 1 place:\n"
        "  model.gate: there is no such field; did you mean model.name?\n"
        f"{program}\n"
        "Nothing was changed. Choose another --workdir, or train anew in this one with "
        "--overwrite.\n"
    )


def test_a_network_of_another_version_is_told_by_its_number(workdir, capsys):
    config = json.loads((workdir / "config.json").read_text())
    config["model"]["width"] = 8  # as if it meant something else then
    (workdir / "config.json").write_text(json.dumps(config))
    program = saved_by(workdir, "0.0.7")
    message = refused(capsys, workdir)
    assert "is of another network:\n  params.banks_0" in message
    assert message.endswith(
        f"\n{program} Use the program and the configuration it was trained with, choose another "
        "--workdir, or start again with --overwrite.\n"
    )
