import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from routing_jax.reporting.results import SelectionRecord, build_results
from routing_jax.reporting.summary import figures_line, task_table, written_files
from routing_jax.workdir import Workdir


def shown(results: dict, *, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(task_table(results))
    return [line.strip() for line in console.file.getvalue().splitlines()]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]


@pytest.fixture
def record(make_run):
    record, _ = make_run(tasks=2, depth=3, blocks=8, pass_action=True)
    routes = np.array([[[3, 7, -1], [0, 0, 5]]])
    accuracy = np.array([[0.9931, 0.9871]])
    return dataclasses.replace(record, routing_map=routes, test={"accuracy": accuracy})


def test_a_row_for_each_task_and_the_mean_below(record):
    lines = shown(build_results(record))
    assert lines[0] == "mnist_mtl on mnist, 2 tasks, seed 0"
    assert cells(lines[2]) == ["task", "accuracy", "route"]
    assert cells(lines[4]) == ["digit 0", "99.3 %", "3 → 7 → PASS"]
    assert cells(lines[5]) == ["digit 1", "98.7 %", "0 → 0 → 5"]
    # (0.9931 + 0.9871) / 2 = 0.9901
    assert cells(lines[7]) == ["mean", "99.0 %", ""]


def test_several_seeds_show_the_standard_error(make_run):
    record, _ = make_run(seeds=2, tasks=2)
    test = {"balanced_accuracy": np.array([[0.9, 0.7], [1.0, 0.8]])}
    lines = shown(build_results(dataclasses.replace(record, test=test)))
    assert lines[0].endswith("2 seeds")
    assert cells(lines[2])[1] == "balanced accuracy"
    assert cells(lines[7])[1] == "85.00 ± 5.00 %"
    assert "(seed 0); ±: standard error over seeds" in lines[-1]


def test_the_embedded_digits_are_named(record):
    dataset = dataclasses.replace(record.dataset, embedded_fallback=True)
    lines = shown(build_results(dataclasses.replace(record, dataset=dataset)))
    assert lines[0] == "mnist_mtl on embedded digits (MNIST not found), 2 tasks, seed 0"


def test_blocks_that_are_on_stand_in_place_of_a_route(record):
    on = np.array([[[[1, 1, 0, 1], [0, 0, 1, 0]], [[0, 0, 0, 0], [1, 0, 0, 0]]]], bool)
    lines = shown(build_results(dataclasses.replace(record, routing_map=None, allocation=on)))
    assert cells(lines[2]) == ["task", "accuracy", "blocks on"]
    assert cells(lines[4])[2] == "0,1,3 → 2"
    assert cells(lines[5])[2] == "none → 0"
    assert "blocks on: those whose mean a task takes at each depth" in " ".join(lines)
    results = build_results(dataclasses.replace(record, routing_map=None, allocation=on))
    results["config"]["router"]["merge"] = "sum"
    assert "blocks on: those whose sum a task takes at each depth" in " ".join(shown(results))


def test_many_blocks_are_counted_and_the_tested_step_is_told(record):
    on = np.ones((1, 2, 8, 7), bool)
    on[0, 1, 2] = False
    chosen = SelectionRecord("validation", "balanced_accuracy", [1500], [0.9])
    many = dataclasses.replace(record, routing_map=None, allocation=on, selection=chosen)
    lines = shown(build_results(many))
    assert cells(lines[4])[2] == "7-7-7-7-7-7-7-7"
    assert cells(lines[5])[2] == "7-7-0-7-7-7-7-7"
    assert " ".join(lines).endswith(
        "blocks on: how many whose mean a task takes at each depth; tested at the step of the best "
        "validation balanced accuracy (1,500)"
    )


def test_mixtures_have_no_route(record):
    lines = shown(build_results(dataclasses.replace(record, routing_map=None)))
    assert cells(lines[2]) == ["task", "accuracy"]


def test_an_accuracy_that_is_not_finite_is_shown_as_nan(record):
    results = build_results(record)
    results["test"]["accuracy"] |= {"mean": None, "per_task": [None, float("nan")]}
    assert "\n".join(shown(results)).count("nan %") == 3


def test_the_figures_of_the_run_on_one_line(record):
    results = build_results(record) | {"peak_memory_bytes": 2_400_000_000}
    # 2.4e9 / 2**30 = 2.235
    assert figures_line(results) == (
        "2 min 33 s in all, 20.5 s to the first step, 12.0 s compiling, 130 ms a step, "
        "1,234 examples/s, peak memory 2.24 GiB"
    )


def test_where_everything_was_written(tmp_path: Path):
    workdir = Workdir(tmp_path)
    workdir.results_path.write_text("{}")
    workdir.figures_dir.mkdir()
    (workdir.figures_dir / "routing_map.png").touch()
    assert [line.split("  ")[0].rstrip() for line in written_files(workdir)] == [
        str(workdir.results_path),
        str(workdir.figures_dir / "routing_map.png"),
    ]
