"""The benchmark over numbers of tasks, on one small table, and its figure."""

import json

import jax
import numpy as np
import pytest

from benchmarks import scaling_figure, task_scaling
from benchmarks.task_scaling import Table

TIMES = {
    # Two rounds; the second on a busier machine.
    "routed, 1": [1.0, 2.0],
    "routed, 2": [3.0, 6.0],
    "cross-stitch, 1": [2.0, 5.0],
    "cross-stitch, 2": [8.0, 20.0],
}


@pytest.fixture
def lines(monkeypatch, capsys):
    """The lines of a table of two systems at one and two tasks, by name and tasks."""
    systems = {name: task_scaling.SYSTEMS[name] for name in ("routed", "cross-stitch")}
    monkeypatch.setattr(task_scaling, "SYSTEMS", systems)
    monkeypatch.setattr(task_scaling, "side", lambda *_: None)
    monkeypatch.setattr(task_scaling, "interleaved", lambda sides, rounds: TIMES)
    task_scaling.measure(Table("routed layers", "examples per task", (1, 2)), rounds=2)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {(line["name"], line["settings"]["num_tasks"]): line for line in found}


def test_ratios_are_taken_round_by_round(lines):
    routed, stitched = lines["routed", 2], lines["cross-stitch", 2]
    assert (routed["settings"]["batch"], routed["settings"]["num_blocks"]) == (32, 2)
    # 3 ms for 32 examples.
    assert routed["microseconds_per_example"]["min"] == pytest.approx(93.75)
    # Twice the examples for three times the milliseconds, in both rounds.
    assert routed["ratio"]["min"] == routed["ratio"]["max"] == 1.5
    assert stitched["ratio"]["median"] == 2
    assert routed["ratio_to_cross_stitch"] == {"median": 0.3375, "min": 0.3, "max": 0.375}


def test_a_side_trains(monkeypatch):
    monkeypatch.setattr(task_scaling, "EXAMPLES_PER_TASK", 2)
    run = task_scaling.side(Table("routed layers", "examples per task"), "cross-stitch", 2)
    before, after = (jax.device_get(run(steps)[0]) for steps in (0, 2))
    moved = jax.tree.map(lambda a, b: (a != b).any() and np.isfinite(b).all(), before, after)
    assert all(jax.tree.leaves(moved))


def test_the_figure_is_drawn_from_the_lines(lines, tmp_path):
    source = tmp_path / "lines.jsonl"
    source.write_text("\n".join(map(json.dumps, lines.values())))
    assert scaling_figure.main([str(source), str(tmp_path / "picture.png")]) == 0
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no line was measured at a fixed number of examples"):
        scaling_figure.draw([], tmp_path / "nothing.png")


def test_the_fixed_number_of_examples():
    per_step = Table("routed layers", "examples per step")
    per_task = Table("whole network", "examples per task")
    assert [per_step.examples(tasks) * tasks for tasks in per_step.tasks] == [320] * 5
    assert {per_task.examples(tasks) for tasks in per_task.tasks} == {16}
