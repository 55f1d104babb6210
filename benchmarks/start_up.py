"""What a user waits for before the first step, from fresh processes.

    python -m benchmarks.start_up [--quick]

Imports, answering a configuration error, and two short runs of the main job on the embedded digits:
one with an empty cache directory (decode, compile), one with what the first has left there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import report

ROOT = Path(__file__).resolve().parents[1]
_RUN = (
    "launch.py",
    "--config=experiments/mnist_mtl.py:digits",
    "--config.training.steps=2",
    "--config.training.eval_every=2",
)


def measure(scratch: Path) -> dict[str, float]:
    """Milliseconds of each part, once; `scratch` is an empty directory."""
    found = {
        "import of the configuration": _python("-c", "import routing_jax.config"),
        "import of jax, flax and optax": _python("-c", "import jax, flax.linen, optax"),
        "answer to a wrong field": _python("launch.py", "--config.model.widht=1", status=2),
    }
    for cache in ("cold", "warm"):
        found |= {f"{part}, {cache} cache": ms for part, ms in _run(scratch, cache).items()}
    return found


def _run(scratch: Path, cache: str) -> dict[str, float]:
    """A run of two steps, as it accounts for its own time."""
    workdir = scratch / cache
    whole = _python(*_RUN, f"--workdir={workdir}", XDG_CACHE_HOME=str(scratch / "cache"))
    seconds = json.loads((workdir / "results.json").read_text())["seconds"]
    return {
        "compilation": 1000 * seconds["compile"],
        "to the first step": 1000 * seconds["first_step"],
        "whole process": whole,
    }


def _python(*arguments: str, status: int = 0, **environment: str) -> float:
    """Milliseconds that a Python process takes."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != status:
        raise SystemExit(f"{arguments} ended with {done.returncode}:\n{done.stderr}")
    return 1000 * (time.perf_counter() - began)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round, within 50 s")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds")
    options = parser.parse_args(arguments)
    times: dict[str, list[float]] = {}
    for _ in range(1 if options.quick else options.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            for name, milliseconds in measure(Path(scratch)).items():
                times.setdefault(name, []).append(milliseconds)
    report(
        "start_up", {"experiment": "mnist_mtl:digits"}, times, against="whole process, cold cache"
    )


if __name__ == "__main__":
    main()
