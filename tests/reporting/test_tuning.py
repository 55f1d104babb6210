"""Trials of methods: what is joined and refused, and the table that they make."""

import json

import pytest

from routing_jax.errors import UserError
from routing_jax.reporting import tables, tuning
from routing_jax.reporting.study import read_studies

DATASET = {"name": "cifar100", "evaluated_on": "validation", "num_test": 5}


def trial(accuracy, rate, l2=0.0, seed=0, **changed):
    return {
        "experiment": "probe",
        "dataset": DATASET,
        "config": {"optimizer": {"learning_rate": rate, "l2": l2}, "training": {"seed": seed}},
        "test": {"accuracy": {"mean": accuracy}},
        "seeds": [seed],
        "seconds": {"total": 60.0},
        "command": f"python launch.py --rate={rate}",
        "device": "CPU",
        "git_commit": "abc",
    } | changed


@pytest.fixture
def parts(tmp_path):
    """Two trials of ours in a sweep, one of theirs, whose seed is no setting."""
    cells = [{"results": trial(0.5, 0.1), "settings": {}}, {"results": None, "settings": {}}]
    cells.append({"results": trial(0.61, 0.2), "settings": {}})
    (tmp_path / "sweep.json").write_text(json.dumps({"cells": cells}))
    (tmp_path / "theirs.json").write_text(json.dumps(trial(0.4, 0.2, seed=3)))
    return [f"ours={tmp_path}/sweep.json", f"theirs={tmp_path}/theirs.json"]


TABLE = """
What was tried. From [trials.json](DIR/trials.json).

| optimizer.learning_rate | ours | theirs |
| --- | --- | --- |
| 0.1 | 50.0 |  |
| 0.2 | **61.0** | 40.0 |

"""


def test_trials_are_listed_and_become_a_table(parts, tmp_path, capsys):
    assert tuning.main([f"{tmp_path}/trials.json", *parts]) == 0
    assert capsys.readouterr().out == "ours: 2 trials\ntheirs: 1 trials\n"
    found = json.loads((tmp_path / "trials.json").read_text())
    assert (found["metric"], found["dataset"]) == ("accuracy", DATASET)
    assert found["trials"][2] == {
        "method": "theirs",
        "settings": {"optimizer.learning_rate": 0.2},
        "seeds": [3],
        "value": 0.4,
        "seconds": 60.0,
        "command": "python launch.py --rate=0.2",
        "config": {"optimizer.learning_rate": 0.2, "optimizer.l2": 0.0},
        "device": "CPU",
        "git_commit": "abc",
    }
    (tmp_path / "tables.toml").write_text(
        '[probe]\ncaption = "What was tried."\ntrials = "trials.json"\n'
    )
    study = read_studies(tmp_path / "tables.toml")["probe"]
    assert tables.table_text(study, tmp_path) == TABLE.replace("DIR", tmp_path.as_posix())
    (tmp_path / "trials.json").unlink()
    assert tables.table_text(study, tmp_path) == "\nWhat was tried.\n\nnot run\n\n"


def test_trials_join_those_that_a_file_has(parts, tmp_path, capsys):
    output = tmp_path / "trials.json"
    assert tuning.main([str(output), *parts]) == 0
    # Ours at rate 0.2 once more, and with another decay, in which no earlier trial differs.
    cells = [trial(0.7, 0.2), trial(0.8, 0.2, l2=0.1)]
    text = json.dumps({"cells": [{"results": cell, "settings": {}} for cell in cells]})
    (tmp_path / "sweep.json").write_text(text)
    assert tuning.main([str(output), f"ours={tmp_path}/sweep.json"]) == 0
    found = tuning.tuning_text(tuning.Tuning("A.", "trials.json"), tmp_path).splitlines()[3:-1]
    assert found == [
        "| optimizer.l2 | optimizer.learning_rate | ours | theirs |",
        "| --- | --- | --- | --- |",
        "| 0 | 0.1 | 50.0 |  |",
        "| 0 | 0.2 | 70.0 | 40.0 |",
        "| 0.1 | 0.2 | **80.0** |  |",
    ]
    (tmp_path / "sweep.json").write_text(text.replace("cifar100", "mnist"))
    assert tuning.main([str(output), f"ours={tmp_path}/sweep.json"]) == 2
    assert "dataset is {'name': 'mnist', " in capsys.readouterr().err
    output.write_text(json.dumps(trial(0.5, 0.1)))
    assert tuning.main([str(output), f"ours={tmp_path}/sweep.json"]) == 2
    assert capsys.readouterr().err == (
        "error: the file to write holds the results of a run; name one of trials, or none\n"
    )


def test_one_more_trial_takes_no_other_ones_place(parts, tmp_path):
    output = tmp_path / "trials.json"
    assert tuning.main([str(output), *parts]) == 0
    # By itself it differs in no field; only its decay tells it from one that is there.
    (tmp_path / "more.json").write_text(json.dumps(trial(0.7, 0.2, l2=0.1)))
    assert tuning.main([str(output), f"ours={tmp_path}/more.json"]) == 0

    def ours():
        trials = json.loads(output.read_text())["trials"]
        return [t["value"] for t in trials if t["method"] == "ours"]

    assert ours() == [0.5, 0.61, 0.7]
    # Files of earlier versions do not tell the configuration.
    before = json.loads(output.read_text())
    for one in before["trials"]:
        del one["config"]
    output.write_text(json.dumps(before))
    again = trial(0.8, 0.2, l2=0.1, command="python launch.py --rate=0.2 --l2=0.1 --workdir=x")
    (tmp_path / "more.json").write_text(json.dumps(again))
    assert tuning.main([str(output), f"ours={tmp_path}/more.json"]) == 0
    assert ours() == [0.5, 0.61, 0.7, 0.8]
    before["trials"][-1]["command"] = "python launch.py --rate=0.2 --l2=0.1 --workdir=y"
    output.write_text(json.dumps(before))
    assert tuning.main([str(output), f"ours={tmp_path}/more.json"]) == 0
    assert ours() == [0.5, 0.61, 0.8]


def test_seeds_of_one_setting_are_one_number(tmp_path):
    trials = tuning.join({"ours": [trial(0.5, 0.1), trial(0.6, 0.1, seed=1), trial(0.4, 0.2)]})
    (tmp_path / "trials.json").write_text(json.dumps(trials))
    found = tuning.tuning_text(tuning.Tuning("A.", "trials.json"), tmp_path).splitlines()[5:-1]
    assert found == ["| 0.1 | **55.0** |", "| 0.2 | 40.0 |"]


def test_the_same_trial_twice_is_no_mean(tmp_path):
    trials = tuning.join({"ours": [trial(0.5, 0.1)]})
    trials["trials"] *= 2
    (tmp_path / "trials.json").write_text(json.dumps(trials))
    with pytest.raises(UserError, match=r"has two trials of ours with seeds \[0\] and the same"):
        tuning.tuning_text(tuning.Tuning("A.", "trials.json"), tmp_path)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            trial(0.5, 0.3, dataset=DATASET | {"evaluated_on": "test"}),
            "python launch.py --rate=0.3: measured on the test set, and settings may not be chosen "
            "by that; hold images out with data.validation_fraction.",
        ),
        (
            trial(0.5, 0.3, dataset=DATASET | {"num_test": 6}),
            "python launch.py --rate=0.3: other data than those of python launch.py --rate=0.1.",
        ),
    ],
)
def test_trials_that_do_not_go_together(parts, tmp_path, capsys, other, message):
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert tuning.main([f"{tmp_path}/t.json", *parts, f"ours={tmp_path}/other.json"]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "t.json").exists()


def test_a_part_without_a_name(tmp_path, capsys):
    assert tuning.main([f"{tmp_path}/t.json", "runs/a/sweep.json"]) == 2
    assert capsys.readouterr().err == (
        "error: runs/a/sweep.json: write NAME=FILE, a method and trials of it.\n"
    )
