"""A mesh on a CPU: its devices are cores."""

import json
import os
import subprocess
import sys

import pytest
from test_processes import assert_same_run
from tiny_runs import ROOT, TINY, read

from benchmarks import cores
from routing_jax.training.cores import num_cores

DIGITS = "experiments/mnist_mtl.py:digits"
COMMAND = (sys.executable, "launch.py", f"--config={DIGITS}", *TINY)


def launched(*arguments: str) -> subprocess.CompletedProcess:
    """In a process of its own: JAX has to be told before it starts."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.skipif(num_cores() < 2, reason="needs two cores")
def test_a_batch_is_split_over_two_cores(finished, tmp_path):
    run = launched("--mesh=data:2", f"--workdir={tmp_path / 'run'}")
    assert (run.returncode, run.stderr) == (0, "")
    assert_same_run(tmp_path / "run", finished)
    assert read(tmp_path / "run")["device"] == f"2 x CPU, {os.cpu_count()} cores (data:2)"


def test_more_devices_than_cores_are_refused(tmp_path):
    wanted = 4 * num_cores()
    run = launched(f"--mesh=data:{wanted}", f"--workdir={tmp_path / 'run'}")
    assert run.returncode == 2
    assert run.stderr == (
        f"error: --mesh=data:{wanted}: {wanted} = {wanted} devices, but there are {num_cores()}: "
        f"name sizes that multiply to {num_cores()}.\n"
    )


def test_the_benchmark_prints_a_line_for_each_number_of_devices(monkeypatch, capsys):
    def measured(experiment, axis, devices, *, steps):
        return steps / devices

    monkeypatch.setattr(cores, "measure", measured)
    monkeypatch.setattr(cores, "num_cores", lambda: 3)
    cores.main(["--quick"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == ["data:1", "data:2", "sweep:1", "sweep:2"]
    assert lines[1]["settings"] == {"experiment": DIGITS}
    assert lines[1]["ratio"] == {"median": 0.5, "min": 0.5, "max": 0.5, "to": "data:1"}


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["data", "sweep"])
def test_a_run_of_the_benchmark_accounts_for_its_steps(axis):
    assert cores.measure(DIGITS, axis, 1, steps=2) > 0


def test_a_run_that_fails_stops_the_benchmark():
    expected = " --mesh=data:1 .*\nended with 2:\nerror: The configuration"
    with pytest.raises(SystemExit, match=expected):
        cores.measure(DIGITS, "data", 1, steps=0)
