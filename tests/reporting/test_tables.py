"""Tables of results: numbers by hand, the documents they stand in, and what is refused."""

import json
import shlex
from pathlib import Path

import pytest

from routing_jax import cli
from routing_jax.errors import UserError
from routing_jax.reporting import tables
from routing_jax.reporting.study import Row, Study, at_epoch, paired, read_studies, steps_to_share

ROOT = Path(__file__).parents[2]


def made_up(seeds, accuracies):
    """Results of runs of four epochs of 100 steps, one curve of accuracies for each seed."""
    return {
        "experiment": "probe",
        "seeds": seeds,
        "test": {"accuracy": {"per_seed": [curve[-1] for curve in accuracies]}},
        "curve": [
            [
                {"step": 100 * i, "epoch": 0.99 * i, "test_accuracy": value}
                for i, value in enumerate(curve, start=1)
            ]
            for curve in accuracies
        ],
        "seconds": {"total": 90.0},
        "parameters": 1234,
    }


OURS = made_up([0, 1], [[0.3, 0.5, 0.6, 0.8], [0.5, 0.5, 0.7, 0.9]])
THEIRS = made_up([1, 2], [[0.2, 0.4, 0.6, 0.6], [0.2, 0.4, 0.6, 0.6]])


def test_an_epoch_is_the_evaluation_next_to_it():
    # 0.3 and 0.5: mean 0.4, standard deviation 0.1414, error 0.1.
    found = at_epoch(OURS, "accuracy", 1)
    assert (found.mean, found.error) == pytest.approx((0.4, 0.1))
    assert at_epoch(OURS, "accuracy", 5) is None


def test_steps_to_nine_tenths_of_the_end_lie_on_the_line_between_evaluations():
    # 0.72 of 0.8 lies 0.6 of the way from 0.6 (step 300) to 0.8 (step 400): 360. 0.81 of 0.9 lies
    # 0.55 of the way from 0.7 to 0.9: 355.
    found = steps_to_share(OURS, "accuracy")
    assert found.mean == pytest.approx(357.5)
    # Reached before it was first looked at: when, nobody knows.
    assert steps_to_share(made_up([0], [[0.5, 0.5]]), "accuracy") is None


def test_a_difference_is_paired_by_seed():
    difference, seeds = paired(OURS, THEIRS, "accuracy")
    assert (seeds, difference.error) == (1, None)
    assert difference.mean == pytest.approx(0.3)  # 0.9 - 0.6 of seed 1
    assert paired(OURS, made_up([5], [[0.5]]), "accuracy") is None


# Two seeds of three tasks at two depths. Seed 0: blocks 0 and 1, the same, and none but block 3:
# cosine 1 inside the pair, 0 across, 5 blocks for 3 tasks. Seed 1: one block of two in common
# inside the pair (1/2); with the third task, task 0 has none and task 1 one of two (1/sqrt(2)).
SWITCHED = made_up([0, 1], [[0.5], [0.7]]) | {
    "tasks": ["a", "b", "c"],
    "allocation": [[[[0], [1]], [[0], [1]], [[], [3]]], [[[0], [1]], [[0], [2]], [[], [2]]]],
    "multiply_adds": {
        "of_block": [[1, 1, 1, 1]] * 2,
        "per_task": [[2e6, 2e6, 2e6], [4e6, 3e6, 2e6]],
    },
}


def test_allocation_and_likeness_golden(tmp_path):
    (tmp_path / "switched.json").write_text(json.dumps(SWITCHED))
    rows = (Row("switched", "switched.json", ""), Row("missing", "missing.json", ""))
    study = Study("probe", "A.", rows, allocation=True, families=("x", "x", "y"))
    header, _, line, missing = tables.table_text(study, tmp_path).split("\n")[3:7]
    assert header.startswith(
        "| method | seeds | blocks on | million multiply-adds | cosine inside | cosine across |"
    )
    # 5/3 in both seeds; 2 and 3 million; 1 and 1/2; 0 and 0.3536.
    values = "| switched | 2 | 1.7 ± 0.0 | 2.500 ± 0.500 | 0.75 ± 0.25 | 0.18 ± 0.18 |"
    assert line.startswith(values)
    assert missing.count("|") == header.count("|")


def test_likeness_of_mixing_weights_golden(tmp_path):
    # One depth, two templates: (1, 0) and (0.6, 0.8) have cosine 0.6, (1, 0) and (0, 1) 0, and
    # (0.6, 0.8) and (0, 1) 0.8: inside the pair 0.6, across 0.4.
    mixed = made_up([0], [[0.5]]) | {
        "tasks": ["a", "b", "c"],
        "mixing_weights": [[[[1.0, 0.0]], [[0.6, 0.8]], [[0.0, 1.0]]]],
    }
    (tmp_path / "mixed.json").write_text(json.dumps(mixed))
    rows = (Row("mixed", "mixed.json", ""),)
    study = Study("probe", "A.", rows, families=("x", "x", "y"))
    *_, line = tables.table_text(study, tmp_path).strip().split("\n")
    assert line.startswith("| mixed | 1 | 0.60 | 0.40 |")


def test_a_table_of_one_task_golden(tmp_path):
    # Task b: 0.6 and 0.8, mean 0.7 and error 0.1; it ends 0.2 and 0.4 above the other row's.
    for name, of_b in (("ours", [0.6, 0.8]), ("theirs", [0.4, 0.4])):
        results = made_up([0, 1], [[0.5], [0.5]]) | {"tasks": ["a", "b"]}
        results["test"]["accuracy"]["per_seed_and_task"] = [[0.1, b] for b in of_b]
        (tmp_path / name).write_text(json.dumps(results))
    rows = (Row("ours", "ours", ""), Row("theirs", "theirs", ""))
    study = Study("probe", "A.", rows, metrics=("accuracy",), task="b", reference="ours")
    *_, ours, theirs = tables.table_text(study, tmp_path).strip().split("\n")
    assert ours.startswith("| ours | 2 | 70.00 ± 10.00 |")
    assert theirs.startswith("| theirs | 2 | 40.00 ± 0.00 | +30.00 ± 10.00 (2) |")
    study = Study("probe", "A.", rows, metrics=("accuracy",), task="c")
    with pytest.raises(UserError, match="is of the task 'c', and probe has: a, b.$"):
        tables.table_text(study, tmp_path)
    (tmp_path / "ours").write_text(json.dumps(made_up([0], [[0.5]]) | {"tasks": ["c"]}))
    with pytest.raises(UserError, match="^the results of probe do not tell 'c' of each seed, as"):
        tables.table_text(study, tmp_path)


def test_families_have_to_be_of_the_tasks(tmp_path):
    (tmp_path / "switched.json").write_text(json.dumps(SWITCHED))
    study = Study("probe", "A.", (Row("switched", "switched.json", ""),), families=("x", "y"))
    with pytest.raises(UserError, match="^2 families are named for 3 tasks of probe; name one for"):
        tables.table_text(study, tmp_path)


@pytest.fixture
def study(tmp_path):
    (tmp_path / "ours.json").write_text(json.dumps(OURS))
    (tmp_path / "theirs.json").write_text(json.dumps(THEIRS))
    return Study(
        name="probe",
        caption="A probe.",
        rows=(
            Row("ours", "ours.json", "python launch.py", {"1": 31, "20": 58}, "recollected"),
            Row("theirs", "theirs.json", "python launch.py"),
            Row("others", "others.json", "python launch.py", {"": 42}, "quoted"),
        ),
        epochs=(1, 4),
        reference="ours",
    )


TABLE = """
A probe.

| method | seeds | epoch 1 | epoch 4 | ours minus it | steps to 90 % of its end | parameters | \
minutes | paper | from |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| ours | 2 | 40.00 ± 10.00 | 85.00 ± 5.00 |  | 358 | 1,234 | 1.5 | \
31 at 1; 58 at 20 (recollected) | [ours.json](DIR/ours.json) |
| theirs | 2 | 20.00 ± 0.00 | 60.00 ± 0.00 | +30.00 (1) | 270 | 1,234 | 1.5 |  | \
[theirs.json](DIR/theirs.json) |
| others | not run |  |  |  |  |  |  | 42 (quoted) |  |

"""


def test_a_table_as_it_is_written(study, tmp_path):
    assert tables.table_text(study, tmp_path) == TABLE.replace("DIR", tmp_path.as_posix())


def test_a_document_keeps_what_is_not_a_table(study, tmp_path):
    text = "Before.\n<!-- table: probe -->\nold\n<!-- end of table -->\nBehind.\n"
    filled = tables.filled(text, {"probe": study}, tmp_path)
    assert filled.startswith("Before.\n<!-- table: probe -->\n\nA probe.")
    assert filled.endswith("\n\n<!-- end of table -->\nBehind.\n")
    assert tables.filled(filled, {"probe": study}, tmp_path) == filled
    with pytest.raises(UserError, match=r"^there is no table 'probe'; results/tables.toml has: $"):
        tables.filled(text, {}, tmp_path)


def test_the_documents_say_what_the_results_say(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert tables.main(["--check"]) == 0, capsys.readouterr().out
    assert tables.main(["--commands"]) == 0
    assert "python launch.py --config=experiments/cifar_mtl.py" in capsys.readouterr().out


def test_the_command_of_a_row_trains_the_cells_that_the_row_takes(monkeypatch):
    monkeypatch.chdir(ROOT)
    studies = read_studies(tables.ROWS).values()
    rows = [row for study in studies if isinstance(study, Study) for row in study.rows]
    # Tasks are added to a run that has to be there.
    rows = [row for row in rows if "--mode=add_task" not in row.command]
    for row in rows:
        command = cli.parse(shlex.split(row.command)[1:])
        cells = command.sweep.cells if command.sweep else ()
        swept = [{f"{field}={value}" for field, value in cell.settings.items()} for cell in cells]
        assert any(cell.issuperset(row.where) for cell in swept) or not (cells or row.where), row
        assert ("sweep" in row.written) == bool(cells), row


def test_a_changed_document_is_noticed_and_mended(study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results/ours.json").write_text(json.dumps(OURS))
    Path("results/tables.toml").write_text(
        '[probe]\ncaption = "A probe."\nepochs = [1]\n'
        '[[probe.rows]]\nname = "ours"\nresults = "ours.json"\ncommand = "python launch.py"\n'
    )
    Path("README.md").write_text("<!-- table: probe -->\n<!-- end of table -->\n")
    Path("BUILD_NOTES.md").write_text("Notes.\n")
    assert tables.main(["--check"]) == 1
    message = "README.md: its tables are not what results/ says; run this without --check.\n"
    assert capsys.readouterr().out == message
    assert tables.main([]) == 0
    assert capsys.readouterr().out == "README.md: tables written\n"
    assert tables.main(["--check"]) == 0
    assert "| ours | 2 | 40.00 ± 10.00 |" in Path("README.md").read_text()
    Path("README.md").write_text("No table.\n")
    assert tables.main(["--check"]) == 2
    assert capsys.readouterr().err == (
        "error: results/tables.toml has tables that neither README.md nor BUILD_NOTES.md asks for: "
        "probe; add their places there or take them out.\n"
    )


def test_a_mistyped_name_is_not_taken_for_a_run_to_come(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results/tables.toml").write_text(
        '[probe]\ncaption = "A probe."\nepochs = [1]\n'
        '[[probe.rows]]\nname = "ours"\nresults = "ours.json"\ncommand = "python launch.py"\n'
        '[glance]\ncolumns = ["ours"]\ncells = [["{ours.json:steps:.0f}, {our.json:steps:.0f}"]]\n'
    )
    Path("README.md").write_text("<!-- table: probe -->\n<!-- end of table -->\n")
    Path("BUILD_NOTES.md").write_text("<!-- table: glance -->\n<!-- end of table -->\n")
    assert tables.main([]) == 2
    assert capsys.readouterr().err == (
        "error: results/tables.toml quotes what is not in results and is written by none of its "
        "rows: our.json; mend the names.\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows = 3", "is not a list of tables and rows: "),
        ("[probe]\ncaption = ''", "is not a list of tables and rows: 'rows'"),
        (
            "[probe]\ncaption = ''\nreference = 'x'\nrows = []",
            "is not a list of tables and rows: probe has no row named 'x', its reference",
        ),
        ("[probe", "is not a list of tables and rows: "),
    ],
)
def test_rows_that_are_not_rows_are_refused(tmp_path, text, message):
    path = tmp_path / "tables.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_studies(path)
    assert str(caught.value).startswith(f"{path} {message}")
