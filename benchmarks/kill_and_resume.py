"""Kills training runs at random moments, resumes them, and compares them with one nobody killed.

    python -m benchmarks.kill_and_resume --kills=50

A small run on the embedded digits that saves every other step. A start is killed (SIGKILL) at a
random time between nothing and what a whole run takes, or at a random time behind a random
checkpoint, where it steps and saves; and started again until it ends. Then parameters, router,
optimizer, running means, routing.npz, metrics.jsonl, the curve and the TensorBoard scalars must be
those of the undisturbed run, bit for bit. Prints one JSON line; exits with 1 where anything
differs.
"""

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from tensorboardX.proto.event_pb2 import Event, SessionLog

from benchmarks.timing import print_line

ROOT = Path(__file__).resolve().parents[1]
STEPS = 40
FLAGS = (
    "--config=experiments/mnist_mtl.py:digits",
    "--config.model.encoder=flatten",
    "--config.model.width=16",
    f"--config.training.steps={STEPS}",
    "--config.training.eval_every=5",
    "--config.training.checkpoint_every=2",
    "--config.training.examples_per_task=8",
)


def kill_and_resume(kills: int, *, seed: int, scratch: Path) -> dict[str, object]:
    """Kills as often as asked for; each run is killed until it ends before its kill.

    Args:
      kills: starts to kill, over all runs.
      seed: of the moments.
      scratch: an empty directory.

    Returns:
      `kills`, of which `exact` are of runs that ended like the undisturbed one; the `runs`; in
      which `phases` the kills fell; and what is `differing`, a list that should be empty.
    """
    moments = random.Random(seed)
    _finish(scratch / "compiled", scratch)  # fills the cache of compiled programs
    began = time.monotonic()
    _finish(scratch / "whole", scratch)
    seconds = time.monotonic() - began
    expected = outcome(scratch / "whole")
    phases: Counter[str] = Counter()
    runs, exact, differing = 0, 0, []
    while phases.total() < kills:
        workdir, killed_before = scratch / f"run-{runs}", phases.total()
        while phases.total() < kills:
            before = _latest_step(workdir)
            if moments.random() < 0.4:
                moment = (before, moments.uniform(0, seconds))
            else:
                moment = (before + moments.randint(1, 12), moments.uniform(0, 0.3))
            if not _killed(workdir, scratch, *moment):
                break
            phases[_phase(workdir, before)] += 1
        _finish(workdir, scratch)
        found = outcome(workdir)
        wrong = [f"run {runs}: {name}" for name in expected if found[name] != expected[name]]
        differing += wrong
        exact += 0 if wrong else phases.total() - killed_before
        runs += 1
    return {
        "kills": phases.total(),
        "exact": exact,
        "runs": runs,
        "seconds_of_whole_run": round(seconds, 2),
        "phases": dict(phases),
        "differing": differing,
    }


def outcome(workdir: Path) -> dict[str, object]:
    """Everything about a finished run that must not depend on how it came about."""
    results = json.loads((workdir / "results.json").read_text())
    with np.load(workdir / "routing.npz", allow_pickle=False) as routing:
        arrays = {name: (routing[name].dtype.str, routing[name].tobytes()) for name in routing}
    return {
        "state": _state(workdir / "checkpoints" / str(_latest_step(workdir)) / "state"),
        "routing": arrays,
        "metrics": (workdir / "metrics.jsonl").read_bytes(),
        "results": {name: results[name] for name in ("curve", "test", "routing_map")},
        "tensorboard": read_scalars(workdir / "tensorboard"),
        "files": sorted(path.name for path in workdir.iterdir()),
        "checkpoints": sorted(path.name for path in (workdir / "checkpoints").iterdir()),
    }


def read_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag as TensorBoard reads them, file after file.

    The start of a session drops what earlier ones logged from its step on.
    """
    scalars: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.iterdir()):
        for event in _events(path.read_bytes()):
            if event.session_log.status == SessionLog.START:
                scalars = {
                    tag: [point for point in points if point[0] < event.step]
                    for tag, points in scalars.items()
                }
            for value in event.summary.value:
                scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    return scalars


def _events(data: bytes) -> Iterator[Event]:
    """The whole events of a file: each is length, checksum, content, checksum."""
    while len(data) >= 12:
        (length,) = struct.unpack("<Q", data[:8])
        if len(data) < 16 + length:  # torn by a kill
            return
        yield Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def _state(folder: Path) -> dict[str, tuple[str, bytes]]:
    """The arrays of a checkpoint, by path."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        # As NumPy arrays: the devices that saved them need not be here.
        restore_args = jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray),
            checkpointer.metadata(folder).item_metadata.tree,
        )
        tree = checkpointer.restore(folder, args=ocp.args.PyTreeRestore(restore_args=restore_args))
    arrays = {name: np.asarray(leaf) for name, leaf in _leaves(tree)}
    return {name: (str(array.dtype), array.tobytes()) for name, array in arrays.items()}


def _leaves(tree: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(tree, dict | list):
        pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for name, child in pairs:
            yield from _leaves(child, f"{prefix}.{name}")
    elif tree is not None:
        yield prefix, tree


def _start(workdir: Path, scratch: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "launch.py", *FLAGS, f"--workdir={workdir}"],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(scratch / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _killed(workdir: Path, scratch: Path, step: int, seconds: float) -> bool:
    """Starts the run and kills it some seconds after a step is saved; False if it was faster."""
    process = _start(workdir, scratch)
    while _latest_step(workdir) < step and process.poll() is None:
        time.sleep(0.005)
    try:
        _require_success(process, seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    return False


def _finish(workdir: Path, scratch: Path) -> None:
    _require_success(_start(workdir, scratch), None)


def _require_success(process: subprocess.Popen, seconds: float | None) -> None:
    """Waits for a start to end; nothing may have gone wrong, and nothing be complained of."""
    _, errors = process.communicate(timeout=seconds)
    if process.returncode or errors:
        raise RuntimeError(f"exit status {process.returncode}\n{errors.decode()}")


def _latest_step(workdir: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    names = [path.name for path in workdir.glob("checkpoints/[0-9]*")]
    return max(map(int, names), default=0)


def _phase(workdir: Path, before: int) -> str:
    """What a killed start was doing, as far as its files tell."""
    if (workdir / "checkpoints" / "unfinished").exists():
        return "saving"
    latest = _latest_step(workdir)
    if latest == STEPS:
        return "results written" if (workdir / "results.json").exists() else "behind the last step"
    return "steps" if latest > before else "start-up"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        found = kill_and_resume(options.kills, seed=options.seed, scratch=Path(scratch))
    settings = {"seed": options.seed, "steps": STEPS, "flags": list(FLAGS)}
    print_line("kill_and_resume", "SIGKILL", settings, found)
    return 1 if found["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
