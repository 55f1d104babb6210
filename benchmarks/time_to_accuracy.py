"""Training time until the same test accuracy: routed against cross-stitch.

    python -m benchmarks.time_to_accuracy [--seeds=3] [--config.training.eval_every=50 ...]
    python -m benchmarks.time_to_accuracy --quick

Trains both systems with the same experiment, CIFAR-MTL unless another is named, one run after the
other: same encoder, loop, batches, and every field of the configuration but `model.name`. Further
`--config.<field>=<value>` go to all runs. The runs lie below `--folder` as any run does: the same
command resumes what was stopped and takes what is finished as it is.

The balanced accuracies asked for are shares of the lower of the two final ones, seed by seed. A
system is there at its first evaluation that has at least as much, so `training.eval_every` is the
error of its steps. Seconds are steps times the run's seconds per step: no compiling, no evaluation.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.timing import print_line, spread
from routing_jax.reporting.results import read_results

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = {"routed": "routing_network", "cross-stitch": "cross_stitch"}
METRIC = "test_balanced_accuracy"
"""Mean over tasks; for tasks of equal classes, as in CIFAR-MTL, the plain accuracy."""
SHARES = (0.8, 0.9, 0.95, 1.0)
QUICK = (
    "--config.training.steps=300",
    "--config.training.eval_every=10",
    "--config.training.examples_per_task=32",
)


class Arrival(NamedTuple):
    """When a run had an accuracy."""

    steps: int
    seconds: float


def arrival(results: dict[str, Any], accuracy: float) -> Arrival:
    """When the run of a results.json first had an accuracy; it must have had it.

    Args:
      results: of one seed.
      accuracy: mean over tasks, a fraction.
    """
    steps = next(entry["step"] for entry in results["curve"][0] if entry[METRIC] >= accuracy)
    return Arrival(steps, steps * results["seconds"]["per_step"])


def steps_per_epoch(results: dict[str, Any]) -> float:
    """Steps in which each example of the largest task is drawn once."""
    last = results["curve"][0][-1]
    return last["step"] / last["epoch"]


def final_accuracy(results: dict[str, Any]) -> float:
    """The test accuracy of the run's last evaluation."""
    return results["curve"][0][-1][METRIC]


def compare(runs: dict[str, Sequence[dict[str, Any]]]) -> None:
    """Prints a line for each share and system.

    Args:
      runs: results.json of each seed, in the same order, by system.
    """
    seeds = list(zip(*runs.values(), strict=True))
    lower = [min(map(final_accuracy, pair)) for pair in seeds]
    for share in SHARES:
        arrivals = {
            name: [
                arrival(results, share * accuracy)
                for results, accuracy in zip(of_seeds, lower, strict=True)
            ]
            for name, of_seeds in runs.items()
        }
        for name, of_seeds in arrivals.items():
            pairs = zip(of_seeds, arrivals["cross-stitch"], strict=True)
            figures = {
                "milliseconds": spread([1000 * at.seconds for at in of_seeds]),
                "ratio": spread([at.seconds / other.seconds for at, other in pairs])
                | {"to": "cross-stitch"},
                "accuracy": spread([share * accuracy for accuracy in lower]),
                "steps": spread([at.steps for at in of_seeds]),
                "final_accuracy": spread([final_accuracy(run) for run in runs[name]]),
                "milliseconds_per_step": spread(
                    [1000 * run["seconds"]["per_step"] for run in runs[name]]
                ),
                "seconds_per_epoch": spread(
                    [steps_per_epoch(run) * run["seconds"]["per_step"] for run in runs[name]]
                ),
            }
            settings = {"experiment": runs[name][0]["experiment"], "seeds": len(seeds)}
            settings["share_of_lower_final_accuracy"] = share
            print_line("time_to_accuracy", name, settings, figures)


def train(system: str, seed: int, folder: Path, flags: Sequence[str]) -> dict[str, Any]:
    """The results of a run, which is trained, resumed, or already there.

    Raises:
      subprocess.CalledProcessError: it failed or was stopped.
    """
    workdir = folder / f"{system}-seed{seed}"
    own = (f"--config.model.name={SYSTEMS[system]}", f"--config.training.seed={seed}")
    command = [sys.executable, "launch.py", f"--workdir={workdir}", *flags, *own]
    subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=True)
    return read_results(ROOT / workdir / "results.json")


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains what is not trained yet and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--config", help="experiment (experiments/cifar_mtl.py; quick: digits)")
    parser.add_argument("--folder", type=Path, help="of the runs (runs/time_to_accuracy)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each system")
    parser.add_argument("--quick", action="store_true", help="on the digits, within 50 s")
    options, flags = parser.parse_known_args(arguments)
    default = "mnist_mtl.py:digits" if options.quick else "cifar_mtl.py"
    config = f"--config={options.config or f'experiments/{default}'}"
    # What is written below the project is named as seen from there.
    default_folder = Path("runs") / f"time_to_accuracy{'_quick' * options.quick}"
    folder = options.folder.absolute() if options.folder else default_folder
    everyone = [config, *(QUICK if options.quick else ()), *flags]
    runs = {
        system: [train(system, s, folder, everyone) for s in range(options.seeds)]
        for system in SYSTEMS
    }
    compare(runs)


if __name__ == "__main__":
    main()
