"""What a run gains from a CPU whose cores are devices: a batch split over one, two, ... of them.

    python -m benchmarks.cores [--quick]

One device is the whole CPU, and XLA uses its cores as far as single operations let it. Each side is
a run of its own process, which accounts for its own steps; all sides take their turn in every
round, after a start of each that compiles. `--mesh=data:N` is the only difference.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import report
from routing_jax.training.cores import num_cores

ROOT = Path(__file__).resolve().parents[1]
_STEPS = {
    "experiments/mnist_mtl.py:digits": 800,
    "experiments/mnist_mtl.py": 200,
    "experiments/cifar_mtl.py": 40,
}
"""Five to ten seconds each."""


def measure(experiment: str, devices: int, workdir: Path, *, steps: int) -> float:
    """Milliseconds of a step of an experiment on so many devices."""
    flags = {
        "config": experiment,
        "mesh": f"data:{devices}",
        "workdir": workdir,
        "config.training.epochs": None,
        "config.training.steps": steps,
        "config.training.eval_every": steps,
        "config.training.checkpoint_every": steps,
    }
    done = subprocess.run(
        [sys.executable, "launch.py", *(f"--{name}={value}" for name, value in flags.items())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(
            f"{experiment} on {devices} devices ended with {done.returncode}:\n{done.stderr}"
        )
    return 1000 * json.loads((workdir / "results.json").read_text())["seconds"]["per_step"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the digits alone, one round")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds")
    options = parser.parse_args(arguments)
    counts = [1 << n for n in range(num_cores().bit_length())]
    for experiment in list(_STEPS)[: 1 if options.quick else None]:
        times: dict[str, list[float]] = {_side(count): [] for count in counts}
        for number in range(1 if options.quick else 1 + options.rounds):
            for count in counts:
                with tempfile.TemporaryDirectory() as scratch:
                    milliseconds = measure(
                        experiment, count, Path(scratch) / "run", steps=_STEPS[experiment]
                    )
                if number or options.quick:  # the first start compiles
                    times[_side(count)].append(milliseconds)
        report("cores", {"experiment": experiment}, times, against=_side(1))


def _side(devices: int) -> str:
    return f"{devices} device{'s' if devices > 1 else ''}"


if __name__ == "__main__":
    main()
