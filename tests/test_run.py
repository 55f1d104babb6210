"""Whole runs from the command line, in this process: what they write, print, resume and refuse."""

import re
import signal

import jax
import numpy as np
import pytest
from tiny_runs import ROOT, TINY, read, start, stop_after

import launch
from routing_jax.reporting.routing_file import read_routing
from routing_jax.workdir import Workdir


def test_a_run_writes_what_it_promises(finished):
    written = {path.name for path in finished.iterdir()}
    assert written == {
        "config.json",
        "metrics.jsonl",
        "tensorboard",
        "checkpoints",
        "results.json",
        "routing.npz",
        "figures",
    }
    figures = {path.name for path in (finished / "figures").iterdir()}
    assert figures == {"learning_curves.png", "routing_map.png", "policy_entropy.png"}
    assert all((finished / "figures" / name).read_bytes()[:4] == b"\x89PNG" for name in figures)
    assert list((finished / "tensorboard").glob("events.out.tfevents.*"))


def test_results_follow_the_contract(finished):
    results = read(finished)
    assert results["experiment"] == "mnist_mtl"
    assert results["dataset"] == {
        "name": "digits",
        "embedded_fallback": False,
        "num_train": 1437,
        "num_test": 360,
        "evaluated_on": "test",
    }
    assert results["tasks"] == [f"{digit} or not" for digit in range(10)]
    assert results["seeds"] == [0]
    for metric in ("accuracy", "balanced_accuracy"):
        entry = results["test"][metric]
        assert entry["stderr"] is None
        assert entry["mean"] == pytest.approx(np.mean(entry["per_task"]))
    assert [entry["step"] for entry in results["curve"][0]] == [4, 8, 12]
    assert results["curve"][0][-1]["epoch"] == pytest.approx(12 * 8 / 1437)
    assert np.shape(results["routing_map"]) == (1, 10, 3)
    # 10 blocks a depth on 64 pixels: 64 * 16 + 16, 16 * 16 + 16 and 16 * 2 + 2 numbers; and the
    # router's 10 agents x 3 depths x 10 actions.
    assert results["parameters"] == 10 * (1040 + 272 + 34) + 300
    assert results["trained_parameters"] == results["parameters"]
    seconds = results["seconds"]
    assert 0 < seconds["first_step"] < seconds["total"]
    assert 0 < seconds["save"] < seconds["total"]
    assert results["examples_per_second"] == pytest.approx(80 / seconds["per_step"])
    assert {"config", "command", "versions", "device", "git_commit"} <= results.keys()


def test_routing_snapshots_go_from_uniform_to_the_final_policy(finished):
    routing = read_routing(finished / "routing.npz")
    assert routing.steps.tolist() == [0, 4, 8, 12]
    assert routing.probabilities.shape == (1, 4, 10, 3, 10)
    np.testing.assert_allclose(routing.probabilities[0, 0], 0.1, rtol=1e-6)
    greedy = routing.probabilities[0, -1].argmax(-1)
    np.testing.assert_array_equal(greedy, read(finished)["routing_map"][0])


def test_a_finished_run_shows_its_table_again(finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert start(finished, *TINY) == 0
    output = capsys.readouterr().out
    assert "is finished; --overwrite starts it anew." in output
    assert "0 or not" in output
    after = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert before == after


def test_evaluate_gives_the_accuracies_of_the_run(finished, capsys):
    assert launch.main(["launch.py", "--mode=evaluate", f"--workdir={finished}"]) == 0
    output = capsys.readouterr().out
    assert "checkpoint of step 12" in output
    accuracy, balanced = (
        f"{100 * read(finished)['test'][metric]['mean']:.1f} %"
        for metric in ("accuracy", "balanced_accuracy")
    )
    assert re.search(rf"mean\s+│\s+{accuracy}\s+│\s+{balanced}", output)


def test_evaluate_without_a_run(tmp_path, capsys):
    assert launch.main(["launch.py", "--mode=evaluate", f"--workdir={tmp_path / 'none'}"]) == 2
    assert "holds no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGTERM, 0), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
    ids=["TERM", "INT"],
)
def test_a_stopped_run_resumes_to_the_same_result(
    tmp_path, monkeypatch, capsys, finished, number, exit_code
):
    workdir = tmp_path / "run"
    with monkeypatch.context() as patched:
        stop_after(patched, 8, number)
        assert start(workdir, *TINY) == exit_code
    name = signal.Signals(number).name
    assert f"Stopped by {name} after step 8; everything is saved." in capsys.readouterr().out
    assert not (workdir / "results.json").exists()
    assert start(workdir, *TINY) == 0
    assert "resuming after step 8 of 12" in capsys.readouterr().out
    assert read(workdir)["curve"] == read(finished)["curve"]
    assert read(workdir)["test"] == read(finished)["test"]
    assert (workdir / "metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()
    resumed, whole = (read_routing(path / "routing.npz") for path in (workdir, finished))
    np.testing.assert_array_equal(resumed.probabilities, whole.probabilities)


def test_a_run_may_be_evaluated_while_it_trains(finished, capsys):
    with Workdir(finished).held():
        assert launch.main(["launch.py", "--mode=evaluate", f"--workdir={finished}"]) == 0
    assert "checkpoint of step 12" in capsys.readouterr().out


def test_a_directory_of_another_configuration_is_refused(finished, capsys):
    before = read(finished)
    assert start(finished, *TINY, "--config.reward.rho=0.5") == 2
    error = capsys.readouterr().err
    assert "reward.rho: 0.3 there, 0.5 now" in error
    assert "--overwrite" in error
    assert read(finished) == before


def test_overwrite_starts_anew(tmp_path, capsys):
    workdir = tmp_path / "run"
    short = [*TINY, "--config.training.steps=1"]
    assert start(workdir, *short) == 0
    (workdir / "notes.txt").write_text("mine")
    assert start(workdir, *short, "--config.reward.rho=0.5", "--overwrite") == 0
    assert read(workdir)["config"]["reward"]["rho"] == 0.5
    assert (workdir / "notes.txt").read_text() == "mine"
    capsys.readouterr()


def test_missing_mnist_falls_back_to_the_embedded_digits_and_says_so(tmp_path, capsys):
    arguments = (*TINY, "--config.training.steps=1")
    assert start(tmp_path / "run", *arguments, experiment="mnist_mtl.py") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "NOTICE: training on scikit-learn's embedded digits" in output
    assert "embedded digits (MNIST not found)" in output
    assert read(tmp_path / "run")["dataset"]["embedded_fallback"] is True


def test_missing_mnist_without_fallback_is_an_error(tmp_path, capsys):
    arguments = (*TINY, "--config.data.fallback=none")
    assert start(tmp_path / "run", *arguments, experiment="mnist_mtl.py") == 2
    assert "The data set mnist is not prepared in any of" in capsys.readouterr().err


def test_tuning_on_held_out_images(tmp_path):
    assert start(tmp_path, *TINY, "--config.data.validation_fraction=0.1") == 0
    dataset = read(tmp_path)["dataset"]
    assert dataset["evaluated_on"] == "validation"
    assert dataset["num_train"] + dataset["num_test"] == 1437


# Unlike components take long to compile; the others stand beside a faster experiment of their kind.
_LONG = (
    *("gumbel_omniglot", "gumbel_clusters", "compositional_reuse", "compositional_transfer"),
    *("cifar_mtl", "cifar_ablations", "min_mtl", "new_tasks"),
)
SHRUNK = [
    pytest.param(path, marks=pytest.mark.slow if path.stem in _LONG else ())
    for path in sorted((ROOT / "experiments").glob("*.py"))
    # Its tasks are domains and start from a trained run; test_adaptation.py makes both.
    if path.stem != "compositional_adaptation"
]
# Compiling grows with depth; the depths that are asked for are tested with the models.
SHRUNK_MORE = {
    "gumbel_mnist": ("--config.model.depth=1",),  # no padding, and these images are small
    "gumbel_omniglot": ("--config.model.depth=2", "--config.model.strides=2-2"),
    "compositional_mtl": ("--config.model.depth=3",),
    "compositional_reuse": ("--config.model.depth=3",),
    "compositional_transfer": ("--config.model.depth=3",),
}


# Adam of optax promotes types inside.
@jax.numpy_dtype_promotion("standard")
@pytest.mark.parametrize("path", SHRUNK, ids=lambda path: path.stem)
def test_every_experiment_takes_two_steps_when_shrunk(path, tmp_path):
    shrunk = (
        "--config.training.steps=2",
        "--config.training.examples_per_task=2",
        "--config.model.width=8",
        "--config.data.name=digits",
        "--config.data.tasks=one_vs_rest",
        "--config.data.num_tasks=5",
        "--config.sweep=",
    )
    shrunk += SHRUNK_MORE.get(path.stem, ())
    assert start(tmp_path, *shrunk, experiment=path.name) == 0
    assert read(tmp_path)["curve"][0][-1]["step"] == 2
