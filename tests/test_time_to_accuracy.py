"""When runs reach the same accuracy."""

import json

import pytest

from benchmarks.time_to_accuracy import arrival, compare


def results(accuracies, *, per_step):
    """Results of a run evaluated every 10 steps, which are half an epoch."""
    curve = [
        {"step": 10 * i, "epoch": 0.5 * i, "test_balanced_accuracy": accuracy}
        for i, accuracy in enumerate(accuracies, start=1)
    ]
    return {"experiment": "toy", "curve": [curve], "seconds": {"per_step": per_step}}


def test_a_run_arrives_at_its_first_evaluation_that_is_good_enough():
    run = results([0.3, 0.5, 0.4, 0.6], per_step=0.2)
    assert arrival(run, 0.45) == (20, pytest.approx(4.0))
    assert arrival(run, 0.6) == (40, pytest.approx(8.0))


def test_both_are_asked_for_shares_of_the_lower_final_accuracy(capsys):
    routed = results([0.2, 0.4, 0.5], per_step=0.01)
    stitched = results([0.3, 0.5, 0.8], per_step=0.1)
    compare({"routed": [routed], "cross-stitch": [stitched]})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {
        (line["settings"]["share_of_lower_final_accuracy"], line["name"]): line for line in lines
    }
    # 80 % of 0.5 are 0.4: routed after 20 steps of 10 ms, cross-stitch after 20 of 100 ms.
    assert found[0.8, "routed"]["milliseconds"]["median"] == pytest.approx(200)
    assert found[0.8, "routed"]["ratio"]["median"] == pytest.approx(0.1)
    assert found[1.0, "routed"]["steps"]["median"] == 30
    assert found[1.0, "cross-stitch"]["milliseconds"]["median"] == pytest.approx(2000)
    # 20 steps an epoch.
    assert found[1.0, "routed"]["seconds_per_epoch"]["median"] == pytest.approx(0.2)
    assert found[1.0, "cross-stitch"]["seconds_per_epoch"]["median"] == pytest.approx(2)
