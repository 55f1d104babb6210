"""The report page, taken apart without a browser."""

import configparser
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from routing_jax.errors import UserError
from routing_jax.files import write_json
from routing_jax.reporting.page import write
from routing_jax.reporting.page.request import Request
from routing_jax.reporting.page.tables import Cell, Table, in_parts

ROOT = Path(write.__file__).parents[3]
NASTY = "</script><img src=x onerror=alert(1)> & <b>bold</b>"


def test_runs_side_by_side_with_the_fields_in_which_they_differ(make_workdir, make_report):
    runs = [make_workdir("a", rho=0.0), make_workdir("b", rho=0.3, seed=5, pass_action=True)]
    page, problems = make_report(*runs)
    assert problems == []
    head, *rows = page.table("Runs side by side")
    assert head[:5] == ["run", "experiment", "data set", "tasks", "seeds"]
    assert [row[:5] for row in rows] == [
        ["a", "mnist_mtl", "mnist", "3", "0"],
        ["b", "mnist_mtl", "mnist", "3", "5"],
    ]
    # The seed differs too, but says nothing about a method.
    assert page.table("Fields of the configuration") == [
        ["field", "a", "b"],
        ["router.pass_action", "False", "True"],
        ["reward.rho", "0.0", "0.3"],
    ]


def test_equal_configurations_have_no_table_of_fields(make_workdir, make_report):
    page, _ = make_report(make_workdir("a"))
    assert not any(caption.startswith("Fields") for caption in page.captions)


def test_runs_that_differ_only_in_their_seed_are_one_line_with_its_error(make_workdir, make_report):
    runs = [make_workdir(f"s{seed}", seed=seed) for seed in (0, 1)]
    page, _ = make_report(*runs, make_workdir("other", rho=0.3))
    traces = page.figure("Accuracy on the test set")["data"]
    assert [trace["name"] for trace in traces if "showlegend" not in trace] == ["s0, s1", "other"]
    below, above, mean, other = traces
    # 0.80, 0.875 and 0.95 at steps 0, 50 and 100, and 0.01 more for seed 1: the mean lies 0.005
    # above the first, and the standard error of two numbers is half of their difference.
    assert mean["y"] == pytest.approx([80.5, 88, 95.5])
    assert below["y"] == pytest.approx([80.0, 87.5, 95.0])
    assert above["y"] == pytest.approx([81.0, 88.5, 96.0])
    assert above["fill"] == "tonexty" and mean["x"] == [0, 50, 100]
    assert other["y"] == pytest.approx([80, 87.5, 95])


def test_the_same_seed_twice_is_two_lines(make_workdir, make_report):
    page, _ = make_report(make_workdir("a"), make_workdir("again"))
    assert [row[0] for row in page.table("Runs side by side")[1:]] == ["a", "again"]


def test_a_line_has_one_colour_in_all_figures(make_workdir, make_report):
    page, _ = make_report(make_workdir("a"), make_workdir("b", rho=0.3))
    assert len(page.data["figures"]) == 5  # loss, two metrics, entropy, blocks used
    for figure in page.data["figures"]:
        assert [trace["line"]["color"] for trace in figure["data"]] == ["#0072B2", "#D55E00"]
        layout = figure["layout"]
        assert all(layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis"))
    assert page.figure("Training loss")["layout"]["yaxis"]["type"] == "log"


def test_numbers_of_each_task(make_workdir, make_report):
    workdir = make_workdir("a")
    results = json.loads((workdir / "results.json").read_text())
    results["test"]["accuracy"]["per_task"] = [0.5, None, 0.75]
    write_json(workdir / "results.json", results)
    page, _ = make_report(workdir, make_workdir("more", tasks=4))
    first, second = [
        table
        for caption, table in zip(page.captions, page.tables, strict=True)
        if caption == "Accuracy on the test set, mean over seeds"
    ]
    assert first == [
        ["task", "a"],
        ["digit 0", "50.0 %"],
        ["digit 1", "nan %"],
        ["digit 2", "75.0 %"],
        ["mean", "99.3 %"],
    ]
    assert len(second) == 6
    assert 'data-number="0.75">75.0 %' in page.text
    assert "<td>nan %</td>" in page.text  # sorted behind all numbers


def test_wide_tables_are_cut_into_parts_that_fit_on_a_page():
    names = [f"run {i}" for i in range(17)]
    row = [Cell("a"), *map(Cell, names)]
    parts = in_parts(Table("t", ["task", *names], [row], row))
    assert [part.title for part in parts] == ["t (1 of 3)", "t (2 of 3)", "t (3 of 3)"]
    assert [name for part in parts for name in part.columns[1:]] == names
    for part in parts:
        assert part.columns[0] == "task" and len(part.columns) <= 9
        cells = [["a", *part.columns[1:]]] * 2
        assert [[cell.text for cell in cells] for cells in (part.rows[0], part.foot)] == cells


def test_names_with_html_in_them_are_shown(make_workdir, make_report):
    page, _ = make_report(
        make_workdir("<i>run", names=[NASTY, "b", "c"], rho=0.1), make_workdir("b")
    )
    assert "<img" not in page.text and "<i>" not in page.text
    assert page.text.count("<script") == page.text.count("</script") == 3
    assert [row[0] for row in page.tables[2][1:4]] == [NASTY, "b", "c"]
    # Plotly takes tags for its own unless they are escaped.
    tasks = page.data["routes"][0]["tasks"]
    assert (
        tasks[0]
        == "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt; &amp; &lt;b&gt;bold&lt;/b&gt;"
    )
    assert page.figure("Training loss")["data"][0]["name"] == "&lt;i&gt;run"


def test_what_it_ran_on_and_the_commands_to_run_it_again(make_workdir, make_sweep, make_report):
    runs = [make_workdir(f"s{seed}", seed=seed) for seed in (0, 1)]
    sweep = make_sweep("grid")
    page, _ = make_report(*runs, sweep)
    again = "python launch.py --workdir=s0\npython launch.py --workdir=s1"
    assert f"<pre>{again}</pre>" in page.text
    swept = f"--model.depth=2 --workdir={sweep}".replace("--model", "--config.model")
    command = f"'--config.sweep=rho=0,0.3 seed=0:2' {swept}"
    shown = command.replace("'", "&#39;")
    assert f"<pre>python launch.py --config=experiments/mnist_mtl.py {shown}</pre>" in page.text
    head, *rows = page.table("What it ran on")
    assert (head[1], rows[0][1]) == ("device", "cpu")
    assert "numpy" in rows[0][2]


def test_a_sweep_as_lines_and_against_its_number(make_sweep, make_report):
    page, problems = make_report(make_sweep("grid", (0.001, 0.3)))
    assert problems == []
    names = [row[0] for row in page.table("Runs side by side")[1:]]
    assert names == ["grid: reward.rho = 0.001", "grid: reward.rho = 0.3"]
    figure = page.figure("grid: accuracy against reward.rho")
    below, above, mean = figure["data"]
    assert mean["x"] == [0.001, 0.3]
    # Two seeds 0.02 apart: the mean is 0.01 above the first, and so large is the standard error.
    assert mean["y"] == pytest.approx([91.01, 94])
    assert below["y"] == pytest.approx([90.01, 93])
    assert above["y"] == pytest.approx([92.01, 95])
    assert figure["layout"]["xaxis"]["type"] == "log"  # 300-fold


def test_more_lines_than_can_be_told_apart_wait_in_the_legend(make_sweep, make_report):
    page, _ = make_report(make_sweep("grid", tuple(float(rho) / 20 for rho in range(14))))
    lines = [t for t in page.figure("Training loss")["data"] if "showlegend" not in t]
    assert [line["visible"] for line in lines] == [True] * 12 + ["legendonly"] * 2
    assert "Lines that are not drawn yet: click on them in the legend." in page.text


def test_the_page_stands_alone_and_is_small(make_workdir, make_report):
    page, _ = make_report(*(make_workdir(f"r{i}", rho=i / 10, tasks=20) for i in range(6)))
    assert "http" not in page.text.replace("http-equiv", "")
    assert len(page.text.encode()) < write.MOST_BYTES / 2


def test_a_page_that_would_be_too_large_says_so(make_workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "MOST_BYTES", 1_000_000)
    request = Request((make_workdir("a"),), tmp_path / "page.html")
    with pytest.raises(UserError, match=r"^the report would have \d\.\d MB, more than 1: name"):
        write.write_report(request)
    assert not request.output.exists()


def test_equal_runs_give_equal_pages(make_workdir, make_report):
    workdir = make_workdir("a")
    assert make_report(workdir)[0].text == make_report(workdir)[0].text


def test_writing_a_page_imports_no_jax():
    code = "import sys, routing_jax.reporting.page.make; print('jax' in sys.modules)"
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, cwd=ROOT, capture_output=True, text=True).stdout == "False\n"


def test_the_files_of_the_page_are_part_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["routing_jax.reporting.page"].split()
    folder = Path(write.__file__).parent
    packed = {path for pattern in patterns for path in folder.glob(pattern)}
    assert packed == set(folder.joinpath("static").iterdir())


def test_numbers_have_five_digits_and_gaps():
    from routing_jax.reporting.page.figures import numbers

    assert numbers(np.array([1 / 3, np.nan, 123456.0, np.inf])) == [0.33333, None, 123460.0, None]
