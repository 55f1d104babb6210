"""What the blocks of a trained isometric network are worth: accuracy without one, swapped, twice.

    python launch.py --config=experiments/compositional_mtl.py:baseline=independent_blocks \\
        --workdir=runs/isometric
    python -m benchmarks.block_edits runs/isometric [--epochs=1] [--kinds remove swap repeat]

Each edit is made on the trained network, see `routing_jax.models.block_edits`; then the edited one
is evaluated, trained for some epochs with the settings of the run, and evaluated again. One JSON
line for each edit, the first for no edit.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.timing import print_line
from routing_jax.data import loading
from routing_jax.errors import UserError, told
from routing_jax.export.trained import read
from routing_jax.models.block_edits import (
    Variables,
    add_block,
    num_depths,
    remove_block,
    reorder_blocks,
)
from routing_jax.training import loop
from routing_jax.training.run import make_run
from routing_jax.workdir import Workdir

Edit = Callable[[Variables], Variables]
Measure = Callable[[Variables], dict[str, float]]

KINDS = ("remove", "swap", "repeat")
"""What can be done to a block: leave it out, let it change places with the next, run it twice."""


def trained(workdir: Path) -> tuple[ConfigDict, loading.TaskSet, Variables]:
    """Configuration, data and variables of a finished run.

    Raises:
        UserError: there is no such run, or its blocks cannot change places.
    """
    Workdir(workdir).require_finished(f"workdir = {workdir}")
    config = Workdir(workdir).read_config()
    if config.model.name != "compositional":
        raise UserError(
            f"workdir = {workdir} is a run of model.name = {config.model.name}: only the blocks of "
            "a compositional network can change places."
        )
    tasks = loading.load(config.data, say=lambda text: None)
    variables = read(workdir, tasks).variables
    try:
        num_depths(variables)
    except ValueError as error:
        raise UserError(f"workdir = {workdir}: {error}.") from error
    return config, tasks, variables


def edits(depth: int, kinds: Container[str] = KINDS) -> Iterator[tuple[str, Edit]]:
    """Names and functions of the edits of a network of that depth; the first changes nothing."""
    yield "as trained", lambda variables: variables
    if "remove" in kinds:
        for i in range(depth):
            yield f"without block {i}", functools.partial(remove_block, depth=i)
    if "swap" in kinds:
        for i in range(depth - 1):
            order = [*range(i), i + 1, i, *range(i + 2, depth)]
            yield f"blocks {i} and {i + 1} swapped", functools.partial(reorder_blocks, order=order)
    if "repeat" in kinds:
        for i in range(depth):
            yield f"block {i} twice", functools.partial(add_block, depth=i, copy_of=i)


def measuring(config: ConfigDict, tasks: loading.TaskSet, *, epochs: int) -> Measure:
    """A function from variables to accuracies before and after training; compiles once a depth."""
    train, test = loop.to_device(tasks.train), loop.to_device(tasks.test)

    @functools.cache
    def of_depth(depth: int):
        own = config.copy_and_resolve_references()
        with own.unlocked():
            own.model.depth = depth
            own.training.epochs, own.training.steps = max(epochs, 1), None
        run = make_run(own, tasks)
        return run, jax.jit(run.program.segment)

    def measure(variables: Variables) -> dict[str, float]:
        run, segment = of_depth(num_depths(variables))
        state = run.init(run.hyper, train)._replace(**variables)
        accuracies, parts = {}, {"before": 0} | ({"after": run.schedule.total} if epochs else {})
        for name, steps in parts.items():
            state, report = segment(
                state, run.hyper, train, test, jnp.int32(steps), jnp.asarray(True)
            )
            accuracies[name] = float(report.evaluation.metrics["accuracy"].mean())
        return accuracies

    return measure


@told
def main(arguments: list[str] | None = None) -> int:
    """Measures and prints JSON lines; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=Path, help="of a finished run")
    parser.add_argument("--epochs", type=int, default=1, help="of training after an edit")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=KINDS, help="of edits, all if not given"
    )
    chosen = parser.parse_args(arguments)
    config, tasks, variables = trained(chosen.workdir)
    measure = measuring(config, tasks, epochs=chosen.epochs)
    settings = {"experiment": config.experiment, "data": tasks.name, "epochs": chosen.epochs}
    settings |= {"depth": num_depths(variables), "seed": config.training.seed}
    for name, edit in edits(num_depths(variables), chosen.kinds):
        print_line("block_edits", name, settings, {"accuracy": measure(edit(variables))})
    return 0


if __name__ == "__main__":
    sys.exit(main())
