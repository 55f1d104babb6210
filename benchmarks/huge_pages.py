"""What large pages of memory are worth to training; see `routing_jax.huge_pages`.

    python -m benchmarks.huge_pages [--quick]

Each side is a process of its own, which accounts for its own steps; both take their turn in every
round, after a start that compiles. On a machine that has no such pages the sides do not differ.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.launched import choose, in_turn, launch, results_of, short_run
from benchmarks.timing import report

_STEPS = {
    "experiments/mnist_mtl.py:digits": 1600,
    "experiments/mnist_mtl.py": 400,
    "experiments/cifar_mtl.py": 80,
    "experiments/compositional_mtl.py": 20,
}
"""About ten seconds each."""
_PLAIN = "pages of 4 KiB"
_SIDES = {_PLAIN: "glibc.malloc.hugetlb=0", "large pages": "glibc.malloc.hugetlb=1"}


def measure(experiment: str, tunables: str, *, steps: int) -> float:
    """Milliseconds of a step of an experiment with these tunables of glibc."""
    with tempfile.TemporaryDirectory() as scratch:
        workdir = Path(scratch) / "run"
        environment = {"GLIBC_TUNABLES": tunables}
        launch(short_run(experiment, steps), workdir, environment=environment)
        return 1000 * results_of(workdir)["seconds"]["per_step"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints JSON lines."""
    experiments, rounds = choose(__doc__.splitlines()[0], _STEPS, arguments)
    for experiment, steps in experiments.items():
        one = partial(measure, experiment, steps=steps)
        times = in_turn(_SIDES, one, rounds=rounds)
        report("huge_pages", {"experiment": experiment}, times, against=_PLAIN)


if __name__ == "__main__":
    main()
