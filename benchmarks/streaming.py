"""What it costs to stream a data set instead of holding it in memory.

    python -m benchmarks.streaming [--data_dir=DIR] [--epochs=1] [--rounds=10]

Trains the job of experiments/cifar_mtl.py, whose images are decoded from their files again and
again where it streams. Printed are:

- `epoch`: of whole epochs that are streamed, the share of the time in which steps wait for images,
  and the memory of the process after the first steps, at the end, and at its highest;
- `memory`, `stream`: a step of both, in turns; they share the cores with the threads that read;
- `reading alone`: the same images where nothing else is computed: how many a second, and how many
  the steps in memory would need. It is the reading that limits where the first is the smaller.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ml_collections import ConfigDict

from benchmarks.timing import interleaved, print_line, report, spread
from routing_jax.data import loading
from routing_jax.experiment import load_config
from routing_jax.training.loop import Run, compile_segments
from routing_jax.training.run import make_run
from routing_jax.training.streamed import Feed, chunk_shape

EXPERIMENT = Path(__file__).resolve().parents[1] / "experiments" / "cifar_mtl.py"
_ENDLESS = 1_000_000
"""Steps of the runs, more than are taken."""
_WARM = 10
"""Steps before the memory is looked at for the first time."""


class Side:
    """A run that takes steps when it is told to, and knows how long it waited for images."""

    def __init__(self, run: Run) -> None:
        self.waited = 0.0
        self._state, self._advance = compile_segments(run, None, waited=self._wait)

    def __call__(self, steps: int) -> None:
        self._state, _, _ = self._advance(self._state, steps=steps)

    def close(self) -> None:
        """Ends its reading."""
        self._advance.close()

    def _wait(self, seconds: float) -> None:
        self.waited += seconds


def run_of(config: ConfigDict, kind: str) -> Run:
    """The run of a configuration with its images in memory, or streamed."""
    config = config.copy_and_resolve_references()
    config.data.input, config.training.steps = kind, _ENDLESS
    return make_run(config, loading.load(config.data, say=partial(print, file=sys.stderr)))


def epochs(run: Run, count: int) -> dict[str, object]:
    """Figures of whole epochs that are streamed."""
    steps = count * int(run.tasks.train.sizes.max()) // run.examples_per_task
    side = Side(run)
    side(_WARM)
    side.waited, first, began = 0.0, resident_mib(), time.perf_counter()
    side(steps)
    seconds = time.perf_counter() - began
    side.close()
    return {
        "steps": steps,
        "milliseconds": float(f"{1000 * seconds / steps:.4g}"),
        "waiting_share": float(f"{side.waited / seconds:.3g}"),
        "resident_mib": {
            "start": first["VmRSS"],
            "end": resident_mib()["VmRSS"],
            "highest_at_start": first["VmHWM"],
            "highest": resident_mib()["VmHWM"],
        },
    }


def images_read(run: Run, *, rounds: int) -> list[float]:
    """Images a second that a feed reads while nobody computes, chunk by chunk."""
    feed, shape, rates = Feed(run, step=0), chunk_shape(run), []
    feed.at(0)
    # What is read ahead at first would count for nothing.
    for number in range(1, 4 + rounds):
        began = time.perf_counter()
        feed.at(number * shape[0])
        rates.append(shape[0] * shape[1] * shape[2] / (time.perf_counter() - began))
    feed.close()
    return rates[3:]


def resident_mib() -> dict[str, int]:
    """What Linux says this process holds in memory now, and held at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":") for line in lines)
    return {name: int(values[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM")}


def measure(config: ConfigDict, settings: Mapping[str, object], *, rounds: int) -> None:
    """Prints all lines."""
    streamed = run_of(config, "stream")
    print_line("streaming", "epoch", settings, epochs(streamed, settings["epochs"]))
    rates = images_read(streamed, rounds=rounds)
    sides = {"memory": Side(run_of(config, "memory")), "stream": Side(streamed)}
    times = interleaved(sides, rounds=rounds)
    for side in sides.values():
        side.close()
    report("streaming", settings, times, against="memory", examples=streamed.task_examples)
    _, rows, examples, *_ = chunk_shape(streamed)
    needed = [1000 * rows * examples / one for one in times["memory"]]
    figures = {"images_per_second": spread(rates), "needed_in_memory": spread(needed)}
    print_line("streaming", "reading alone", settings, figures)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints JSON lines; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", default="", help="where CIFAR-100 is looked for first")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(arguments)
    config = load_config(str(EXPERIMENT), EXPERIMENT)
    config.data.dir = options.data_dir
    settings = {"data": config.data.name, "epochs": options.epochs, "rounds": options.rounds}
    measure(config, settings, rounds=options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
