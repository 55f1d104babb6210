"""What a training step costs as tasks become more: routed, fixed and cross-stitch.

    python -m benchmarks.task_scaling [--quick] > task_scaling.jsonl
    python -m benchmarks.scaling_figure task_scaling.jsonl docs/task_scaling.png

5 to 80 tasks with as many blocks, three fully connected layers of width 128 and 5 classes, momentum
SGD. Two parts: the routed layers alone on random representations of 128 features, and the whole
network, with the four-layer convolutional encoder on random 32x32 colour images. Two batches: 16
examples of each task, and 320 examples in all. `routed` decides for each example, as the paper
does; `routed per task` once per task and step. `one block` has a single block a layer for all
tasks: no routing can be cheaper, so one minus its `ratio_to_cross_stitch` is the most that routing
can save.

A cross-stitch network keeps what all columns made of all examples, which at 80 tasks outgrows a
processor's caches: there its cost grows faster than its arithmetic.

A line's `ratio` compares the cost per example with that of the same system at the fewest tasks, and
`ratio_to_cross_stitch` the cost per step with the cross-stitch network on the same batch. All
systems and numbers of tasks of a table take turns in every round, and ratios are taken round by
round.
"""

import argparse
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from benchmarks.model_step import training_steps
from benchmarks.timing import Run, interleaved, print_line, spread
from routing_jax.config import base_config, validate
from routing_jax.models.factory import DataShape

TASKS = (5, 10, 20, 40, 80)
CLASSES, WIDTH = 5, 128
EXAMPLES_PER_TASK, EXAMPLES_PER_STEP = 16, 320
SYSTEMS = {
    "routed": {},
    "routed per task": {"router.decision_per": "task"},
    "task-specific": {"router.policy": "fixed"},
    "one block": {"router.policy": "fixed", "router.routes": "shared"},
    "cross-stitch": {"model.name": "cross_stitch"},
}


class Table(NamedTuple):
    """Numbers that belong together: one side is a system at a number of tasks."""

    part: str
    """"routed layers" or "whole network"."""
    fixed: str
    """"examples per task" or "examples per step"."""
    tasks: tuple[int, ...] = TASKS

    def examples(self, tasks: int) -> int:
        """n, examples of each task in a step."""
        return EXAMPLES_PER_STEP // tasks if self.fixed.endswith("step") else EXAMPLES_PER_TASK


def side(table: Table, system: str, tasks: int) -> Run:
    """The compiled steps of one system at a number of tasks."""
    whole = table.part == "whole network"
    image = (32, 32, 3) if whole else (WIDTH // 8, 8, 1)
    config = _config(SYSTEMS[system], encoder="conv4" if whole else "flatten")
    shape = DataShape(tasks, CLASSES, image)
    return training_steps(config, shape, examples=table.examples(tasks))


def measure(table: Table, *, rounds: int) -> None:
    """Prints a line for each system and number of tasks."""
    names = list(itertools.product(SYSTEMS, table.tasks))
    sides = {f"{system}, {tasks}": side(table, system, tasks) for system, tasks in names}
    times = interleaved(sides, rounds=rounds)
    for system, tasks in names:
        line = times[f"{system}, {tasks}"]
        fewest, batch = table.tasks[0], tasks * table.examples(tasks)
        # The cost of as many examples as this side has, at the price of the fewest tasks.
        scale = batch / (fewest * table.examples(fewest))
        at_fewest = [scale * value for value in times[f"{system}, {fewest}"]]
        settings = {"part": table.part, "fixed": table.fixed, "num_tasks": tasks}
        settings |= {"num_blocks": tasks, "width": WIDTH, "batch": batch}
        figures = {
            "milliseconds": spread(line),
            "microseconds_per_example": spread([1000 * value / batch for value in line]),
            "ratio": ratio(line, at_fewest) | {"to": f"{fewest} tasks, per example"},
            "ratio_to_cross_stitch": ratio(line, times[f"cross-stitch, {tasks}"]),
        }
        examples = {"examples_per_task": table.examples(tasks)}
        print_line("task_scaling", system, settings | examples, figures)


def ratio(mine: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """Ratios of two sides, taken round by round."""
    return spread([one / other for one, other in zip(mine, others, strict=True)])


def tables(*, quick: bool) -> list[Table]:
    """What is measured."""
    if quick:
        return [Table("routed layers", "examples per task", (5, 20))]
    return [
        Table(part, fixed)
        for part in ("routed layers", "whole network")
        for fixed in ("examples per task", "examples per step")
    ]


def main() -> None:
    """Measures every table and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one table, within 50 s")
    parser.add_argument("--rounds", type=int, help="measured rounds a table (7; quick: 3)")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (3 if arguments.quick else 7)
    for table in tables(quick=arguments.quick):
        measure(table, rounds=rounds)


def _config(values: dict[str, object], *, encoder: str) -> ConfigDict:
    config = base_config()
    config.model.encoder, config.model.width = encoder, WIDTH
    config.optimizer.schedule = "constant"
    for name, value in values.items():
        group, leaf = name.split(".")
        config[group][leaf] = value
    validate(config)
    return config


if __name__ == "__main__":
    main()
