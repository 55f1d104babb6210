"""What a sweep costs as one program, against starting every cell by itself.

    python -m benchmarks.sweep_cost [--quick] [--rounds=1] [--only=starts|steps|growth]

Starts: 8 seeds x 4 values of rho on the embedded digits, 300 steps each, from the command to the
figures; once as one sweep, once as 32 runs one after the other. "cold" empties the cache of
compiled programs before each side, which the 32 runs then share; "warm" finds it filled.

Steps: the training step of a cell inside the program of 8 cells against that of a single run,
with the cells taking turns and, to compare, under one `vmap`; on the embedded digits and, where it
is prepared, on MNIST.

Growth (only when asked for): steps of cells in a second against the number of cells, 1, 2, 4 and so
on to `--most_cells`, as the sweep lays them out on this device; on the embedded digits. An
accelerator takes more at hardly any more cost until it is full.
"""

import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.timing import Run, interleaved, print_line, report, spread
from routing_jax import experiment
from routing_jax.data import loading
from routing_jax.errors import UserError
from routing_jax.sweep.cells import CellsProgram, stack_hyperparams, stacked_together
from routing_jax.training import loop
from routing_jax.training.run import make_run

ROOT = Path(__file__).resolve().parents[1]
CELLS = 8
STEPS = 300
RHO = (0.0, 0.1, 0.3, 1.0)


def starts(*, seeds: int, rhos: Sequence[float], rounds: int) -> None:
    """Measures whole commands and prints a line for each side."""
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            for name, seconds in _round(Path(scratch) / str(number), seeds, rhos).items():
                times.setdefault(name, []).append(1000 * seconds)
    settings = {"seeds": seeds, "rho": list(rhos), "steps": STEPS, "data": "digits"}
    for cache in ("cold", "warm"):
        sides = {name: times[f"{name}, {cache}"] for name in ("one program", "separate starts")}
        report("sweep_cost", settings | {"cache": cache}, sides, against="separate starts")


def _round(scratch: Path, seeds: int, rhos: Sequence[float]) -> dict[str, float]:
    """Seconds of each side; the warm sides find what the cold ones of this round compiled."""
    grid = [f"--sweep=rho={','.join(map(str, rhos))}", f"--sweep=seed=0:{seeds}"]
    cells = [
        [f"--config.reward.rho={rho}", f"--config.training.seed={seed}"]
        for rho in rhos
        for seed in range(seeds)
    ]
    sides = {"one program": [grid], "separate starts": cells}
    seconds = {}
    for cache in ("cold", "warm"):
        for name, commands in sides.items():
            if cache == "cold":
                shutil.rmtree(scratch / f"cache {name}", ignore_errors=True)
            began = time.perf_counter()
            for number, arguments in enumerate(commands):
                _start(scratch / f"{name} {cache} {number}", arguments, scratch / f"cache {name}")
            seconds[f"{name}, {cache}"] = time.perf_counter() - began
    return seconds


def _start(workdir: Path, arguments: Sequence[str], cache: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "launch.py",
            "--config=experiments/mnist_mtl.py:digits",
            f"--config.training.steps={STEPS}",
            f"--workdir={workdir}",
            *arguments,
        ],
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def growth(most_cells: int, *, rounds: int) -> None:
    """Measures programs of more and more cells and prints a line for each."""
    config, tasks = _experiment("digits")
    runs = [make_run(_with_seed(config, seed), tasks) for seed in range(most_cells)]
    counts = [2**power for power in range(most_cells.bit_length())]
    sides = {}
    for count in counts:
        cells = stack_hyperparams([run.hyper for run in runs[:count]])
        program = CellsProgram(runs[0].program, stacked_together(count))
        sides[count] = _stepping(program, cells, tasks)
    times = interleaved({str(count): side for count, side in sides.items()}, rounds=rounds)
    for count in counts:
        milliseconds = times[str(count)]
        ratios = [mine / one for mine, one in zip(milliseconds, times["1"], strict=True)]
        figures = {
            "milliseconds": spread(milliseconds),
            "ratio": spread(ratios) | {"to": "1 cell"},
            "cell_steps_per_second": spread([1000 * count / value for value in milliseconds]),
        }
        settings = {"data": tasks.name, "cells": count, "batch": runs[0].task_examples}
        print_line("sweep_growth", f"{count} cells", settings, figures)


def _experiment(argument: str) -> tuple[ConfigDict, loading.TaskSet]:
    """The main experiment with an argument, and its data."""
    config = experiment.load_config(
        f"{ROOT / 'experiments' / 'mnist_mtl.py'}{argument and ':'}{argument}", ROOT / "experiments"
    )
    config.data.fallback = "none"
    return config, loading.load(config.data, say=_complain)


def steps(argument: str, *, rounds: int) -> None:
    """Measures training steps on the data that an argument of the main experiment names."""
    config, tasks = _experiment(argument)
    runs = [make_run(_with_seed(config, seed), tasks) for seed in range(CELLS)]
    cells = stack_hyperparams([run.hyper for run in runs])
    program = runs[0].program
    sides = {
        "single run": _stepping(program, runs[0].hyper, tasks),
        "cell, in turns": _stepping(CellsProgram(program, 1), cells, tasks),
        "cell, one vmap": _stepping(CellsProgram(program, CELLS), cells, tasks),
    }
    times = interleaved(sides, rounds=rounds)
    for name in list(times)[1:]:
        times[name] = [milliseconds / CELLS for milliseconds in times[name]]
    settings = {"data": tasks.name, "cells": CELLS, "batch": runs[0].task_examples}
    report("sweep_step_cost", settings, times, against="single run")


def _with_seed(config: ConfigDict, seed: int) -> ConfigDict:
    own = copy.deepcopy(config)
    own.training.seed = seed
    return own


def _stepping(program: object, hyper: object, tasks: loading.TaskSet) -> Run:
    """Takes a number of steps from the start of a run."""
    data = (loop.to_device(tasks.train), loop.to_device(tasks.test))
    state = jax.jit(program.init)(hyper, data[0])
    segment: Callable = jax.jit(program.segment)
    never = jnp.asarray(False)
    return lambda count: segment(state, hyper, *data, jnp.int32(count), never)


def _complain(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> None:
    """Measures and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a grid of 2 x 2; digits only")
    parser.add_argument("--rounds", type=int, help="measured rounds (starts: 1, steps: 7)")
    parser.add_argument("--only", choices=("starts", "steps", "growth"), help="just this")
    parser.add_argument("--most_cells", type=int, default=64, help="of growth")
    options = parser.parse_args()
    if options.only == "growth":
        growth(options.most_cells, rounds=options.rounds or 5)
    if options.only in (None, "steps"):
        for argument in ("digits",) if options.quick else ("digits", ""):
            try:
                steps(argument, rounds=options.rounds or 7)
            except UserError as error:
                _complain(json.dumps({"skipped": argument or "mnist", "why": str(error)}))
    if options.only in (None, "starts"):
        size = {"seeds": 2, "rhos": RHO[:2]} if options.quick else {"seeds": 8, "rhos": RHO}
        starts(**size, rounds=options.rounds or 1)


if __name__ == "__main__":
    main()
