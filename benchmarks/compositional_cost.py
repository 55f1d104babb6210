"""What mixing parameters costs: a training step against the network of independent blocks.

    python -m benchmarks.compositional_cost [--quick]

Both sides are whole steps of `experiments/compositional_mtl.py` on random images of CIFAR's shape:
twenty tasks, one resolution and width, equal depth, equal stem, end and heads. The independent
blocks are one for each depth, which all tasks share: their products have no task axis. Mixing the
outputs of the two templates, and a mixture that all tasks share, stand beside them.
"""

import argparse
import runpy
from pathlib import Path

from ml_collections import ConfigDict

from benchmarks.model_step import training_steps
from benchmarks.timing import interleaved, report
from routing_jax.models.factory import DataShape

ROOT = Path(__file__).resolve().parents[1]
SHAPE = DataShape(20, 5, (32, 32, 3))
PLAIN = "independent blocks"
SIDES = {
    PLAIN: "baseline=independent_blocks",
    "mixed parameters": "",
    "one mixture for all tasks": "baseline=shared_trunk",
    "mixed outputs": "apply=mix_outputs",
}


def experiment(arg: str) -> ConfigDict:
    """The configuration of a side."""
    path = ROOT / "experiments" / "compositional_mtl.py"
    return runpy.run_path(str(path))["get_config"](arg)


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds of the first two sides")
    parser.add_argument("--rounds", type=int, help="measured rounds (7; quick: 3)")
    parser.add_argument("--examples", type=int, default=16, help="of each task in a step (n)")
    chosen = parser.parse_args(arguments)
    rounds = chosen.rounds or (3 if chosen.quick else 7)
    names = list(SIDES)[: 2 if chosen.quick else None]
    configs = {name: experiment(SIDES[name]) for name in names}
    sides = {
        name: training_steps(config, SHAPE, examples=chosen.examples)
        for name, config in configs.items()
    }
    model, batch = configs["mixed parameters"].model, SHAPE.num_tasks * chosen.examples
    settings = {"num_tasks": SHAPE.num_tasks, "num_blocks": model.num_blocks, "batch": batch}
    settings |= {name: model[name] for name in ("depth", "width", "resolution", "statistics")}
    report(
        "compositional_step_cost",
        settings,
        interleaved(sides, rounds=rounds),
        against=PLAIN,
        examples=batch,
    )


if __name__ == "__main__":
    main()
