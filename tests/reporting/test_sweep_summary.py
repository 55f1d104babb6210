"""What a sweep found, over seeds: the table and the figures."""

import math

import pytest
from rich.console import Console

from routing_jax.errors import UserError
from routing_jax.reporting.sweep_figures import draw_sweep
from routing_jax.reporting.sweep_summary import (
    read_sweep,
    summarise,
    sweep_table,
    table_text,
)


def cell(settings, accuracy, index=0):
    """A cell with two evaluations; None as accuracy is one that failed."""
    seed = settings["training.seed"]
    results = (
        None
        if accuracy is None
        else {
            "experiment": "probe",
            "dataset": {"name": "digits", "embedded_fallback": False, "evaluated_on": "test"},
            "tasks": ["a"],
            "seeds": [seed],
            "test": {"accuracy": {"mean": accuracy}},
            "curve": [
                [
                    {"step": 5, "test_accuracy": accuracy / 2},
                    {"step": 10, "test_accuracy": accuracy},
                ]
            ],
        }
    )
    return {"index": index, "settings": settings, "results": results}


def of(rho, seed, accuracy):
    return cell({"reward.rho": rho, "training.seed": seed}, accuracy)


CELLS = [
    of(0.0, 0, 0.90),
    of(0.0, 1, 0.94),
    of(0.3, 0, 0.95),
    of(0.3, 1, None),
    of(1.0, 0, None),
]


def grid(**axes):
    """Cells of rho x agent x seed whose accuracy grows with rho."""
    return [
        cell({"reward.rho": rho, "router.agent": agent, "training.seed": seed}, 0.9 + rho / 20)
        for rho in axes["rho"]
        for agent in axes["agent"]
        for seed in (0, 1)
    ]


def test_settings_are_sorted_by_their_mean_over_seeds():
    rows = summarise(CELLS)
    assert [row.settings for row in rows] == [
        {"reward.rho": 0.3},
        {"reward.rho": 0.0},
        {"reward.rho": 1.0},
    ]
    assert [(len(row.cells), row.failed) for row in rows] == [(1, 1), (2, 0), (0, 1)]
    # Mean 0.92, standard deviation 0.02 * sqrt(2), error 0.02.
    assert rows[1].means["accuracy"] == pytest.approx(0.92)
    assert rows[1].errors["accuracy"] == pytest.approx(0.02)
    assert rows[0].errors["accuracy"] is None
    assert rows[2].means == {}


def test_where_tasks_were_added_the_table_says_that_it_is_about_them():
    cells = [of(0.0, seed, 0.9) for seed in (0, 1)]
    for one in cells:
        new = {"tasks": ["c"], "test": {"accuracy": {"mean": 0.6}}}
        one["results"] |= {"tasks": ["a", "b", "c"], "new_tasks": new}
    text = " ".join(table_text(summarise(cells), cells).split())
    assert text.startswith("probe on digits, 3 tasks, 1 of them new, 2 seeds ")
    assert "over seeds, of the mean over the new tasks" in text
    assert "60.00 ± 0.00 %" in text


def test_the_table():
    console = Console(width=80, record=True)
    console.print(sweep_table(summarise(CELLS), CELLS))
    text = console.export_text()
    assert text.startswith("probe on digits, 1 task, 2 seeds")
    rows = [[part.strip() for part in line.split("│")[1:-1]] for line in text.splitlines()]
    assert [row for row in rows if row] == [
        ["0.3", "1 + 1 failed", "95.0 %"],
        ["0.0", "2", "92.00 ± 2.00 %"],
        ["1.0", "0 + 1 failed", "-"],
    ]


def test_a_metric_that_is_not_finite_ranks_behind_those_that_are(tmp_path):
    # A finished cell whose test metric was NaN: JSON holds null in its place.
    broken = [of(2.0, seed, 0.5) for seed in (0, 1)]
    broken[1]["results"]["test"]["accuracy"]["mean"] = None
    broken[1]["results"]["curve"][0][1]["test_accuracy"] = None
    rows = summarise([*broken, *CELLS])
    assert [row.settings["reward.rho"] for row in rows] == [0.3, 0.0, 2.0, 1.0]
    assert math.isnan(rows[2].means["accuracy"])
    assert "nan ± nan %" in table_text(rows, [*broken, *CELLS])
    assert len(draw_sweep([*broken, *CELLS], tmp_path)) == 2


def test_the_table_of_a_file_is_as_wide_as_it_has_to_be():
    lines = table_text(summarise(CELLS), CELLS).splitlines()
    assert lines[0] == "probe on digits, 1 task, 2 seeds"
    assert lines == [line.rstrip() for line in lines]
    assert max(map(len, lines)) < 80


def test_a_table_of_seeds_alone_has_one_row():
    cells = [cell({"training.seed": seed}, 0.9) for seed in (0, 1)]
    (row,) = summarise(cells)
    assert (row.settings, len(row.cells)) == ({}, 2)
    console = Console(width=80, record=True)
    console.print(sweep_table([row], cells))
    assert "90.00 ± 0.00 %" in console.export_text()


def test_a_figure_for_each_swept_number_and_one_of_curves(tmp_path):
    figures = draw_sweep(grid(rho=(0.0, 0.3, 1.0), agent=("single", "per_task")), tmp_path / "new")
    assert [path.name for path in figures] == [
        "accuracy_against_reward.rho.png",
        "accuracy_curves.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures)


def test_curves_are_drawn_where_no_number_is_swept(tmp_path):
    (path,) = draw_sweep(grid(rho=(0.3,), agent=("single", "per_task")), tmp_path)
    assert path.name == "accuracy_curves.png"


def test_nothing_is_drawn_where_nothing_finished(tmp_path):
    assert draw_sweep([of(0.0, 0, None)], tmp_path) == []


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "sweep.json"
    with pytest.raises(UserError, match="has the sweep finished"):
        read_sweep(path)
    path.write_text('{"cells": [')
    with pytest.raises(UserError, match="is cut off or not the results of a sweep"):
        read_sweep(path)
