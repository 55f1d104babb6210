"""The figure of a target before and after adaptation."""

import json

import pytest
from matplotlib import image

from routing_jax.errors import UserError
from routing_jax.reporting import adaptation_figure
from routing_jax.reporting.adaptation_figure import accuracies, draw, main


def run(trainable, accuracy, *, target="usps", loss="moments", train_sources=False, **data):
    return {
        "experiment": "compositional_adaptation",
        "dataset": {"name": "digit_domains", "embedded_fallback": False},
        "tasks": ["mnist", "digits", target],
        "seeds": [0],
        "test": {"accuracy": {"per_seed_and_task": [[0.99, 0.98, accuracy]]}},
        "config": {
            "data": {"target": target, **data},
            "training": {"trainable": trainable},
            "adaptation": {"loss": loss, "train_sources": train_sources},
        },
    }


RUNS = [
    run("mixing,statistics", 0.9),
    run("mixing", 0.7, loss="adversarial"),
    run("none", 0.5),
    run("statistics", 0.6),
    run("none", 0.52),
    run("all", 0.8, train_sources=True),
]


def test_rows_stand_in_their_order_and_seeds_together():
    assert accuracies(RUNS) == {
        "source only": [0.5, 0.52],
        "running averages": [0.6],
        "both": [0.9],
        "mixing weights, adversarial": [0.7],
        "both, sources training": [0.8],
    }
    assert list(accuracies(RUNS))[:3] == ["source only", "running averages", "both"]


def test_a_merged_file_is_all_its_seeds():
    merged = run("none", 0.5)
    merged["test"]["accuracy"]["per_seed_and_task"].append([0.99, 0.98, 0.52])
    assert accuracies([merged]) == {"source only": [0.5, 0.52]}


def test_a_bar_for_each_row_and_a_line_for_the_start(monkeypatch, tmp_path):
    caught = []
    monkeypatch.setattr(adaptation_figure, "save", lambda figure, path: caught.append(figure))
    draw(RUNS, tmp_path / "x.png")
    axes = caught[0].axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([51, 60, 90, 70, 80])
    (line,) = [line for line in axes.lines if line.get_label() == "before adaptation"]
    assert line.get_xdata()[0] == pytest.approx(51)


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        ([run("none", 0.5, target="")], "a run without a target"),
        ([*RUNS, run("none", 0.5, target="mnist")], "mnist, usps"),
        ([], "no run"),
    ],
)
def test_runs_of_no_one_target_are_refused(runs, found):
    with pytest.raises(UserError) as error:
        accuracies(runs)
    assert str(error.value) == f"the figure is of one target's runs, and here is: {found}."


def test_runs_on_images_of_two_kinds_are_refused():
    with pytest.raises(UserError) as error:
        accuracies([*RUNS, run("mixing", 0.9, digit_frame="ink")])
    assert str(error.value) == (
        "the figure is of runs from one network on images of one kind, and data.digit_frame is "
        "'ink', 'stored' here: name the results of one of them."
    )


def test_the_command(tmp_path, capsys):
    places = [tmp_path / f"{number}.json" for number in range(2)]
    for place, found in zip(places, RUNS, strict=False):
        place.write_text(json.dumps(found))
    picture = tmp_path / "usps.png"
    assert main([str(picture), *map(str, places)]) == 0
    assert image.imread(picture).std() > 0.01
    assert main([str(picture), str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.startswith("error: there is no ")
