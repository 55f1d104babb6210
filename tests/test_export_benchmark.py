"""What the benchmark of exported networks says of a run is what exporting says."""

import json
import shutil

import pytest
from tiny_runs import ROOT

import launch
from benchmarks import export_size


def test_sizes_are_those_that_exporting_tells(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export_size, "_TIMED_TASKS", 1)
    workdir = shutil.copytree(finished, tmp_path / "run")
    export_size.main([str(workdir), "--quick"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    full, own, pruned = lines
    assert [line["name"] for line in lines] == [
        "full network",
        "network of a task",
        "network of all tasks, pruned",
    ]
    program = str(ROOT / "launch.py")
    assert launch.main([program, "--mode=export", f"--workdir={workdir}", "--task=3"]) == 0
    told = json.loads((workdir / "export" / "task_3" / "network.json").read_text())
    assert full["parameters"]["mean"] == told["parameters_of_full_network"]
    # Each task of a routing network keeps one block a layer, and all blocks are alike.
    assert own["parameters"]["min"] == own["parameters"]["max"] == told["parameters"]
    assert own["bytes"]["min"] == told["bytes"]["network.npz"]
    assert own["parameters"]["mean"] < pruned["parameters"]["mean"] <= full["parameters"]["mean"]
    assert full["bytes"] is None
    assert full["ratio"]["median"] == 1
    assert full["settings"]["rho"] == 0.3


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(SystemExit, match="^error: "):
        export_size.main([str(tmp_path)])
