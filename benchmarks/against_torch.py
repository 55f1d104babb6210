"""Our routed training step against a PyTorch one, in one process.

    pip install -c constraints.txt -e '.[bench]'
    python -m benchmarks.against_torch [--quick]

The extra adds PyTorch, whose Linux packages of the default index bring CUDA libraries of several
gigabytes; `pip install torch --index-url https://download.pytorch.org/whl/cpu` is enough here.

Both sides train the same layers on batches of the same sizes, decide for each example, and do all
of a step: draw, sort, forward, backward, SGD, policy. The PyTorch side is our own, see
`torch_network`, with two threads and, as small products may be faster so, with one.

Its own dense step, with one block a layer and no router, tells whether it is a fair opponent:
routing costs it one small product per used block and depth, so it comes within a factor of two only
where blocks get enough examples. Run this on an idle machine: PyTorch's two threads wait for each
other at every product, and are slowed far more than ours where another program takes a core.

For the first setting, 784-64-64 with 10 tasks and batch 256, our line also says how it stands to
the code that the authors of "Routing Networks" published: `AUTHORS_SAMPLES_PER_SECOND`, measured by
ourselves on one thread. That code is not run here, so this ratio is no comparison in one process.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import torch

from benchmarks.model_step import training_steps
from benchmarks.timing import Run, interleaved, print_line, spread
from benchmarks.torch_network import DenseNetwork, RoutedNetwork
from routing_jax.config import base_config
from routing_jax.models.factory import DataShape

OURS, TORCH, TORCH_ALONE, TORCH_DENSE = (
    "routing_jax",
    "torch routed, 2 threads",
    "torch routed, 1 thread",
    "torch dense, 2 threads",
)

AUTHORS_SAMPLES_PER_SECOND = 729
"""Median of our own measurement of the authors' code, one thread, in the first of `SETTINGS`."""


class Setting(NamedTuple):
    """One network and batch; as many tasks as blocks, three layers."""

    inputs: int
    width: int
    num_classes: int
    num_blocks: int
    batch: int

    @property
    def widths(self) -> list[int]:
        """Of the input and of each layer's output."""
        return [self.inputs, self.width, self.width, self.num_classes]


SETTINGS = (
    Setting(inputs=784, width=64, num_classes=2, num_blocks=10, batch=256),
    Setting(inputs=128, width=128, num_classes=5, num_blocks=10, batch=1024),
)


def ours(setting: Setting) -> Run:
    """Our side."""
    config = base_config()
    config.model.encoder, config.model.width = "flatten", setting.width
    config.optimizer.momentum, config.optimizer.schedule = 0.0, "constant"
    shape = DataShape(setting.num_blocks, setting.num_classes, (setting.inputs, 1, 1))
    return training_steps(config, shape, examples=setting.batch // setting.num_blocks)


def theirs(setting: Setting, *, threads: int = 2, dense: bool = False) -> Run:
    """PyTorch's side, routed or dense."""
    torch.manual_seed(0)
    examples = setting.batch // setting.num_blocks * setting.num_blocks
    x = torch.rand(examples, setting.inputs)
    labels = torch.randint(setting.num_classes, (examples,))
    if dense:
        network = DenseNetwork(setting.widths)
    else:
        blocks = setting.num_blocks
        network = RoutedNetwork(setting.widths, num_blocks=blocks, num_tasks=blocks)

    def run(steps: int) -> None:
        torch.set_num_threads(threads)
        for _ in range(steps):
            network.step(x, labels)

    return run


def measure(setting: Setting, *, rounds: int) -> None:
    """Prints a line for each side."""
    sides = {
        TORCH: theirs(setting),
        OURS: ours(setting),
        TORCH_ALONE: theirs(setting, threads=1),
        TORCH_DENSE: theirs(setting, dense=True),
    }
    times = interleaved(sides, rounds=rounds)
    examples = setting.batch // setting.num_blocks * setting.num_blocks
    for name, milliseconds in times.items():
        against = TORCH_DENSE if name == TORCH else TORCH
        pairs = zip(milliseconds, times[against], strict=True)
        samples = [1000 * examples / value for value in milliseconds]
        figures = {
            "milliseconds": spread(milliseconds),
            "ratio": spread([mine / other for mine, other in pairs]) | {"to": against},
            "samples_per_second": spread(samples),
            "torch": torch.__version__,
        }
        if name == OURS and setting == SETTINGS[0]:
            figures["ratio_to_authors"] = to_authors(samples)
        print_line("against_torch", name, setting._asdict() | {"batch": examples}, figures)


def to_authors(samples: Sequence[float]) -> dict[str, float | str]:
    """How many times as many samples in a second as the authors' code did, from our rounds."""
    name = f"authors' code, {AUTHORS_SAMPLES_PER_SECOND} samples/s, own measurement, one thread"
    return spread([value / AUTHORS_SAMPLES_PER_SECOND for value in samples]) | {"to": name}


def main() -> None:
    """Measures every setting and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one setting, within 50 s")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds a setting")
    arguments = parser.parse_args()
    for setting in SETTINGS[:1] if arguments.quick else SETTINGS:
        measure(setting, rounds=arguments.rounds)


if __name__ == "__main__":
    main()
