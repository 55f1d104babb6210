"""The benchmarks of saving and of kills: what they print, and one tiny round."""

import json
import os

import pytest

from benchmarks import kill_and_resume, saving_cost, timing
from routing_jax.data import loading
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.run import make_run


@pytest.fixture
def lines(capsys):
    """Reads the JSON lines printed since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_spread_has_four_digits():
    assert timing.spread([30.0, 0.123456, 1.0]) == {"median": 1.0, "min": 0.1235, "max": 30.0}


def test_a_line_says_what_was_measured_and_on_what(lines):
    timing.print_line("made_up", "side", {"batch": 3}, {"kills": 2})
    (line,) = lines()
    assert list(line) == [
        *("benchmark", "name", "settings", "kills"),
        *("device", "versions", "command", "git_commit"),
    ]
    assert (line["benchmark"], line["name"], line["settings"]) == ("made_up", "side", {"batch": 3})
    assert line["kills"] == 2
    assert line["device"].endswith(f", {os.cpu_count()} cores")
    assert line["command"].startswith("python ")


def test_ratios_are_taken_round_by_round(lines):
    timing.report("made_up", {}, {"a": [1.0, 2.0, 4.0], "b": [2.0, 6.0, 4.0]}, against="a")
    assert [line["ratio"] for line in lines()] == [
        {"median": 1.0, "min": 1.0, "max": 1.0, "to": "a"},
        {"median": 2.0, "min": 1.0, "max": 3.0, "to": "a"},
    ]


# Saving.


def test_the_jobs_are_those_of_the_experiment_at_its_own_interval():
    config = saving_cost.job("digits", data_dir="", steps=None)
    assert (config.data.name, config.training.checkpoint_every) == ("digits", 500)
    config = saving_cost.job("", data_dir="there", steps=7)
    assert (config.data.name, config.data.dir) == ("mnist", "there")
    assert config.training.checkpoint_every == 7


def test_every_round_has_a_stretch_with_and_one_without_saving(tmp_path):
    config = saving_cost.job("digits", data_dir="", steps=4)
    config.model.encoder, config.model.width = "flatten", 16
    config.model.depth, config.model.num_blocks = 1, 2
    config.training.eval_every, config.training.examples_per_task = 3, 4
    run = make_run(config, loading.load(config.data, say=print))
    checkpoints = Checkpoints(tmp_path, dataset="digits")
    times = saving_cost.measure(run, checkpoints, rounds=2)
    assert tuple(times) == saving_cost.SIDES
    for whole, *parts in zip(*(times[side] for side in saving_cost.SIDES[1:]), strict=True):
        assert whole == pytest.approx(sum(parts))
    assert [len(values) for values in times.values()] == [2, 2, 2, 2]
    assert min(min(values) for values in times.values()) > 0
    # After a stretch to warm up, four of four steps: without, saving at 8, saving at 12, without.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["12", "8"]


def test_the_cost_of_saving_is_printed(lines, monkeypatch):
    times = dict(zip(saving_cost.SIDES, ([100.0], [103.0], [102.0], [1.0]), strict=True))
    monkeypatch.setattr(saving_cost, "measured", lambda config, rounds: (config.data.name, times))
    assert saving_cost.main(["--rounds=1"]) == 0
    found = lines()  # of the digits alone, as the tests see no MNIST
    assert [line["name"] for line in found] == list(saving_cost.SIDES)
    assert [line["ratio"]["median"] for line in found] == [1.0, 1.03, 1.02, 0.01]
    assert found[0]["settings"] == {
        "data": "digits",
        "rounds": 1,
        "checkpoint_every": 500,
        "eval_every": 100,
    }


# Kills.


@pytest.mark.parametrize(("differing", "status"), [([], 0), (["run 0: state"], 1)])
def test_the_outcome_of_the_kills_is_a_line(lines, monkeypatch, differing, status):
    found = {"kills": 3, "exact": 3 if not differing else 0, "differing": differing}
    monkeypatch.setattr(kill_and_resume, "kill_and_resume", lambda *_, **__: found)
    assert kill_and_resume.main(["--kills=3", "--seed=5"]) == status
    (line,) = lines()
    assert (line["benchmark"], line["settings"]["seed"]) == ("kill_and_resume", 5)
    assert {name: line[name] for name in found} == found
