"""What training gains from a CPU whose cores are devices: batches, or cells of a sweep, split.

    python -m benchmarks.cores [--quick]

One device is the whole CPU, and XLA uses its cores as far as single operations let it. Each side is
a process of its own, which accounts for its own steps (those of a sweep: the time of all, divided
by cells); all sides take their turn in every round, after a start of each that compiles. `--mesh`
is the only difference: `data:N` for a run, `sweep:N` for a sweep of as many seeds as there are
cores.
"""

import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.launched import choose, in_turn, launch, results_of, short_run
from benchmarks.timing import report
from routing_jax.training.cores import num_cores

_STEPS = {
    "experiments/mnist_mtl.py:digits": 800,
    "experiments/mnist_mtl.py": 200,
    "experiments/cifar_mtl.py": 40,
}
"""Five to ten seconds each."""


def measure(experiment: str, axis: str, devices: int, *, steps: int) -> float:
    """Milliseconds of a step of an experiment, split along an axis of so many devices."""
    flags = short_run(experiment, steps) | {"mesh": f"{axis}:{devices}"}
    if axis == "sweep":
        flags["sweep"] = f"seed=0:{_counts()[-1]}"
    with tempfile.TemporaryDirectory() as scratch:
        workdir = Path(scratch) / "run"
        launch(flags, workdir)
        if axis == "sweep":
            results = json.loads((workdir / "sweep.json").read_text())["cells"][0]["results"]
        else:
            results = results_of(workdir)
    return 1000 * results["seconds"]["per_step"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints JSON lines."""
    experiments, rounds = choose(__doc__.splitlines()[0], _STEPS, arguments)
    for experiment, steps in experiments.items():
        for axis in ("data", "sweep"):
            sides = {f"{axis}:{count}": count for count in _counts()}
            one = partial(measure, experiment, axis, steps=steps)
            times = in_turn(sides, one, rounds=rounds)
            report("cores", {"experiment": experiment}, times, against=f"{axis}:1")


def _counts() -> list[int]:
    """Numbers of devices: powers of two up to the cores that there are."""
    return [1 << n for n in range(num_cores().bit_length())]


if __name__ == "__main__":
    main()
