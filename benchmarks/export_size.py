"""How small and how fast the networks of single tasks are, to the network that they are cut from.

    python -m benchmarks.export_size runs/rho_0 runs/rho_0.1 ... [--quick]

Each argument is the work directory of a finished run. Of each task the network with its own blocks
is cut out as `--mode=export` does, and that of all tasks without the blocks that none uses. Sizes
are numbers of parameters and bytes of `network.npz`; latency is that of one example, from a call in
Python to its answer, next to the full network asked for that one task.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import Run, interleaved, print_line, spread
from routing_jax.cli import parse
from routing_jax.errors import UserError
from routing_jax.export.network import CutNetwork
from routing_jax.export.trained import Trained, restore
from routing_jax.export.written import PARAMS, Exported, write
from routing_jax.reporting.results import read_results

_FULL, _OWN, _ALL = "full network", "network of a task", "network of all tasks, pruned"
_TIMED_TASKS = 3
"""Tasks whose networks are timed, evenly spread; all are measured in size."""


def measure(workdir: Path, *, rounds: int) -> None:
    """Prints a JSON line for each of the three kinds of network of a run."""
    trained = restore(parse(["launch.py", "--mode=export", f"--workdir={workdir}"]), _say)
    count = trained.tasks.num_tasks
    own = [_cut(trained, task) for task in range(count)]
    pruned = _cut(trained, None)
    parameters = {
        _FULL: [trained.num_parameters],
        _OWN: [network.num_parameters for network, _ in own],
        _ALL: [pruned[0].num_parameters],
    }
    sizes = {_OWN: [_bytes(exported) for _, exported in own], _ALL: [_bytes(pruned[1])]}
    times: dict[str, list[float]] = {name: [] for name in parameters}
    for task in np.linspace(0, count - 1, min(count, _TIMED_TASKS)).astype(int):
        sides = _sides(trained, own[task][1], pruned[1], int(task))
        for name, found in interleaved(sides, rounds=rounds).items():
            times[name] += found
    settings = _settings(workdir) | {"step": trained.step}
    for name, numbers in parameters.items():
        ratios = [mine / full for mine, full in zip(times[name], times[_FULL], strict=True)]
        figures = {
            "milliseconds": spread(times[name]),
            "ratio": spread(ratios) | {"to": _FULL},
            "parameters": _over_tasks(numbers),
            "bytes": _over_tasks(sizes[name]) if name in sizes else None,
        }
        print_line("export_size", name, settings, figures)


def _cut(trained: Trained, task: int | None) -> tuple[CutNetwork, Exported]:
    network = trained.cut(task)
    return network, trained.export(network)


def _bytes(exported: Exported) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        return write(Path(scratch) / "network", exported, {})[PARAMS]


def _sides(trained: Trained, own: Exported, pruned: Exported, task: int) -> dict[str, Run]:
    """Programs that answer one test example of a task so many times."""
    test = trained.tasks.test
    image = jnp.asarray(np.asarray(test.images[test.index[task, :1]]))
    number = jnp.full((1,), task, jnp.int32)

    @jax.jit
    def full(variables: dict[str, Any], image: jax.Array, number: jax.Array) -> jax.Array:
        x = trained.model.apply(variables, image, train=False, method="encode")
        return trained.model.apply(variables, x[None], tasks=number, method="route").logits[0]

    variables = jax.device_put(trained.variables)
    own_params, all_params = jax.device_put(own.params), jax.device_put(pruned.params)
    own_call, all_call = jax.jit(own.program.call), jax.jit(pruned.program.call)
    return {
        _FULL: _repeat(lambda: full(variables, image, number)),
        _OWN: _repeat(lambda: own_call(own_params, image)),
        _ALL: _repeat(lambda: all_call(all_params, image, number)),
    }


def _over_tasks(counts: Sequence[int]) -> dict[str, float]:
    return {"mean": sum(counts) / len(counts), "min": min(counts), "max": max(counts)}


def _repeat(answer: Callable[[], jax.Array]) -> Run:
    """Waits for each answer before the next question, as one who has a single example does."""

    def run(times: int) -> None:
        for _ in range(times):
            answer().block_until_ready()

    return run


def _settings(workdir: Path) -> dict[str, Any]:
    """What tells the runs of a table apart, and how well the network answers."""
    results = read_results(workdir / "results.json")
    config = results["config"]
    return {
        "experiment": results["experiment"],
        "dataset": results["dataset"]["name"],
        "model": config["model"]["name"],
        "rho": config["reward"]["rho"],
        "accuracy": results["test"]["accuracy"]["mean"],
        "train_command": results["command"],
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdirs", nargs="+", type=Path, help="work directories of finished runs")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds for each task")
    options = parser.parse_args(arguments)
    for workdir in options.workdirs:
        try:
            measure(workdir, rounds=1 if options.quick else options.rounds)
        except UserError as error:
            raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
