"""Regression from the command line: what a run writes and shows, and that it learns."""

import json

import numpy as np
import pytest
from tiny_runs import read, start

from routing_jax.data import synthetic

SMALL = (
    "--config.data.num_pairs=2",
    "--config.model.width=64",
    "--config.training.steps=200",
    "--config.training.eval_every=100",
)


def error_of_the_mean(num_pairs: int, relatedness: float) -> float:
    """What always answering a task's training mean costs on the test set, mean over tasks."""
    splits = synthetic.generate(num_pairs=num_pairs, relatedness=relatedness)
    mean = splits["train"].targets.mean(0)
    return float(np.square(splits["test"].targets - mean).mean())


def test_a_small_run(tmp_path, capsys):
    assert start(tmp_path, *SMALL, experiment="synthetic_regression.py") == 0
    results, output = read(tmp_path), capsys.readouterr().out
    assert set(results["test"]) == {"mse"}
    assert len(results["test"]["mse"]["per_task"]) == 4
    assert results["test"]["mse"]["mean"] < 0.8 * error_of_the_mean(2, 0.9)
    for entry in results["curve"][0]:
        assert {"train_loss", "test_mse"} <= entry.keys()
        assert not [name for name in entry if "accuracy" in name]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["test_mse"] == results["curve"][0][-1]["test_mse"]
    assert "test mse 0." in output
    assert "accuracy" not in output
    assert "%" not in output.split("│ mean")[1].split("route:")[0]
    assert (tmp_path / "figures" / "learning_curves.png").exists()


@pytest.mark.slow
@pytest.mark.alone
def test_the_experiment(tmp_path):
    assert start(tmp_path, experiment="synthetic_regression.py") == 0
    results = read(tmp_path)
    assert results["test"]["mse"]["mean"] < 0.1
    assert error_of_the_mean(4, 0.9) > 0.7
    assert results["seconds"]["train"] < 60
