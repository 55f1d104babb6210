"""Several processes as one program, on this machine's CPU: what a run leaves, and how it ends."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny_runs import ROOT, TINY, start

from benchmarks.kill_and_resume import outcome

CONFIG = "--config=experiments/mnist_mtl.py:digits"
SECONDS = 300
"""More than enough; a test that hangs fails."""
ENDLESS = "--config.training.steps=100000"


@contextlib.contextmanager
def processes(
    workdir: Path, count: int, *arguments: str, devices: int = 1, own: tuple[str, ...] = ("", "")
) -> Iterator[list[subprocess.Popen]]:
    """`count` processes of one run, with so many devices each; `own` is added to each command."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    common = [sys.executable, "launch.py", CONFIG, *TINY, f"--workdir={workdir}", *arguments]
    common += [f"--coordinator_address={address}", f"--num_processes={count}"]
    # Of any *_proxy JAX warns that its processes might not find each other.
    inherited = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    environment = inherited | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    started = [
        subprocess.Popen(
            [*common, f"--process_id={number}", *filter(None, [own[number % len(own)]])],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def ended(started: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """Exit status and error output of each."""
    told = [process.communicate(timeout=SECONDS)[1] for process in started]
    return [(process.returncode, text) for process, text in zip(started, told, strict=True)]


def run(workdir: Path, count: int, *arguments: str, devices: int = 1) -> None:
    with processes(workdir, count, *arguments, devices=devices) as started:
        assert ended(started) == [(0, "")] * count


def checkpoints(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in workdir.glob("checkpoints/[0-9]*"))


def wait_for_checkpoint(workdir: Path, started: list[subprocess.Popen], *, after: int) -> None:
    """Waits until a checkpoint of a later step is whole."""
    deadline = time.monotonic() + SECONDS
    while max(checkpoints(workdir), default=0) <= after:
        assert time.monotonic() < deadline
        assert [process.poll() for process in started] == [None] * len(started)
        time.sleep(0.05)


def assert_same_run(workdir: Path, other: Path) -> None:
    """The same actions, steps and files; floats to float tolerance."""
    one, two = outcome(workdir), outcome(other)
    for name in ("files", "checkpoints"):
        assert one[name] == two[name]
    for name, (kind, data) in two["state"].items():
        found = np.frombuffer(one["state"][name][1], kind)
        expected = np.frombuffer(data, kind)
        tolerance = {"rtol": 1e-4, "atol": 1e-5} if expected.dtype.kind == "f" else {"rtol": 0}
        np.testing.assert_allclose(found, expected, **tolerance, err_msg=name)
    for mine, theirs in zip(
        *(jax.tree.leaves(outcome_["results"]["curve"]) for outcome_ in (one, two)), strict=True
    ):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_leave_what_one_leaves(finished, tmp_path, count):
    run(tmp_path / "run", count)
    assert_same_run(tmp_path / "run", finished)


@pytest.mark.slow
@pytest.mark.alone
def test_other_devices_go_on_from_a_checkpoint_of_two_processes(finished, tmp_path):
    run(tmp_path / "four", 2, "--mesh=data:2,block:2", devices=2)
    assert_same_run(tmp_path / "four", finished)
    # As if it had been stopped at step 10 of 12.
    (tmp_path / "four" / "results.json").unlink()
    shutil.rmtree(tmp_path / "four" / "checkpoints" / "12")
    shutil.copytree(tmp_path / "four", tmp_path / "eight")
    assert start(tmp_path / "four", *TINY) == 0
    assert_same_run(tmp_path / "four", finished)
    run(tmp_path / "eight", 1, "--mesh=data:8", devices=8)
    assert_same_run(tmp_path / "eight", finished)


@pytest.mark.slow
@pytest.mark.alone
def test_signals_and_a_killed_process(tmp_path):
    workdir = tmp_path / "run"
    with processes(workdir, 2, ENDLESS) as started:
        wait_for_checkpoint(workdir, started, after=0)
        started[1].send_signal(signal.SIGTERM)
        assert ended(started) == [(0, ""), (0, "")]
    stopped = checkpoints(workdir)[-1]
    with processes(workdir, 2, ENDLESS) as started:
        wait_for_checkpoint(workdir, started, after=stopped)
        started[1].kill()
        began = time.monotonic()
        (status, told), _ = ended(started)
        assert time.monotonic() - began < 60
    assert status != 0
    # In our words; or in those of JAX, where a computation hangs instead of failing.
    assert re.search(r"error: Process 1 of 2 is lost|stopped sending heartbeats\):\n1\n", told), (
        told
    )
    killed = checkpoints(workdir)[-1]
    with processes(workdir, 2, ENDLESS) as started:
        wait_for_checkpoint(workdir, started, after=killed)
        started[0].send_signal(signal.SIGTERM)
        output = started[0].stdout.read()
        assert ended(started) == [(0, ""), (0, "")]
    assert f"resuming after step {killed:,} of" in output
    assert f"Stopped by SIGTERM after step {checkpoints(workdir)[-1]:,};" in output


def test_processes_that_were_not_started_alike(tmp_path):
    other = ("--config.training.seed=0", "--config.training.seed=1")
    with processes(tmp_path, 2, own=other) as started:
        told = ended(started)
    message = (
        "error: The processes were not started alike:\n  training.seed: 1 in process 1, 0 in "
        "process 0\nStart all of them with the same command, but for --process_id.\n"
    )
    assert told == [(2, message), (2, message)]
    assert os.listdir(tmp_path) == []
