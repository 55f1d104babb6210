"""Tables that quote results files: the numbers, what is missing, and what cannot be quoted."""

import json

import pytest

from routing_jax.errors import UserError
from routing_jax.reporting.quoted import Quoted, quoted_text
from routing_jax.reporting.study import read_studies

RESULTS = {
    "test": {"accuracy": {"mean": 0.69254, "stderr": 0.00108}},
    "seconds": {"total": 654.6},
    "per_seed": {"seconds": [{"total": 610.2}, {"total": 700.4}], "peak-bytes": [1024, 512]},
}
LINES = [
    {"name": "dense", "settings": {"width": 64}, "ratio": {"median": 1.0, "min": 1, "max": 1}},
    {"name": "dense", "settings": {"width": 128}, "ratio": {"median": 2, "min": 1.5, "max": 2.25}},
]


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(RESULTS, indent=2))
    (tmp_path / "cost.json").write_text("\n".join(json.dumps(line) for line in LINES) + "\n")
    return tmp_path


def cell(directory, text):
    """What a table with this one cell says in it."""
    return quoted_text(Quoted(["a"], [[text]]), directory).split("\n")[3].strip("| ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{run.json:test.accuracy:%}", "69.25 ± 0.11 %"),
        ("{run.json:test.accuracy.mean:%}", "69.25 %"),
        ("about **{run.json:seconds.total:.0f}** s", "about **655** s"),
        ("{cost.json[name=dense;settings.width=128]:ratio:range}", "2.00 (1.50 to 2.25)"),
        ("{cost.json[settings.width=64]:ratio:.1f}", "1.0"),
        ("{run.json:seconds.total:.2f of 60} min", "10.91 min"),
        ("{run.json:per_seed.seconds.total.largest:.0f}", "700"),
        ("{run.json:per_seed.peak-bytes.largest:KiB}", "1 KiB"),
        ("{later.json:test.accuracy:%}", "not run"),
        ("{run.json:seconds.total:KiB}, {run.json:seconds.total:.1f}", "1 KiB, 654.6"),
    ],
)
def test_cells(directory, text, shown):
    assert cell(directory, text) == shown


def test_a_whole_table(directory):
    table = Quoted(["method", "accuracy"], [["routed", "{run.json:test.accuracy:%}"]], "A caption.")
    assert quoted_text(table, directory) == (
        "\nA caption.\n\n| method | accuracy |\n| --- | --- |\n| routed | 69.25 ± 0.11 % |\n\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{run.json:test.loss:%}",
            "run.json has no test.loss: there is no 'loss' among accuracy.",
        ),
        (
            "{run.json:seconds.total.mean:%}",
            "run.json has no seconds.total.mean: there is no 'mean' among 654.6.",
        ),
        (
            "{run.json:per_seed.seconds.largest:.0f}",
            "run.json has no per_seed.seconds.largest: there is no 'largest' among "
            "[{'total': 610.2}, {'total': 700.4}].",
        ),
        (
            "{cost.json[name=dense]:ratio:range}",
            "cost.json[name=dense]: 2 of 2 entries say so, not one; name what sets one apart, in "
            "results/tables.toml.",
        ),
        (
            "{cost.json[name]:ratio:range}",
            "cost.json[name]: 0 of 2 entries say so, not one; name what sets one apart, in "
            "results/tables.toml.",
        ),
        (
            "{run.json:seconds:%}",
            "run.json: seconds cannot be written as '%' ('median'); forms: %, range, KiB, GiB, or "
            "one of Python's for a number.",
        ),
    ],
)
def test_what_cannot_be_quoted_is_named(directory, text, message):
    with pytest.raises(UserError) as caught:
        cell(directory, text)
    assert str(caught.value) == f"{directory}/{message}"


@pytest.mark.parametrize("text", ["{run.json:test.accuracy}", "{sub/run.json:seconds.total:.0f}"])
def test_braces_that_quote_nothing_are_an_error(directory, text):
    with pytest.raises(UserError, match="and braces hold {file:path:form} or"):
        cell(directory, text)


def test_a_file_that_is_cut_off(directory):
    (directory / "run.json").write_text('{\n "test": ')
    with pytest.raises(UserError, match="run.json is cut off or not JSON"):
        cell(directory, "{run.json:test:%}")


def test_a_line_has_a_cell_for_each_column(tmp_path):
    rows = tmp_path / "tables.toml"
    rows.write_text('[glance]\ncolumns = ["a", "b"]\ncells = [["1"]]\n')
    with pytest.raises(UserError, match=r"2 columns, and 1 cells in \['1'\]$"):
        read_studies(rows)
    rows.write_text('[glance]\ncolumns = ["a"]\ncells = [["1"]]\n')
    assert read_studies(rows) == {"glance": Quoted(["a"], [["1"]])}
