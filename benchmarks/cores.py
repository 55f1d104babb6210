"""What the cores of a CPU are worth to one run: a batch split over one, two, ... of them.

    python -m benchmarks.cores [--quick]

Each side is a run of its own process, which accounts for its own steps; all sides take their turn
in every round, after a start of each that compiles. `--mesh=data:N` is the only difference.
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
_STEPS = {"mnist_mtl:digits": 800, "mnist_mtl": 200, "cifar_mtl": 40}
"""Five to ten seconds each."""


def measure(experiment: str, cores: int, workdir: Path, *, steps: int) -> float:
    """Milliseconds of a step of an experiment on so many cores."""
    name, _, choice = experiment.partition(":")
    done = subprocess.run(
        [
            *(
                sys.executable,
                "launch.py",
                f"--config=experiments/{name}.py{choice and ':'}{choice}",
            ),
            *(f"--mesh=data:{cores}", f"--workdir={workdir}"),
            *(f"--config.training.steps={steps}", f"--config.training.eval_every={steps}"),
            *("--config.training.epochs=None", f"--config.training.checkpoint_every={steps}"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(
            f"{experiment} on {cores} cores ended with {done.returncode}:\n{done.stderr}"
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


def _side(cores: int) -> str:
    return f"{cores} core{'s' if cores > 1 else ''}"


if __name__ == "__main__":
    main()
