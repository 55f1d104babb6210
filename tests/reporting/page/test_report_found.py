"""What a report makes of work directories that are broken, unfinished, or none at all."""

import json

import numpy as np
import pytest

from routing_jax.errors import UserError
from routing_jax.files import write_json
from routing_jax.reporting.page.collect import collect, short_names


def change(workdir, **entries):
    """Replaces entries of a results.json; None removes one."""
    path = workdir / "results.json"
    results = json.loads(path.read_text()) | entries
    write_json(path, {name: value for name, value in results.items() if value is not None})


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_names_leave_out_what_all_paths_have_in_common(tmp_path):
    paths = [tmp_path / "runs" / "a", tmp_path / "sweep" / "a"]
    assert short_names(paths) == ["runs/a", "sweep/a"]
    assert short_names(paths[:1]) == ["a"]


def test_results_that_are_cut_off_leave_the_other_runs(make_workdir, make_report):
    whole, broken = make_workdir("whole"), make_workdir("broken", rho=0.5)
    cut(broken / "results.json")
    page, ((name, problem),) = make_report(broken, whole)
    assert name == "broken"
    assert problem.startswith(f"{broken}/results.json is cut off or not JSON (")
    assert [row[0] for row in page.table("Runs side by side")[1:]] == ["whole"]
    assert f"<strong>broken</strong>: {broken}/results.json is cut off" in page.text


def test_routing_that_is_cut_off_leaves_the_rest_of_its_run(make_workdir, make_report):
    whole, broken = make_workdir("whole"), make_workdir("broken", rho=0.5)
    cut(broken / "routing.npz")
    page, ((name, problem),) = make_report(broken, whole)
    assert name == "broken"
    assert problem.startswith(f"{broken}/routing.npz is cut off or not a routing file (")
    assert [row[0] for row in page.table("Runs side by side")[1:]] == ["broken", "whole"]
    assert [entry["label"] for entry in page.data["routes"]] == ["whole"]


@pytest.mark.parametrize(
    ("shape", "value"), [((2, 3, 4), 0.5), ((0, 3, 2, 4, 4), 0.5), ((1, 3, 3, 2, 4), np.nan)]
)
def test_routing_of_another_shape_is_named(make_workdir, make_report, shape, value):
    workdir = make_workdir("a")
    steps, tasks = np.arange(3), np.array(["a", "b", "c"])
    np.savez(workdir / "routing.npz", probabilities=np.full(shape, value), steps=steps, tasks=tasks)
    page, problems = make_report(workdir)
    path = workdir / "routing.npz"
    assert problems == [("a", f"{path} does not hold the routing of this run")]
    assert page.data["routes"] == [] and "Runs side by side" in page.captions


def test_whatever_a_results_file_lacks_the_other_run_is_shown(make_workdir, make_report):
    whole, broken = make_workdir("whole"), make_workdir("broken", rho=0.5)
    results = json.loads((broken / "results.json").read_text())
    optional = {"routing_map", "allocation", "git_commit", "peak_memory_bytes"}
    optional |= {"mixing_weights", "multiply_adds", "selection", "trained_parameters", "new_tasks"}
    optional |= {"recalls"}
    for name in results.keys() - optional - {"examples_per_second", "experiment"}:
        write_json(broken / "results.json", {k: v for k, v in results.items() if k != name})
        page, ((_, problem),) = make_report(broken, whole)
        program = "the results of a run of this program version"
        assert problem.startswith(f"{broken}/results.json is not {program}: it has "), name
        assert [row[0] for row in page.table("Runs side by side")[1:]] == ["whole"]
    for name in optional | {"examples_per_second"}:
        write_json(broken / "results.json", {k: v for k, v in results.items() if k != name})
        assert make_report(broken, whole)[1] == [], name


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"tasks": "abc"}, "str as 'tasks'"),
        ({"tasks": ["one"]}, "not a number for each of its 1 tasks in 'accuracy'"),
        ({"test": {}}, "no tasks, seeds or metrics"),
        ({"test": {"accuracy": 3}}, "an entry that cannot be read"),
        ({"curve": [[]]}, "no curve for each of its seeds"),
        ({"curve": [[{"step": 1, "epoch": 1.0}]]}, "no 'train_loss' in its curve"),
        ({"curve": [[7]]}, "an entry that cannot be read"),
        ({"seconds": {"total": 1.0}}, "no 'compile'"),
        ({"dataset": {"name": "a"}}, "no 'embedded_fallback'"),
    ],
)
def test_entries_of_another_shape_are_named(make_workdir, entries, what):
    workdir = make_workdir("a")
    change(workdir, **entries)
    with pytest.raises(UserError) as caught:
        collect([workdir])
    message = str(caught.value)
    prefix = f"there is nothing to report:\n  {workdir}/results.json is not the results of a run of"
    assert message.startswith(f"{prefix} this program version: it has {what}")


def test_numbers_that_were_not_finite_are_gaps(make_workdir, make_report):
    workdir = make_workdir("a")
    results = json.loads((workdir / "results.json").read_text())
    results["curve"][0][-1]["train_loss"] = None
    results["test"]["accuracy"]["mean"] = None
    write_json(workdir / "results.json", results)
    page, problems = make_report(workdir)
    assert problems == []
    assert page.figure("Training loss")["data"][0]["y"][-1] is None
    assert page.table("Runs side by side")[1][5] == "nan %"


def test_cells_that_failed_are_named_and_the_others_shown(make_sweep, make_report):
    sweep = make_sweep("grid", failed=True)
    page, problems = make_report(sweep)
    assert problems == [("grid", "the cell reward.rho = 0.3, training.seed = 1 failed at step 7")]
    assert [row[4] for row in page.table("Runs side by side")[1:]] == ["0, 1", "0"]
    assert "1 cells failed." in page.text


def test_a_sweep_under_way_and_one_without_its_programs(make_sweep, make_report, make_workdir):
    waiting, bare = make_sweep("waiting"), make_sweep("bare")
    (waiting / "sweep.json").unlink()
    (bare / "programs" / "000" / "cells.json").unlink()
    page, problems = make_report(waiting, bare)
    path = waiting / "sweep.json"
    assert problems[0] == ("waiting", f"there is no {path}: has the sweep finished?")
    assert [name for name, _ in problems[1:]] == [
        "bare: reward.rho = 0.0",
        "bare: reward.rho = 0.3",
    ]
    assert page.data["routes"] == [] and page.figure("bare: accuracy against reward.rho")


def test_a_broken_cell_leaves_the_other_cells(make_sweep, make_report):
    sweep = make_sweep("grid")
    cells = json.loads((sweep / "sweep.json").read_text())["cells"]
    del cells[0]["settings"]
    del cells[1]["results"]["curve"]
    write_json(sweep / "sweep.json", {"cells": [*cells, 3]})
    page, problems = make_report(sweep)
    path = sweep / "sweep.json"
    version = "is not the results of a run of this program version"
    assert problems == [
        ("grid", f"{path} has a cell without 'settings'"),
        ("grid", f"{path} {version}: it has no 'curve'"),
        ("grid", f"{path} has a cell without 'index'"),
    ]
    assert len(page.table("Runs side by side")) == 2


def test_a_report_over_nothing_says_why(tmp_path, make_workdir):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    cut(make_workdir("cut") / "results.json")
    with pytest.raises(UserError) as caught:
        collect([tmp_path / name for name in ("empty", "file", "none", "cut")])
    lines = str(caught.value).splitlines()
    names = "name the directory of a run or sweep"
    assert lines[:4] == [
        "there is nothing to report:",
        f"  there is no {tmp_path}/empty/results.json: has the run finished?",
        f"  --workdir={tmp_path}/file is a file; {names}",
        f"  --workdir={tmp_path}/none does not exist; {names}",
    ]
    assert lines[4].startswith(f"  {tmp_path}/cut/results.json is cut off or not JSON (")
    assert len(lines) == 5
