import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from routing_jax.errors import UserError
from routing_jax.reporting import provenance
from routing_jax.reporting.results import build_results, read_results, write_results
from routing_jax.reporting.routing_file import read_routing, write_routing

ROOT = Path(provenance.__file__).parents[2]

CONTRACT = {
    *("experiment", "dataset", "tasks", "seeds", "test", "curve", "routing_map", "seconds"),
    *("examples_per_second", "parameters", "config", "command", "versions", "device"),
    *("git_commit", "peak_memory_bytes", "allocation", "mixing_weights", "multiply_adds"),
    *("selection", "trained_parameters", "new_tasks", "recalls"),
}


def test_the_fields_of_the_contract(make_run):
    results = build_results(make_run(seeds=2, tasks=3, depth=2)[0])
    assert set(results) == CONTRACT
    assert results["dataset"] == {
        "name": "mnist",
        "embedded_fallback": False,
        "num_train": 60_000,
        "num_test": 10_000,
        "evaluated_on": "test",
    }
    times = {"total", "compile", "first_step", "train", "per_step", "save", "wait"}
    assert set(results["seconds"]) == times
    assert np.shape(results["routing_map"]) == (2, 3, 2)
    assert len(results["curve"]) == 2
    assert len(results["curve"][0][-1]["policy_entropy_per_depth"]) == 2


def test_metrics_over_two_seeds(make_run):
    record, _ = make_run(seeds=2, tasks=2)
    accuracy = np.array([[0.9, 0.7], [1.0, 0.8]], np.float32)
    metric = build_results(dataclasses.replace(record, test={"accuracy": accuracy}))["test"]
    # Means over tasks: 0.8 and 0.9. Their mean is 0.85, their deviation (ddof 1) 0.1 / sqrt(2),
    # and the standard error of two seeds that over sqrt(2): 0.05.
    assert metric["accuracy"]["mean"] == pytest.approx(0.85)
    assert metric["accuracy"]["stderr"] == pytest.approx(0.05)
    assert metric["accuracy"]["per_task"] == pytest.approx([0.95, 0.75])
    assert metric["accuracy"]["per_seed"] == pytest.approx([0.8, 0.9])
    np.testing.assert_allclose(metric["accuracy"]["per_seed_and_task"], accuracy)


def test_one_seed_has_no_standard_error(make_run):
    assert build_results(make_run()[0])["test"]["accuracy"]["stderr"] is None


def test_results_come_back_as_written_and_nan_as_null(make_run, tmp_path):
    record, _ = make_run()
    results = build_results(dataclasses.replace(record, examples_per_second=float("nan")))
    write_results(tmp_path / "results.json", results)
    assert read_results(tmp_path / "results.json") == results | {"examples_per_second": None}


def test_blocks_that_are_on_are_written_by_their_numbers(make_run):
    record, _ = make_run(tasks=2)
    on = np.array([[[[1, 0, 1]], [[0, 0, 0]]]], bool)
    assert build_results(dataclasses.replace(record, allocation=on))["allocation"] == [
        [[[0, 2]], [[]]]
    ]
    assert build_results(record)["allocation"] is None
    with pytest.raises(ValueError, match="allocation"):
        build_results(dataclasses.replace(record, allocation=on[:, :1]))


def test_a_class_that_a_task_lacks_has_no_recall(make_run, tmp_path):
    record, _ = make_run(tasks=2)
    recalls = np.array([[[0.5, 1.0], [0.25, np.nan]]])
    path = tmp_path / "results.json"
    write_results(path, build_results(dataclasses.replace(record, recalls=recalls)))
    assert read_results(path)["recalls"] == [[[0.5, 1.0], [0.25, None]]]
    assert build_results(dataclasses.replace(record, recalls=None))["recalls"] is None


def test_mixing_weights_are_written_as_they_are(make_run):
    record, _ = make_run(tasks=2)
    weights = np.array([[[[0.25, 0.75]], [[1.0, 0.0]]]])
    results = build_results(dataclasses.replace(record, mixing_weights=weights))
    assert results["mixing_weights"] == [[[[0.25, 0.75]], [[1.0, 0.0]]]]
    assert build_results(record)["mixing_weights"] is None


def test_routes_that_are_mixtures_are_null(make_run):
    record, _ = make_run()
    assert build_results(dataclasses.replace(record, routing_map=None))["routing_map"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"test": {"accuracy": np.zeros((3, 1))}},
        {"routing_map": np.zeros((1, 4, 2), int)},
        {"curve": [[], []]},
    ],
)
def test_arrays_of_other_seeds_or_tasks_are_refused(make_run, changes):
    record, _ = make_run(seeds=1, tasks=3)
    with pytest.raises(ValueError, match="seeds"):
        build_results(dataclasses.replace(record, **changes))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has the run finished"),
        ('{"experiment": "mnist', "cut off or not JSON"),
        ("", "cut off or not JSON"),
        ("[1, 2]", "not the results of a run"),
    ],
)
def test_unreadable_results_are_named(tmp_path, content, message):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as raised:
        read_results(path)
    assert str(path) in str(raised.value)


def test_routing_comes_back_as_written(make_run, tmp_path):
    _, routing = make_run(seeds=2, pass_action=True)
    path = tmp_path / "routing.npz"
    write_routing(path, routing.probabilities, routing.steps, routing.tasks)
    read = read_routing(path)
    np.testing.assert_allclose(read.probabilities, routing.probabilities, rtol=1e-6)
    assert read.probabilities.dtype == np.float32
    assert read.steps.tolist() == [0, 50, 100]
    assert read.tasks == ("digit 0", "digit 1", "digit 2")


def test_no_more_than_forty_snapshots_from_the_first_to_the_last(tmp_path):
    steps = np.arange(0, 1010, 10)
    probabilities = np.broadcast_to(steps[None, :, None, None, None], (1, 101, 1, 1, 2))
    write_routing(tmp_path / "routing.npz", probabilities, steps, ["digit 0"])
    read = read_routing(tmp_path / "routing.npz")
    assert read.probabilities.shape == (1, 40, 1, 1, 2)
    assert (read.steps[0], read.steps[-1]) == (0, 1000)
    np.testing.assert_array_equal(read.probabilities[0, :, 0, 0, 0], read.steps)


def test_routing_of_other_shapes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not"):
        write_routing(tmp_path / "routing.npz", np.zeros((1, 2, 3, 1, 4)), np.arange(2), ["a"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 torn", b"not an archive"])
def test_unreadable_routing_is_named(tmp_path, content):
    path = tmp_path / "routing.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="routing.npz"):
        read_routing(path)


def test_versions_name_python_and_the_packages_that_decide():
    expected = {"python", "jax", "jaxlib", "flax", "optax", "numpy", "routing_jax"}
    assert set(provenance.versions()) == expected
    assert provenance.versions()["numpy"] == np.__version__


@pytest.fixture
def not_asked_yet():
    """A process that has not asked git."""
    provenance.git_commit.cache_clear()
    yield
    provenance.git_commit.cache_clear()


def answer_of_git(monkeypatch, answer):
    def run(*_, **__):
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess([], 0, stdout=answer)

    monkeypatch.setattr(provenance.subprocess, "run", run)


def test_the_commit_is_that_of_the_checkout_with_the_package(monkeypatch, not_asked_yet):
    answer_of_git(monkeypatch, "abc123\nrouting_jax/\n")
    assert provenance.git_commit() == "abc123"


def test_the_commit_stays_that_of_the_first_question(monkeypatch, not_asked_yet):
    """A checkout may move on while a run of it trains."""
    for commit in ("abc123", "def456"):
        answer_of_git(monkeypatch, f"{commit}\nrouting_jax/\n")
        assert provenance.git_commit() == "abc123"


@pytest.mark.parametrize(
    "answer",
    [
        FileNotFoundError("git"),
        subprocess.CalledProcessError(128, "git"),
        subprocess.TimeoutExpired("git", 2),
        "abc123\n.venv/lib/python3.11/site-packages/routing_jax/\n",
    ],
)
def test_there_is_no_commit_without_a_checkout_of_this_package(monkeypatch, answer, not_asked_yet):
    answer_of_git(monkeypatch, answer)
    assert provenance.git_commit() is None


def test_peak_memory_is_not_that_of_the_process_that_started_this_one():
    # Linux hands getrusage's peak on from parent to child.
    script = (
        "import subprocess, sys; large = b'1' * 400 * 2**20; "
        "child = 'from routing_jax.reporting import provenance as p; '; "
        "child += 'print(p.peak_memory_bytes())'; "
        "print(subprocess.run([sys.executable, '-c', child], capture_output=True).stdout.decode())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, check=True)
    assert 0 < int(done.stdout) < 200 * 2**20


def test_peak_memory_is_of_a_python_process():
    assert 2**20 < provenance.peak_memory_bytes() < 2**40
