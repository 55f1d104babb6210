"""Tasks added to a trained network from the command line, and what other modes make of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from saved_runs import save_as_finished
from tiny_runs import ROOT, TINY, read, start, stop_after

import launch
from routing_jax.config import base_config
from routing_jax.data.own import task_set
from routing_jax.errors import UserError
from routing_jax.reporting.provenance import program_version
from routing_jax.training.cores import num_cores
from routing_jax.training.manifest import read_manifest, write_manifest
from routing_jax.training.own_run import add_tasks

NEW = ("--config.data.first_task=6", "--config.data.num_tasks=2")


def add(source: Path, workdir: Path, *arguments: str) -> int:
    program, mode = str(ROOT / "launch.py"), "--mode=add_task"
    return launch.main([program, mode, f"--from={source}", f"--workdir={workdir}", *arguments])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The work directory of a routing network of four tasks; tests leave it as it is."""
    workdir = tmp_path_factory.mktemp("sources") / "source"
    own = ("--config.data.num_tasks=4", "--config.data.share_images=False")
    assert start(workdir, *TINY, *own, "--config.model.head=own") == 0
    return workdir


@pytest.fixture(scope="module")
def added(source, tmp_path_factory):
    """The same with the tasks "6 or not" and "7 or not", by a run that was stopped once."""
    workdir = tmp_path_factory.mktemp("added") / "added"
    with pytest.MonkeyPatch.context() as patched:
        stop_after(patched, 4, signal.SIGTERM)
        assert add(source, workdir, *NEW) == 0
    assert not (workdir / "results.json").exists()
    assert add(source, workdir, *NEW) == 0
    return workdir


def test_results_name_the_new_tasks(source, added):
    old, new = read(source), read(added)
    names = [f"{digit} or not" for digit in (0, 1, 2, 3, 6, 7)]
    assert (new["tasks"], new["new_tasks"]["tasks"]) == (names, names[4:])
    for metric, of_all in new["test"].items():
        assert of_all["per_task"][:4] == old["test"][metric]["per_task"]
        own = new["new_tasks"]["test"][metric]
        assert own["per_task"] == of_all["per_task"][4:]
        assert own["mean"] == pytest.approx(sum(own["per_task"]) / 2)
        # The curve is of what is learned.
        assert new["curve"][0][-1][f"test_{metric}"] == pytest.approx(own["mean"])
    assert [entry["step"] for entry in new["curve"][0]] == [4, 8, 12]
    assert new["routing_map"][0][:4] == old["routing_map"][0]
    # Two heads from 16 features to 2 classes, and two rows of 3 depths with 4 blocks.
    assert new["trained_parameters"] == 2 * (17 * 2 + 3 * 4)


@pytest.mark.slow
@pytest.mark.skipif(num_cores() < 2, reason="needs two cores")
def test_tasks_are_added_on_several_devices(source, added, tmp_path):
    command = ("launch.py", "--mode=add_task", f"--from={source}", f"--workdir={tmp_path / 'run'}")
    run = subprocess.run(  # JAX has to be told of devices before it starts
        [sys.executable, *command, *NEW, "--mesh=data:2"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")
    spread, alone = read(tmp_path / "run"), read(added)
    assert spread["device"].startswith("2 x CPU")
    assert spread["routing_map"] == alone["routing_map"]
    for mine, theirs in zip(*(jax.tree.leaves(r["curve"]) for r in (spread, alone)), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_a_network_with_more_tasks_is_evaluated_exported_and_reported(source, added, capsys):
    program = str(ROOT / "launch.py")
    assert launch.main([program, "--mode=evaluate", f"--workdir={added}"]) == 0
    assert "new tasks" in capsys.readouterr().out
    assert launch.main([program, "--mode=export", f"--workdir={added}", "--task=5"]) == 0
    meaning = json.loads((added / "export" / "task_5" / "network.json").read_text())
    assert meaning["task"] == {"number": 5, "name": "7 or not", "classes": 2}
    assert meaning["largest_difference"]["value"] < 1e-4
    pytest.importorskip("plotly")
    page = added / "page.html"
    both = f"--workdir={source},{added}"
    assert launch.main([program, "--mode=report", both, f"--output={page}"]) == 0
    assert "6 (2 new)" in page.read_text()


def test_the_head_alone_leaves_routes_as_they_start(source, tmp_path):
    grid = ("--config.data.examples_per_class=5", "--sweep=seed=0:2")
    alone = "--config.training.trainable=head"
    assert add(source, tmp_path, *NEW, alone, *grid) == 0
    cells = json.loads((tmp_path / "sweep.json").read_text())["cells"]
    old = read(source)
    for cell in cells:
        found = cell["results"]
        assert found["test"]["accuracy"]["per_task"][:4] == old["test"]["accuracy"]["per_task"]
        assert found["trained_parameters"] == 2 * 17 * 2
        assert found["routing_map"][0][4:] == [[0, 0, 0], [0, 0, 0]]
        # 5 images of each of two classes for each of two tasks, which may have some in common.
        assert 10 <= found["dataset"]["num_train"] <= 20
        assert f"--mode=add_task --from={source} " in cell["command"]
    assert [cell["status"] for cell in cells] == ["ok", "ok"]


def refused(capsys, source, workdir, *arguments):
    assert add(source, workdir, *arguments) == 2
    output = capsys.readouterr()
    return output.err.removeprefix("error: ").removesuffix("\n")


def test_new_tasks_that_cannot_be_taken(source, tmp_path, capsys):
    assert refused(capsys, source, tmp_path / "a") == (
        "4 of the 4 new tasks are there already, of digits: 0 or not, 1 or not, 2 or not .... "
        "Name others with data.first_task and data.num_tasks, data.alphabets, data.tasks or "
        "data.name."
    )
    assert refused(capsys, source, tmp_path / "b", "--config.data.first_task=12") == (
        "data.first_task = 12, but data.name = digits with data.tasks = one_vs_rest has 10 tasks, "
        "counted from 0: set data.first_task to at most 9."
    )
    ten = ("--config.data.tasks=all_classes", "--config.data.num_tasks=1")
    assert refused(capsys, source, tmp_path / "c", *ten) == (
        "The heads of the network have 2 classes, and a new task has 10: name tasks of at most 2 "
        "classes."
    )


def test_a_network_without_heads_of_its_own_is_refused(source, tmp_path, capsys):
    message = refused(capsys, source, tmp_path, *NEW, "--config.model.head=routed")
    assert message.endswith(
        "and model.head = 'routed' clash: the last routed layer gives the logits of all tasks, and "
        "a new one has no head to learn; train a network with model.head=own"
    )


def test_runs_that_cannot_be_added_to(source, tmp_path, capsys):
    nowhere = tmp_path / "nowhere"
    assert refused(capsys, nowhere, tmp_path / "a") == (
        f"--from={nowhere} holds no run: there is no {nowhere / 'config.json'}. Name the work "
        "directory of a finished run."
    )
    source = shutil.copytree(source, tmp_path / "copy")
    (source / "results.json").unlink()
    end = "train it to its end first, by the same command that began it."
    assert refused(capsys, source, tmp_path / "a") == (
        f"--from={source} holds a run that is not finished: {end}"
    )
    shutil.rmtree(source / "checkpoints")
    assert refused(capsys, source, tmp_path / "a") == (
        f"--from={source} holds a run that has saved nothing yet: {end}"
    )
    assert refused(capsys, source, source) == (
        f"--workdir={source} is the run in --from: name another directory."
    )
    assert not (tmp_path / "a").exists()


def saved_by_another_version(source: Path) -> str:
    """Makes the newest checkpoint that of another version; what is said of it."""
    folder = source / "checkpoints" / "12"
    content = read_manifest(folder)
    (folder / "manifest.json").unlink()
    write_manifest(folder, {**content, "version": "0.0.7"})
    return f"It was saved by routing_jax 0.0.7, and this is routing_jax {program_version()}."


def test_a_run_of_another_version_is_told_by_its_number(source, tmp_path, capsys):
    source = shutil.copytree(source, tmp_path / "copy")
    told = saved_by_another_version(source)
    config = json.loads((source / "config.json").read_text())
    config["model"]["width"] = 8  # as if it meant something else then
    (source / "config.json").write_text(json.dumps(config))
    message = refused(capsys, source, tmp_path / "a", *NEW)
    assert message == (
        f"training.init_from = {source} has another network: params.banks_0.blocks.Dense_0.bias is "
        f"float32[4,16] there and float32[4,8] in this run. {told} Use the program that it was "
        "trained with, or train it anew with this one."
    )
    config["model"]["gate"] = "soft"
    (source / "config.json").write_text(json.dumps(config))
    assert refused(capsys, source, tmp_path / "b", *NEW) == (
        f"{source / 'config.json'} cannot be read: The configuration is wrong in 1 place:\n"
        f"  model.gate: there is no such field; did you mean model.name?\n{told}\n"
        "Use the program that it was trained with, or train it anew with this one."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--mode=add_task", "--workdir=runs/new"),
            "--mode=add_task needs --from=DIR, the work directory of the trained run, and "
            "--workdir=DIR, where the network with more tasks is to be; --config.data.* name them.",
        ),
        (
            ("--mode=add_task", "--from=runs/old"),
            "--mode=add_task needs --from=DIR, the work directory of the trained run, and "
            "--workdir=DIR, where the network with more tasks is to be; --config.data.* name them.",
        ),
        (
            ("--mode=add_task", "--from=runs/old", "--config=a.py", "--workdir=runs/new"),
            "--config with --mode=add_task: the configuration is that of the run in --from; single "
            "fields are set with --config.<field>=<value>.",
        ),
        (
            ("--from=runs/old", "--config=a.py"),
            "--from=runs/old is for --mode=add_task; to start from a trained run without keeping "
            "its tasks, set --config.training.init_from.",
        ),
    ],
)
def test_flags_that_are_missing_or_too_many(arguments, message, capsys):
    assert launch.main([str(ROOT / "launch.py"), *arguments]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def points(name, tasks, *, seed):
    """A task set of vectors of six numbers, two classes a task."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 6)).astype(np.float32)
    split = {task: (x, (x[:, i] > 0).astype(np.int32)) for i, task in enumerate(tasks)}
    return task_set(name, train=split, test=split)


@pytest.mark.slow
def test_task_sets_of_ones_own_are_added_from_python(tmp_path):
    old, new = points("points", "ab", seed=0), points("points", "c", seed=1)
    config = base_config()
    config.model.update({"encoder": "flatten", "head": "own", "num_blocks": 3, "width": 8})
    config.training.update({"steps": 4, "eval_every": 4, "examples_per_task": 8})
    config.data.name = config.data.tasks = "own"
    place, workdir = tmp_path / "old", tmp_path / "new"
    save_as_finished(place, config, old)
    found = add_tasks(place, old, new, workdir=workdir, changes={"training.steps": 6})
    assert found["new_tasks"]["tasks"] == ["c"]
    assert found["tasks"] == ["a", "b", "c"]
    assert found["curve"][0][-1]["step"] == 6
    with pytest.raises(UserError) as error:
        add_tasks(place, old, new, workdir=workdir, changes={"training.stepps": 6})
    assert str(error.value) == (
        "training.stepps: there is no such field; did you mean training.steps?"
    )
    other = points("others", "ab", seed=0)
    with pytest.raises(UserError) as error:
        add_tasks(place, other, new, workdir=tmp_path / "third")
    assert str(error.value) == (
        f"training.init_from = {place} has other tasks than those that data.old_tasks names: 2 (a, "
        "b) of points there, 2 (a, b) of others + points found now. Name the directory of its data "
        "with data.dir, or the run whose tasks they are with training.init_from."
    )
