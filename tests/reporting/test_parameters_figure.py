"""The figure of what methods reach against how many parameters they train."""

import json

import pytest
from matplotlib import image

from routing_jax.reporting import parameters_figure
from routing_jax.reporting.study import Estimate, Row, Study

STUDY = Study("probe", "A probe.", (Row("head", "a.json", "x"), Row("all", "b.json", "x")))


def results(trained, *seeds):
    """A network that trained so many numbers, with one task and these accuracies."""
    mean = sum(seeds) / len(seeds)
    accuracy = {"mean": mean, "per_seed": list(seeds)}
    return {
        "experiment": "probe",
        "dataset": {"name": "digits", "embedded_fallback": False},
        "tasks": ["digit"],
        "seeds": list(range(len(seeds))),
        "test": {"accuracy": accuracy},
        "trained_parameters": trained,
    }


def test_a_point_is_the_mean_over_seeds_with_its_error():
    found = {"head": results(10, 0.5, 0.7), "all": results(1000, 0.8)}
    # The standard error of 0.5 and 0.7 is their distance over 2.
    assert parameters_figure.points(STUDY, found) == {
        "head": (10, Estimate(pytest.approx(0.6), pytest.approx(0.1))),
        "all": (1000, Estimate(0.8, None)),
    }


def test_a_table_that_was_partly_run_is_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    caught, original = [], parameters_figure.save
    monkeypatch.setattr(
        parameters_figure,
        "save",
        lambda figure, path: original(caught.append(figure) or figure, path),
    )
    (tmp_path / "results").mkdir()
    rows = "".join(
        f'[[probe.rows]]\nname = "{row.name}"\nresults = "{row.results}"\ncommand = "x"\n'
        for row in STUDY.rows
    )
    (tmp_path / "results/tables.toml").write_text(f'[probe]\ncaption = "A probe."\n{rows}')
    assert parameters_figure.main(["x.png", "probe"]) == 2
    assert capsys.readouterr().err == (
        "error: no method of probe was run: results has no file of its rows.\n"
    )
    (tmp_path / "results/a.json").write_text(json.dumps(results(0, 0.5, 0.7)))
    (tmp_path / "results/b.json").write_text(json.dumps(results(1000, 0.8)))
    assert parameters_figure.main(["x.png", "probe"]) == 0
    assert capsys.readouterr().out == "x.png\n"
    assert image.imread("x.png").shape[2] == 4
    axes = caught[0].axes[0]
    assert [line.get_xdata()[0] for line, *_ in axes.containers] == [0, 1000]
    assert axes.get_xscale() == "symlog"  # of zero, which trains nothing, there is no logarithm
    assert parameters_figure.main(["x.png", "others"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no table 'others'; results/tables.toml has: probe\n"
    )
