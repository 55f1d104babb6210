"""Joining the results of several seeds."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from routing_jax.errors import UserError
from routing_jax.reporting import merge
from routing_jax.reporting.split_seeds import split_seeds

PART = {
    "experiment": "probe",
    "dataset": {"name": "digits"},
    "tasks": ["a", "b"],
    "seeds": [0],
    "test": {"accuracy": {"mean": 0.7, "stderr": None, "per_task": [0.6, 0.8]}},
    "curve": [[{"step": 1}]],
    "recalls": [[[0.5, 0.7], [0.8, None]]],
    "routing_map": [[[0], [1]]],
    "seconds": {"total": 10.0},
    "examples_per_second": 5.0,
    "peak_memory_bytes": 100,
    "parameters": 3,
    "config": {"training": {"seed": 0, "steps": 1}},
    "command": "python launch.py --seed=0",
    "versions": {"jax": "1"},
    "device": "CPU",
    "git_commit": None,
}


def part(seed, accuracies=(0.6, 0.8), total=10.0):
    new = copy.deepcopy(PART)
    new["seeds"], new["config"]["training"]["seed"] = [seed], seed
    new["test"]["accuracy"]["per_task"] = list(accuracies)
    new["seconds"]["total"] = total
    new["command"] = f"python launch.py --seed={seed}"
    return new


def test_what_is_told_of_tasks_is_joined_if_every_seed_tells_it():
    merged = merge.merge([part(0), part(1)])
    assert merged["recalls"] == PART["recalls"] * 2
    earlier = part(1)
    del earlier["recalls"]  # results of an earlier version
    assert merge.merge([part(0), earlier])["recalls"] is None


def test_metrics_get_error_bars_and_times_their_median():
    merged = merge.merge([part(0), part(1, (0.8, 1.0), 30.0), part(2, (0.7, 0.9), 11.0)])
    # Means of the seeds: 0.7, 0.9, 0.8. Mean 0.8, standard deviation 0.1, error 0.1 / sqrt(3).
    accuracy = merged["test"]["accuracy"]
    assert accuracy["mean"] == pytest.approx(0.8)
    assert accuracy["stderr"] == pytest.approx(0.1 / np.sqrt(3))
    assert accuracy["per_task"] == pytest.approx([0.7, 0.9])
    assert [seconds["total"] for seconds in merged["per_seed"]["seconds"]] == [10.0, 30.0, 11.0]
    assert merged["seeds"] == [0, 1, 2]
    assert merged["seconds"]["total"] == 11.0
    assert len(merged["curve"]) == len(merged["routing_map"]) == len(merged["commands"]) == 3


def test_best_steps_and_costs_are_joined():
    parts = [part(0), part(1)]
    for step, one in zip((5, 9), parts, strict=True):
        one["selection"] = {
            "evaluated_on": "validation",
            "metric": "accuracy",
            "step": [step],
            "value": [step / 10],
        }
        one["multiply_adds"] = {
            "of_block": [[10, 10]],
            "all_blocks": 20,
            "per_task": [[10, step]],
            "share_saved": 0.0,
        }
    merged = merge.merge(parts)
    assert merge.merge(split_seeds(merged)) == merged
    assert [one["selection"]["step"] for one in split_seeds(merged)] == [[5], [9]]
    assert merged["selection"]["step"] == [5, 9]
    assert merged["selection"]["value"] == [0.5, 0.9]
    assert merged["multiply_adds"]["per_task"] == [[10, 5], [10, 9]]
    # (10 + 5 + 10 + 9) / 4 = 8.5 of 20 in the mean.
    assert merged["multiply_adds"]["share_saved"] == pytest.approx(1 - 8.5 / 20)
    assert merge.merge([part(0), part(1)])["selection"] is None


def test_runs_that_differ_in_more_than_the_seed_are_refused():
    other = part(1)
    other["config"]["training"]["steps"] = 2
    other["git_commit"] = "abc"
    message = (
        r"^the results of seeds \[0\] and \[1\] differ in git_commit, config: only runs that "
        r"differ in their seed can be merged\.$"
    )
    with pytest.raises(UserError, match=message):
        merge.merge([part(0), other])


def test_a_seed_may_come_only_once():
    with pytest.raises(UserError, match=r"^a seed comes twice among \[0, 0\]: name each run once"):
        merge.merge([part(0), part(0)])


def test_seeds_are_added_to_what_was_joined():
    parts = [part(0), part(1, (0.8, 1.0), 30.0), part(2, (0.7, 0.9), 11.0)]
    assert merge.merge([merge.merge(parts[:2]), parts[2]]) == merge.merge(parts)
    with pytest.raises(UserError, match="a seed comes twice"):
        merge.merge([merge.merge(parts), parts[2]])


def test_what_an_earlier_version_joined_is_refused():
    joined = merge.merge([part(0), part(1)])
    del joined["test"]["accuracy"]["per_seed_and_task"]
    message = (
        r"^python launch\.py --seed=0: these results are of seeds \[0, 1\], joined by an earlier "
        r"version; name the results of each seed, or the sweep\.json of all\.$"
    )
    with pytest.raises(UserError, match=message):
        merge.merge([joined, part(2)])


RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    "name",
    [
        "cifar_mtl_routed.json",
        "gumbel_mnist_learned.json",
        "new_tasks_compositional_route_50.json",
        "compositional_transfer_mixing_50.json",
    ],
)
def test_results_of_several_seeds_come_apart_and_together_again(name):
    joined = json.loads((RESULTS / name).read_text())
    apart = split_seeds(joined)
    assert [one["seeds"] for one in apart] == [[seed] for seed in joined["seeds"]]
    assert [one["config"]["training"]["seed"] for one in apart] == joined["seeds"]
    told = ("per_seed", "commands")
    assert not any(name in one for one in apart for name in told)
    assert merge.merge(apart) == {"recalls": None} | joined  # which earlier versions do not tell


def test_the_command_line(tmp_path, capsys):
    for seed in (0, 1):
        (tmp_path / f"{seed}.json").write_text(json.dumps(part(seed)))
    output = tmp_path / "merged.json"
    assert merge.main([str(output), str(tmp_path / "0.json"), str(tmp_path / "1.json")]) == 0
    assert json.loads(output.read_text())["seeds"] == [0, 1]
    assert "seeds 0, 1" in capsys.readouterr().out
    assert merge.main([str(output), str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


@pytest.fixture
def sweep(tmp_path):
    """A sweep.json of two rules and two seeds, of which one cell failed."""
    cells = []
    for rule in ("wpl", "sarsa"):
        for seed in (0, 1):
            results = part(seed)
            results["config"]["router"] = {"rule": rule}
            settings = {"router.rule": rule, "training.seed": seed}
            failed = (rule, seed) == ("sarsa", 1)
            cells.append({"settings": settings, "results": None if failed else results})
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({"cells": cells}))
    return path


@pytest.mark.parametrize(("rule", "seeds"), [("wpl", [0, 1]), ("sarsa", [0])])
def test_cells_of_a_sweep_are_merged_by_what_was_swept(sweep, tmp_path, rule, seeds):
    out = tmp_path / "merged.json"
    assert merge.main([str(out), str(sweep), "--where", f"router.rule={rule}"]) == 0
    merged = json.loads(out.read_text())
    assert (merged["seeds"], merged["config"]["router"]) == (seeds, {"rule": rule})


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ((), "the results of seeds [0] and [0] differ in config: only runs that differ in their "),
        (("--where", "router.rule=relax"), "has no cell with router.rule=relax that finished"),
    ],
)
def test_cells_that_do_not_belong_together_are_refused(sweep, tmp_path, capsys, where, message):
    assert merge.main([str(tmp_path / "merged.json"), str(sweep), *where]) == 2
    assert message in capsys.readouterr().err
