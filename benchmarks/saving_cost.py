"""What saving checkpoints costs the training loop.

    python -m benchmarks.saving_cost [--data_dir=DIR] [--rounds=10] [--steps=STEPS]

Trains the job of experiments/mnist_mtl.py on the embedded digits, and on MNIST too where it is
prepared. A round is two stretches of as many steps as lie between two checkpoints of the job, with
its evaluations: one begins with a checkpoint, which is written while the steps are taken, and one
has none; which comes first alternates. Reported are, for a stretch:

- `not saving`: all of the stretch without a checkpoint, to which the others are compared;
- `saving`: all of the one with a checkpoint. Its ratio minus one is what saving costs;
- `steps while saving`: of it the steps and evaluations, slower as long as the thread writes;
- `waiting`: of it the time in which no step is taken, to copy the state and for the thread.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections

from benchmarks.timing import report
from routing_jax.data import loading, search
from routing_jax.experiment import load_config
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.loop import Run, to_device
from routing_jax.training.pace import Elapsed
from routing_jax.training.run import make_run
from routing_jax.training.state import TrainState

EXPERIMENT = Path(__file__).resolve().parents[1] / "experiments" / "mnist_mtl.py"
SIDES = ("not saving", "saving", "steps while saving", "waiting")

Advance = Callable[[TrainState], TrainState]
"""Takes the steps and evaluations of a stretch, and waits for them; uses up the state."""


def job(argument: str, *, data_dir: str, steps: int | None) -> ml_collections.ConfigDict:
    """The configuration of the main job.

    Args:
      argument: of the experiment: "digits", or "" for MNIST.
      data_dir: where MNIST is looked for first.
      steps: between checkpoints and so of a stretch; None for those of the job.
    """
    config = load_config(f"{EXPERIMENT}:{argument}" if argument else str(EXPERIMENT), EXPERIMENT)
    config.data.dir, config.data.fallback = data_dir, "none"
    if steps is not None:
        config.training.checkpoint_every = steps
    return config


def stretch(run: Run) -> tuple[TrainState, Advance]:
    """The state before the first step, and the compiled stretch from checkpoint to checkpoint."""
    data = (run.hyper, to_device(run.tasks.train), to_device(run.tasks.test))
    state = run.init(*data[:2])
    segment = jax.jit(run.program.segment, donate_argnums=0)
    compiled = segment.lower(state, *data, jnp.int32(1), jnp.asarray(False)).compile()
    interval, every = run.schedule.checkpoint_every, run.schedule.eval_every

    def advance(state: TrainState) -> TrainState:
        for done in range(0, interval, every):
            steps = min(every, interval - done)
            state, _ = compiled(state, *data, jnp.int32(steps), jnp.asarray(steps == every))
            jax.block_until_ready(state)
        return state

    return state, advance


def measure(run: Run, checkpoints: Checkpoints, *, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each of `SIDES`, per round."""
    state, advance = stretch(run)
    state = advance(state)  # the machine warms up, and so does Orbax
    checkpoints.save(state, Elapsed())
    checkpoints.finish()
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for saving in (True, False) if number % 2 else (False, True):
            state = _timed(state, advance, checkpoints if saving else None, times)
    return times


def _timed(
    state: TrainState,
    advance: Advance,
    checkpoints: Checkpoints | None,
    times: dict[str, list[float]],
) -> TrainState:
    """Takes a stretch and notes its times; it begins by saving where there are checkpoints."""
    began = time.perf_counter()
    if checkpoints is not None:
        checkpoints.save(state, Elapsed())
    saved = time.perf_counter()
    state = advance(state)
    stepped = time.perf_counter()
    if checkpoints is None:
        times["not saving"].append(1000 * (stepped - began))
        return state
    checkpoints.finish()  # as the next save would
    finished = time.perf_counter()
    times["saving"].append(1000 * (finished - began))
    times["steps while saving"].append(1000 * (stepped - saved))
    times["waiting"].append(1000 * (saved - began + finished - stepped))
    return state


def measured(config: ml_collections.ConfigDict, *, rounds: int) -> tuple[str, dict[str, list]]:
    """The data set that was used, and the times."""
    config.training.steps = (2 * rounds + 1) * config.training.checkpoint_every
    tasks = loading.load(config.data, say=partial(print, file=sys.stderr))
    with (
        tempfile.TemporaryDirectory() as folder,
        Checkpoints(Path(folder), dataset=tasks.name) as checkpoints,
    ):
        return tasks.name, measure(make_run(config, tasks), checkpoints, rounds=rounds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures both jobs and prints JSON lines; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", default="", help="where MNIST is looked for first")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, help="from checkpoint to checkpoint (default: 500)")
    options = parser.parse_args(arguments)
    jobs = ["digits"]
    if search.find_prepared("mnist", options.data_dir) is None:
        print("MNIST is not prepared: measuring the digits only", file=sys.stderr)
    else:
        jobs.append("")
    for argument in jobs:
        config = job(argument, data_dir=options.data_dir, steps=options.steps)
        name, times = measured(config, rounds=options.rounds)
        settings = {"data": name, "rounds": options.rounds} | {
            field: config.training[field] for field in ("checkpoint_every", "eval_every")
        }
        report("saving_cost", settings, times, against="not saving")
    return 0


if __name__ == "__main__":
    sys.exit(main())
