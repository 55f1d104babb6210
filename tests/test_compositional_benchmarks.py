"""The benchmarks of compositional networks: what they print, and one tiny round."""

import json

import jax
import jax.numpy as jnp
import pytest
from tiny_runs import start

from benchmarks import block_edits, compositional_cost, timing
from routing_jax.models.factory import DataShape


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")  # Adam of optax promotes types inside
def test_the_sides_of_a_step_run(monkeypatch, capsys):
    experiment = compositional_cost.experiment

    def tiny(arg):
        config = experiment(arg)
        config.model.depth, config.model.width, config.model.resolution = 1, 4, 2
        # One depth has nothing to share a bank with.
        config.model.bank = "per_depth"
        return config

    monkeypatch.setattr(compositional_cost, "experiment", tiny)
    monkeypatch.setattr(compositional_cost, "SHAPE", DataShape(2, 2, (4, 4, 1)))
    monkeypatch.setattr(timing, "_ROUND_SECONDS", 0.01)
    compositional_cost.main(["--quick", "--rounds=1", "--examples=2"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == ["independent blocks", "mixed parameters"]
    assert lines[1]["ratio"]["to"] == "independent blocks"
    assert lines[0]["settings"] == {
        "num_tasks": 2,
        "num_blocks": 2,
        "batch": 4,
        "depth": 1,
        "width": 4,
        "resolution": 2,
        "statistics": "per_depth",
    }


def test_the_sides_differ_in_nothing_but_how_blocks_are_shared():
    sides = {
        name: compositional_cost.experiment(arg) for name, arg in compositional_cost.SIDES.items()
    }
    mixed = sides.pop("mixed parameters")
    for config in sides.values():
        for group in ("data", "optimizer", "training"):
            assert config[group] == mixed[group]
        for name in ("encoder", "block", "depth", "width", "resolution", "statistics", "head"):
            assert config.model[name] == mixed.model[name]


def test_the_edits_of_a_network_of_three_blocks():
    variables = {
        "params": {"router": {"logits": jnp.arange(3.0).reshape(1, 3, 1)}, "banks_0": {}},
        "batch_stats": {"averages": jnp.arange(3.0).reshape(3, 1, 1, 1)},
    }
    orders = {}
    for name, edit in block_edits.edits(3):
        edited = edit(variables)
        orders[name] = edited["params"]["router"]["logits"].ravel().tolist()
        assert edited["batch_stats"]["averages"].ravel().tolist() == orders[name]
    assert orders == {
        "as trained": [0, 1, 2],
        "without block 0": [1, 2],
        "without block 1": [0, 2],
        "without block 2": [0, 1],
        "blocks 0 and 1 swapped": [1, 0, 2],
        "blocks 1 and 2 swapped": [0, 2, 1],
        "block 0 twice": [0, 0, 1, 2],
        "block 1 twice": [0, 1, 1, 2],
        "block 2 twice": [0, 1, 2, 2],
    }


def test_only_some_kinds_of_edits():
    names = [name for name, _ in block_edits.edits(3, ["swap"])]
    assert names == ["as trained", "blocks 0 and 1 swapped", "blocks 1 and 2 swapped"]
    removed = {name for name, _ in block_edits.edits(3, ["remove"])}
    twice = {name for name, _ in block_edits.edits(3, ["repeat"])}
    assert removed | twice | set(names) == {name for name, _ in block_edits.edits(3)}


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")
def test_the_blocks_of_a_finished_run_are_edited(tmp_path, capsys):
    arguments = {
        "data.name": "digits",
        "data.tasks": "one_vs_rest",
        "data.num_tasks": 2,
        "data.augment": "none",
        "model.resolution": 4,
        "model.width": 4,
        "model.depth": 2,
        "training.steps": 4,
        "training.examples_per_task": 64,
    }
    flags = [f"--config.{name}={value}" for name, value in arguments.items()]
    experiment = "compositional_mtl.py:baseline=independent_blocks"
    assert start(tmp_path, *flags, experiment=experiment) == 0
    capsys.readouterr()
    assert block_edits.main([str(tmp_path), "--epochs=1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == [name for name, _ in block_edits.edits(2)]
    assert all(set(line["accuracy"]) == {"before", "after"} for line in lines)
    results = json.loads((tmp_path / "results.json").read_text())
    assert lines[0]["accuracy"]["before"] == pytest.approx(results["test"]["accuracy"]["mean"])


def test_blocks_that_cannot_change_places(finished, tmp_path, capsys):
    assert block_edits.main([str(finished)]) == 2
    assert capsys.readouterr().err == (
        f"error: workdir = {finished} is a run of model.name = routing_network: only the blocks of "
        "a compositional network can change places.\n"
    )
    assert block_edits.main([str(tmp_path / "none")]) == 2
    assert "holds no run" in capsys.readouterr().err
