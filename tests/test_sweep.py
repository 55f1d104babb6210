"""Whole sweeps from the command line: what they write, resume, spread over processes and refuse."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

import chex
import jax
import numpy as np
import pytest
from rich.console import Console
from tiny_runs import ROOT, TINY, read, start, stop_after

import launch
from routing_jax import cli
from routing_jax.errors import RunError
from routing_jax.sweep import workers
from routing_jax.sweep.parts import plan_parts, read_parts
from routing_jax.sweep.request import Slurm
from routing_jax.sweep.workers import cpu_shares
from routing_jax.training.stopping import Stops
from routing_jax.workdir import Workdir

RATES = ("--sweep=optimizer.learning_rate=0.1,1e30", "--sweep=seed=0:2")
AGENTS = ("--sweep=router.agent=single,per_task", "--sweep=seed=0:2")


def cells_of(workdir):
    return json.loads((workdir / "sweep.json").read_text())["cells"]


def without_times(cells):
    """What of the cells must not depend on how the sweep came about."""
    kept = ("test", "curve", "routing_map", "config", "parameters", "seeds")
    return [
        {
            **{name: cell[name] for name in ("index", "settings", "status", "failed_step")},
            "results": cell["results"] and {name: cell["results"][name] for name in kept},
        }
        for cell in cells
    ]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The work directory of a finished sweep in one program; the cells of one rate diverge."""
    workdir = tmp_path_factory.mktemp("sweeps") / "swept"
    assert start(workdir, *TINY, *RATES) == 0
    return workdir


def test_a_sweep_writes_what_it_promises(swept):
    assert {path.name for path in swept.iterdir()} == {
        *("config.json", "plan.json", "programs", "sweep.json", "sweep.txt", "figures"),
    }
    # With a single rate left there is nothing to draw against it.
    assert [path.name for path in (swept / "figures").iterdir()] == ["accuracy_curves.png"]
    (program,) = (swept / "programs").iterdir()
    assert {path.name for path in program.iterdir()} == {
        *("cells.json", "checkpoints", "metrics.jsonl", "routing.npz", "tensorboard"),
    }


def test_every_cell_has_its_settings_its_status_and_its_results(swept):
    cells = cells_of(swept)
    assert [cell["name"] for cell in cells] == [
        "optimizer.learning_rate=0.1,seed=0",
        "optimizer.learning_rate=0.1,seed=1",
        "optimizer.learning_rate=1e+30,seed=0",
        "optimizer.learning_rate=1e+30,seed=1",
    ]
    assert [cell["status"] for cell in cells] == ["ok", "ok", "failed", "failed"]
    assert cells[1]["settings"] == {"optimizer.learning_rate": 0.1, "training.seed": 1}
    assert cells[1]["results"]["seeds"] == [1]
    assert cells[1]["failed_step"] is None
    assert [entry["step"] for entry in cells[1]["results"]["curve"][0]] == [4, 8, 12]
    assert all(1 <= cell["failed_step"] <= 4 for cell in cells[2:])
    assert all(cell["results"] is None for cell in cells[2:])


def numbers(tree):
    """The tree with arrays for leaves, and without what is no number."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


@pytest.mark.slow
def test_the_accuracies_of_five_seeds_are_those_of_their_own_runs(tmp_path):
    longer = ("--config.training.steps=150", "--config.training.eval_every=150")
    assert start(tmp_path / "swept", *TINY, *longer, "--sweep=seed=0:5") == 0
    swept = [cell["results"]["test"]["accuracy"]["mean"] for cell in cells_of(tmp_path / "swept")]
    alone = []
    for seed in range(5):
        workdir = tmp_path / f"alone{seed}"
        assert start(workdir, *TINY, *longer, f"--config.training.seed={seed}") == 0
        alone.append(read(workdir)["test"]["accuracy"]["mean"])
    error = np.sqrt((np.var(swept, ddof=1) + np.var(alone, ddof=1)) / 5)
    assert abs(np.mean(swept) - np.mean(alone)) <= 2 * error


def test_a_cell_is_what_its_command_gives_when_it_is_run_alone(swept):
    cell = cells_of(swept)[1]
    program, *arguments = shlex.split(cell["command"])[1:]
    workdir = swept.parent / "alone"
    assert launch.main([program, *arguments, f"--workdir={workdir}"]) == 0
    alone, mine = read(workdir), cell["results"]
    assert mine.keys() == alone.keys()
    for name in ("routing_map", "config", "parameters", "tasks", "dataset"):
        assert mine[name] == alone[name], name
    # The compiler may round differently in a program of one cell and of many.
    for name in ("test", "curve"):
        chex.assert_trees_all_close(numbers(mine[name]), numbers(alone[name]), rtol=1e-4, atol=1e-5)


def test_a_finished_sweep_shows_its_table_again(swept, capsys):
    before = {path: path.stat().st_mtime_ns for path in swept.rglob("*") if path.is_file()}
    assert start(swept, *TINY, *RATES) == 0
    output = capsys.readouterr().out
    assert "is finished; --overwrite starts it anew." in output
    assert "0 + 2 failed" in output
    assert "sweep.txt" in output
    assert "0 + 2 failed" in (swept / "sweep.txt").read_text()
    after = {path: path.stat().st_mtime_ns for path in swept.rglob("*") if path.is_file()}
    assert before == after


def test_evaluating_a_sweep_shows_its_table_or_says_what_to_evaluate(swept, tmp_path, capsys):
    assert launch.main(["launch.py", "--mode=evaluate", f"--workdir={swept}"]) == 0
    assert "0 + 2 failed" in capsys.readouterr().out
    root = Workdir(tmp_path / "sweep")
    plan_only(root, *TINY, *RATES)
    capsys.readouterr()
    assert launch.main(["launch.py", "--mode=evaluate", f"--workdir={root.path}"]) == 2
    assert capsys.readouterr().err == (
        f"error: --workdir={root.path}: this directory holds a sweep; a cell is evaluated by its "
        "own run (--sweep_print).\n"
    )


def test_another_grid_in_the_same_directory_is_refused(swept, capsys):
    assert start(swept, *TINY, RATES[0], "--sweep=seed=0:3") == 2
    error = capsys.readouterr().err
    assert "holds a run of another configuration:\n  sweep: 'optimizer.learning_rate=" in error
    assert start(swept, *TINY) == 2


def test_a_stopped_sweep_resumes_to_the_same_result(swept, tmp_path, monkeypatch, capsys):
    workdir = tmp_path / "sweep"
    with monkeypatch.context() as patched:
        stop_after(patched, 8, signal.SIGTERM)
        assert start(workdir, *TINY, *RATES) == 0
    assert "Stopped by SIGTERM; everything is saved." in capsys.readouterr().out
    assert not (workdir / "sweep.json").exists()
    assert start(workdir, *TINY, *RATES) == 0
    assert "resuming after step 8 of 12" in capsys.readouterr().out
    assert without_times(cells_of(workdir)) == without_times(cells_of(swept))


@pytest.mark.slow
def test_a_killed_sweep_resumes_to_the_same_result(swept, tmp_path, capsys):
    workdir = tmp_path / "sweep"
    config = "--config=experiments/mnist_mtl.py:digits"
    process = subprocess.Popen(
        [sys.executable, "launch.py", config, f"--workdir={workdir}", *TINY, *RATES],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    while not list(workdir.glob("programs/*/checkpoints/[0-9]*")) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    # Whatever it was doing: the rest is made up for, and what was finished is left as it is.
    assert start(workdir, *TINY, *RATES) == 0
    capsys.readouterr()
    assert without_times(cells_of(workdir)) == without_times(cells_of(swept))


def test_a_sweep_whose_cells_all_fail_says_so(tmp_path, capsys):
    assert start(tmp_path, *TINY, "--sweep=optimizer.learning_rate=1e30,2e30", RATES[1]) == 0
    output = capsys.readouterr().out
    assert "All 4 cells have diverged by step" in output
    assert [cell["status"] for cell in cells_of(tmp_path)] == ["failed"] * 4


@pytest.mark.slow
@pytest.mark.alone
def test_workers_train_the_static_list_side_by_side(tmp_path, monkeypatch, capsys):
    workdir = tmp_path / "sweep"
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")  # so that it is as before, later
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE")
    assert start(workdir, *TINY, *AGENTS, "--sweep_workers=2") == 0
    # An accelerator's memory is left to the workers.
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    output = capsys.readouterr().out
    assert "The sweep has 4 cells in 2 programs:" in output
    assert "programs: 2 ended, 0 at work, 0 waiting" in output
    assert [cell["name"] for cell in cells_of(workdir)] == [
        "router.agent=single,seed=0",
        "router.agent=single,seed=1",
        "router.agent=per_task,seed=0",
        "router.agent=per_task,seed=1",
    ]
    assert {cell["status"] for cell in cells_of(workdir)} == {"ok"}
    logs = sorted(workdir.glob("programs/*/log.txt"))
    assert ["median of 2 cells" in log.read_text() for log in logs] == [True, True]


def test_the_warning_of_a_cluster_saves_and_stops(tmp_path, monkeypatch, capsys):
    stop_after(monkeypatch, 8, signal.SIGUSR2)
    assert start(tmp_path, *TINY, *RATES) == 0
    assert "Stopped by SIGUSR2; everything is saved." in capsys.readouterr().out
    assert not (tmp_path / "sweep.json").exists()


@pytest.mark.slow
def test_later_programs_tell_of_the_cells_of_earlier_ones(tmp_path, monkeypatch, capsys):
    axes = ("--sweep=router.agent=single,per_task", "--sweep=optimizer.learning_rate=0.1,1e30")
    monkeypatch.setattr(launch, "_STARTED", time.monotonic() - 1000)
    assert start(tmp_path, *TINY, *axes) == 0
    output = capsys.readouterr().out
    assert "1 failed, program 1 of 2\n" in output
    assert "program 2 of 2, 1 cells done, 1 failed\n" in output
    first, _, second, _ = (cell["results"] for cell in cells_of(tmp_path))
    assert first["seconds"]["total"] > 500  # half of a program that began with the command
    assert second["seconds"]["total"] < 500


class Ended:
    """A process that has ended."""

    def __init__(self, status):
        self.returncode = status
        self.stdin = io.BytesIO()

    def poll(self):
        return self.returncode


@pytest.mark.parametrize(
    ("status", "log", "reason"),
    [
        (
            0,
            "step 4",
            "its process was stopped from outside; everything is saved, the same command goes on",
        ),
        (-9, "step 4", "its process was killed by signal 9: out of memory?"),
        (-11, "step 4", "its process was killed by signal 11"),
        (1, "step 4\nerror: no disk", "error: no disk"),
        (3, "", "exit status 3"),
    ],
)
def test_a_worker_that_did_not_finish_is_told(status, log, reason, tmp_path, monkeypatch):
    root = Workdir(tmp_path / "sweep")
    plan_only(root, *TINY, "--sweep=rho=0,0.1")  # one program
    (part,) = read_parts(root, {})
    part.workdir.path.mkdir(parents=True)
    path = part.workdir.path / "log.txt"
    path.write_text(log)
    process = Ended(status)
    monkeypatch.setattr(workers.subprocess, "Popen", lambda *_, **__: process)
    message = f"^{re.escape(f'The program failed: {reason} ({path})')}$"
    with pytest.raises(RunError, match=message):
        workers.train_in_workers(
            [part], root, {}, workers=1, console=Console(quiet=True), stops=Stops()
        )


def test_workers_share_an_accelerators_memory(monkeypatch):
    assert workers.worker_environment(2)["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.4500"
    assert "PATH" in workers.worker_environment(2)


def test_what_a_job_asks_of_the_cluster(tmp_path, monkeypatch):
    slurm = pytest.importorskip("routing_jax.sweep.slurm")
    asked = {}

    class Executor:
        def __init__(self, **arguments):
            asked.update(arguments)

        def update_parameters(self, **arguments):
            asked.update(arguments)

    monkeypatch.setattr(slurm.submitit, "AutoExecutor", Executor)
    told = slurm.submit([], Workdir(tmp_path), Slurm("gpu", 30, gpus=1, cpus=None), {})
    assert told.startswith("Submitted 0 jobs to gpu")
    assert asked == {
        "folder": tmp_path / "jobs",
        "cluster": "slurm",
        "slurm_max_num_timeout": 100_000,
        "slurm_partition": "gpu",
        "timeout_min": 30,
        "gpus_per_node": 1,
    }


def test_a_job_whose_time_is_up_waits_until_its_worker_has_saved(tmp_path, monkeypatch):
    slurm = pytest.importorskip("routing_jax.sweep.slurm")
    saved = tmp_path / "saved"
    code = (
        "import pathlib, signal, sys, time\n"
        "def save(*_):\n"
        f"    time.sleep(0.3); pathlib.Path({str(saved)!r}).touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        f"pathlib.Path({str(saved) + '.ready'!r}).touch()\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(slurm, "worker_command", lambda *_: [sys.executable, "-c", code])
    job = slurm.Job(tmp_path, 3, {"data.dir": "here"})
    again = []

    def time_is_up(*_):  # as submitit's own handler: it leaves by an exception
        again.append(job.checkpoint())
        sys.exit(-1)

    before = signal.signal(signal.SIGUSR2, time_is_up)
    warning = threading.Thread(target=warn_when, args=(tmp_path / "saved.ready",))
    warning.start()
    try:
        with pytest.raises(SystemExit):
            job()
    finally:
        signal.signal(signal.SIGUSR2, before)
        warning.join()
    assert saved.exists()
    assert again[0].function == slurm.Job(tmp_path, 3, {"data.dir": "here"})


def warn_when(ready):
    while not ready.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGUSR2)


@pytest.mark.slow
@pytest.mark.alone
def test_a_worker_that_fails_is_told_with_its_reason(tmp_path, capsys):
    root = Workdir(tmp_path / "sweep")
    arguments = (*TINY, "--sweep=router.agent=single,per_task")
    plan_only(root, *arguments)
    first = Workdir(root.programs_dir / "000")
    with first.held():
        assert start(root.path, *arguments, "--sweep_workers=2") == 1
    error = capsys.readouterr().err
    assert error.startswith(
        f"error: program 1 of 2 failed: error: --workdir={first.path} is in use: process "
    )
    assert "program 2" not in error
    assert start(root.path, *arguments) == 0
    assert "program 2: 1 cells (router.agent = per_task), at least" in capsys.readouterr().out
    assert {cell["status"] for cell in cells_of(root.path)} == {"ok"}


@pytest.mark.slow
@pytest.mark.alone
def test_jobs_train_the_programs_and_the_last_one_collects_them(tmp_path):
    submitit = pytest.importorskip("submitit")
    from routing_jax.sweep.slurm import submit_to

    root = Workdir(tmp_path / "sweep")
    plan_only(root, *TINY, *AGENTS)
    executor = submitit.AutoExecutor(folder=root.jobs_dir, cluster="local")
    executor.update_parameters(timeout_min=5)
    jobs = submit_to(executor, read_parts(root, {}), root, {})
    assert len(jobs) == 2
    for job in jobs:
        job.result()
    assert {cell["status"] for cell in cells_of(root.path)} == {"ok"}
    assert submit_to(executor, read_parts(root, {}), root, {}) == []


def plan_only(root, *arguments):
    """What a command does before it trains or submits."""
    config = f"--config={ROOT / 'experiments' / 'mnist_mtl.py'}:digits"
    command = cli.parse([str(ROOT / "launch.py"), config, f"--workdir={root.path}", *arguments])
    with command.settled_workdir():
        plan_parts(command, say=print)


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3, 4}, raising=False)
    assert cpu_shares(2) == [[0, 1], [2, 3]]
    assert cpu_shares(7) == [[0], [1], [2], [3], [4], [0], [1]]
