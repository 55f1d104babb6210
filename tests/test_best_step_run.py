"""A run that is judged by its best step, from the command line."""

import json
import signal

import numpy as np
import pytest
from tiny_runs import TINY, read, start, stop_after

CHOOSING = (
    *TINY,
    "--config.data.validation_fraction=0.2",
    "--config.data.validation_use=best_step",
    "--config.optimizer.learning_rate=1.0",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "best"
    assert start(workdir, *CHOOSING) == 0
    return workdir


def test_results_say_which_step_was_tested(finished):
    results = read(finished)
    selection, curve = results["selection"], results["curve"][0]
    scores = [entry["test_accuracy"] for entry in curve]
    best = int(np.argmax(scores))
    assert selection == {
        "evaluated_on": "validation",
        "metric": "accuracy",
        "step": [curve[best]["step"]],
        "value": [pytest.approx(scores[best])],
    }
    assert (results["dataset"]["evaluated_on"], results["dataset"]["num_test"]) == ("test", 360)


def test_evaluating_shows_the_same_step(finished, capsys):
    from tiny_runs import ROOT

    import launch

    accuracy = read(finished)["test"]["accuracy"]["mean"]
    program = str(ROOT / "launch.py")
    assert launch.main([program, "--mode=evaluate", f"--workdir={finished}"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert f"{100 * accuracy:.1f} %" in output
    assert "tested at the step of the best validation accuracy" in output


@pytest.mark.slow
def test_a_resumed_run_keeps_its_best_step(finished, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 5, signal.SIGTERM)
        assert start(tmp_path, *CHOOSING) == 0
    assert start(tmp_path, *CHOOSING) == 0
    whole, resumed = read(finished), read(tmp_path)
    assert resumed["selection"] == whole["selection"]
    assert resumed["test"] == whole["test"]


def test_every_cell_of_a_sweep_has_its_own_best_step(finished, tmp_path):
    assert start(tmp_path, *CHOOSING, "--sweep=seed=0:2") == 0
    cells = json.loads((tmp_path / "sweep.json").read_text())["cells"]
    for cell in cells:
        results = cell["results"]
        scores = [entry["test_accuracy"] for entry in results["curve"][0]]
        assert results["selection"]["value"] == [pytest.approx(max(scores))]
    single = read(finished)
    assert cells[0]["results"]["selection"]["step"] == single["selection"]["step"]
    assert cells[0]["results"]["test"]["accuracy"]["mean"] == pytest.approx(
        single["test"]["accuracy"]["mean"], abs=1e-3
    )
