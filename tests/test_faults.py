"""What happens to runs: signals, full disks, damage, divergence. Each is told in one message."""

import contextlib
import importlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from privileges import open_to_all, unprivileged
from tiny_runs import ROOT, TINY, start, stop_after

import launch
from benchmarks.kill_and_resume import outcome
from routing_jax.data.versions import VERSIONS
from routing_jax.errors import UserError
from routing_jax.reporting.routing_file import read_routing
from routing_jax.workdir import Workdir

SECONDS_TO_STOP = 5.0


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a tiny run that stopped after step 8; it holds checkpoints 5 and 8."""
    workdir = tmp_path_factory.mktemp("runs") / "stopped"
    with pytest.MonkeyPatch.context() as patched:
        stop_after(patched, 8, signal.SIGTERM)
        assert start(workdir, *TINY) == 0
    return workdir


@pytest.fixture
def half(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


@pytest.fixture
def whole(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses to write more than `size` bytes to a file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def whole_checkpoints(workdir: Path) -> dict[str, bytes]:
    """All but what was being written; Orbax's threads may outlive its removal by a moment."""
    found = contents(workdir / "checkpoints")
    return {name: data for name, data in found.items() if not name.startswith("unfinished/")}


def assert_same_run(workdir: Path, other: Path) -> None:
    """Parameters, router, optimizer, running means, curves, logs: all of it bit for bit."""
    one, two = outcome(workdir), outcome(other)
    assert [name for name in two if one[name] != two[name]] == []


# Signals.


def in_a_process(workdir: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "launch.py", f"--workdir={workdir}", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_at(process: subprocess.Popen, line: str | None, number: signal.Signals) -> tuple[str, str]:
    """Sends the signal when the line is printed, and returns what came on both outputs."""
    if line is None:
        time.sleep(0.6)  # the imports take longer
    else:
        assert any(printed.startswith(line) for printed in process.stdout)
    process.send_signal(number)
    began = time.monotonic()
    output = process.communicate(timeout=60)
    assert time.monotonic() - began < SECONDS_TO_STOP
    return output


TRAIN = ("--config=experiments/mnist_mtl.py:digits", *TINY)
GOES_ON = "nothing more is saved. The same command goes on.\n"


@pytest.mark.parametrize(
    ("arguments", "line", "number", "status", "told"),
    [
        (TRAIN, None, signal.SIGTERM, 0, f"Stopped by SIGTERM: {GOES_ON}"),
        (TRAIN, None, signal.SIGINT, 130, f"Stopped by SIGINT: {GOES_ON}"),
        (TRAIN, "compiling", signal.SIGTERM, 0, f"Stopped by SIGTERM: {GOES_ON}"),
        pytest.param(
            *(TRAIN, "writing results", signal.SIGTERM, 0, f"Stopped by SIGTERM: {GOES_ON}"),
            marks=pytest.mark.slow,
        ),
        (["--mode=evaluate"], None, signal.SIGTERM, 143, "Stopped by SIGTERM.\n"),
        (["--mode=evaluate"], None, signal.SIGINT, 130, "Stopped by SIGINT.\n"),
    ],
    ids=["start", "start, INT", "compilation", "results", "evaluation", "evaluation, INT"],
)
def test_a_signal_that_finds_nothing_to_save_ends_the_process_at_once(
    half, finished, capsys, arguments, line, number, status, told
):
    process = in_a_process(half, *arguments)
    output, errors = stop_at(process, line, number)
    assert (process.returncode, errors) == (status, "")
    assert output.endswith(told)
    if line == "writing results":
        assert not (half / "results.json").exists()
        assert start(half, *TINY) == 0
        assert_same_run(half, finished)
        assert not [path for path in half.rglob("*") if ".tmp" in path.name]
    capsys.readouterr()


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    long = ["--config.training.steps=1000000", "--config.training.eval_every=1000000"]
    process = in_a_process(tmp_path / "run", *TRAIN, *long)
    assert any(line.startswith("step ") for line in process.stdout)
    os.kill(process.pid, signal.SIGSTOP)  # so that both arrive while a step is under way
    process.send_signal(signal.SIGINT)
    os.kill(process.pid, signal.SIGCONT)
    output, errors = stop_at(process, "SIGINT: saving", signal.SIGINT)
    assert (process.returncode, errors) == (130, "")
    assert "SIGINT" in output


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 0), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
    ids=["TERM", "INT"],
)
def test_a_signal_while_training_saves_within_seconds(tmp_path, number, status):
    long = ["--config.training.steps=1000000", "--config.training.eval_every=1000000"]
    arguments = [*TRAIN, *long, "--config.training.checkpoint_every=1000000"]
    process = in_a_process(tmp_path / "run", *arguments)
    output, errors = stop_at(process, "step ", number)
    assert (process.returncode, errors) == (status, "")
    told = rf"Stopped by {number.name} after step ([0-9,]+); everything is saved\. The same command"
    step = re.search(told, output)[1].replace(",", "")
    assert os.listdir(tmp_path / "run" / "checkpoints") == [step]


# Two runs.


def test_a_second_run_in_the_same_directory_is_refused(half, finished, capsys):
    before = contents(half)
    with Workdir(half).held():
        assert start(half, *TINY) == 2
        assert start(half, *TINY, "--overwrite") == 2
    told = (
        f"error: --workdir={half} is in use: process {os.getpid()} is training in it. Wait for it, "
        f"stop it (kill {os.getpid()}), or choose another --workdir; --mode=evaluate may be used "
        "meanwhile.\n"
    )
    assert capsys.readouterr().err == 2 * told
    assert contents(half) == before


# Damage.


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(half, finished, capsys):
    (half / "checkpoints" / "8" / "state" / "_METADATA").unlink()
    assert start(half, *TINY) == 0
    output = capsys.readouterr().out
    assert (
        "The checkpoint of step 8 is damaged (state/_METADATA is missing). "
        "Training goes on from step 5."
    ) in output
    assert "resuming after step 5 of 12" in output
    assert_same_run(half, finished)


def test_evaluate_says_that_it_takes_the_checkpoint_before(whole, capsys):
    (whole / "checkpoints" / "12" / "manifest.json").unlink()
    before = contents(whole)
    assert launch.main(["launch.py", "--mode=evaluate", f"--workdir={whole}"]) == 0
    output = capsys.readouterr().out
    assert "The checkpoint of step 12 is damaged (manifest.json: No such file" in output
    assert "checkpoint of step 10" in output
    assert contents(whole) == before


def test_a_checkpoint_of_another_network_is_told_with_its_shapes(half, capsys):
    config = json.loads((half / "config.json").read_text())
    config["model"]["width"] = 8
    (half / "config.json").write_text(json.dumps(config))
    before = contents(half)
    assert start(half, *TINY, "--config.model.width=8") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: The checkpoint of step 8 in {half}/checkpoints is of another")
    assert (
        "\n  params.banks_0.blocks.Dense_0.bias: float32[10,16] there, float32[10,8] now" in error
    )
    assert contents(half) == before


def test_a_routing_file_is_not_unpickled(tmp_path):
    path = tmp_path / "routing.npz"
    np.savez(path, probabilities=np.array([object()]), steps=np.zeros(1), tasks=np.zeros(1))
    with pytest.raises(UserError, match="Object arrays cannot be loaded when allow_pickle=False"):
        read_routing(path)


# Full disks and closed directories.


def test_a_full_disk_while_saving_loses_nothing(half, finished, capfd):
    before = whole_checkpoints(half)
    # The writer splits a checkpoint's arrays into one file or several, as it happens; its list of
    # arrays alone (15 kB) is larger than this, and all that a run writes before it is smaller.
    with files_of_at_most(10_000), capfd.disabled():
        run = subprocess.run(
            [sys.executable, "launch.py", f"--workdir={half}", *TRAIN],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert run.returncode == 1
    assert run.stderr == (
        f"error: The checkpoint of step 10 cannot be written to {half}/checkpoints: File too large."
        " The same command resumes from the last whole one, of step 8.\n"
    )
    assert whole_checkpoints(half) == before
    assert start(half, *TINY) == 0
    assert_same_run(half, finished)


def test_a_full_disk_while_logging_loses_nothing(half, finished, capsys):
    with files_of_at_most((half / "metrics.jsonl").stat().st_size + 10):
        # The checkpoint of step 10 would be larger still.
        status = start(half, *TINY, "--config.training.checkpoint_every=1000")
    assert status == 1
    assert capsys.readouterr().err == (
        f"error: {half}/metrics.jsonl cannot be written: File too large. "
        "The same command resumes from the checkpoint of step 8.\n"
    )
    assert start(half, *TINY) == 0
    assert_same_run(half, finished)


def test_a_full_disk_while_writing_results_loses_nothing(whole, finished, capsys):
    shutil.rmtree(whole / "figures")
    for name in ("results.json", "routing.npz"):
        (whole / name).unlink()
    with files_of_at_most(2000):
        assert start(whole, *TINY) == 1
    assert capsys.readouterr().err == (
        f"error: {whole}/routing.npz cannot be written: File too large. "
        "The same command resumes from the checkpoint of step 12.\n"
    )
    assert start(whole, *TINY) == 0
    assert_same_run(whole, finished)


def test_a_directory_that_may_not_be_written_is_told(capsys):
    with open_to_all() as folder:
        closed, experiment = folder / "closed", folder / "trial.py"
        shutil.copy(ROOT / "experiments" / "mnist_mtl.py", experiment)
        closed.mkdir(mode=0o555)
        with unprivileged():
            for workdir in (closed, closed / "run"):
                status = launch.main(["x", f"--config={experiment}", f"--workdir={workdir}"])
                assert status == 2
                assert capsys.readouterr().err == (
                    f"error: --workdir={workdir} cannot be used: Permission denied.\n"
                )


@pytest.mark.parametrize("fault", ["missing", "closed", "a file", "another version"])
@pytest.mark.parametrize("data_set", ["mnist", "cifar100"])
def test_a_data_directory_that_cannot_be_used_is_told(monkeypatch, capsys, fault, data_set):
    importlib.import_module("routing_jax.training.run")  # nobody may be unable to
    with open_to_all() as folder:
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "default"))
        experiment = shutil.copy(ROOT / "experiments" / "mnist_mtl.py", folder / "trial.py")
        data_dir, workdir = folder / "data", folder / "run"
        workdir.mkdir()
        workdir.chmod(0o777)
        if fault == "a file":
            data_dir.write_text("")
        elif fault != "missing":
            (data_dir / data_set / "9.9.9").mkdir(parents=True)
            (data_dir / data_set / "9.9.9" / "dataset_info.json").write_text("{}")
            data_dir.chmod(0o000 if fault == "closed" else 0o755)
        fields = {"data.name": data_set, "data.fallback": "none", "data.dir": data_dir}
        arguments = [f"--config.{name}={value}" for name, value in fields.items()]
        with unprivileged():
            assert start(workdir, *arguments, experiment=experiment) == 2
        told = {
            "missing": f"--config.data.dir={data_dir}: there is no such directory. ",
            "closed": f"The data directory {data_dir} cannot be searched for {data_set}: {data_dir}"
            ": Permission denied. ",
            "a file": f"The data directory {data_dir} cannot be searched for {data_set}: {data_dir}"
            ": Not a directory. ",
            "another version": f"The data set {data_set} is needed in version "
            f"{VERSIONS[data_set]}, but prepared only as: {data_dir / data_set / '9.9.9'}. ",
        }[fault]
        error = capsys.readouterr().err
        assert error.startswith(f"error: {told}")
        assert error.count("\n") == 1


# Divergence and size.


def test_a_run_that_diverges_stops_and_keeps_its_last_sound_state(tmp_path, capsys):
    arguments = [*TINY, "--config.optimizer.learning_rate=1e30"]
    arguments += ["--config.training.checkpoint_every=1"]
    assert start(tmp_path, *arguments) == 1
    assert capsys.readouterr().err == (
        "error: The loss of step 2 is not finite: training has diverged. The checkpoint of step 1 "
        "is kept. Lower optimizer.learning_rate (now 1e+30) or router.learning_rate (now 0.1), and "
        "train in another --workdir or with --overwrite.\n"
    )
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]
    assert start(tmp_path, *arguments) == 1  # and again
    assert "The loss of step 2 is not finite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.width", 10_000_000),
        ("model.num_blocks", 100_000_000_000),
        ("model.depth", 100_000_000_000),
        ("training.examples_per_task", 2_000_000_000),
        ("reward.usage_window", 10**12),
    ],
)
def test_a_run_that_cannot_fit_is_refused_before_it_starts(tmp_path, capsys, field, value):
    arguments = [f"--config.{field}={value}", "--config.training.steps=1"]
    began = time.monotonic()
    assert start(tmp_path, *arguments) == 2
    assert time.monotonic() - began < 10
    error = capsys.readouterr().err
    assert re.match(r"error: The run needs at least [0-9.]+ GiB of memory \(data \d+ MiB, ", error)
    assert field in error
