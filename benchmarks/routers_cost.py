"""What a training step costs with every agent, policy and rule.

    python -m benchmarks.routers_cost [--quick] [--routed_part]

Each side is a whole step of the shape of CIFAR-MTL: 20 tasks with 16 examples each, the
convolutional encoder, three routed layers of 20 blocks of width 128, on random images. The side
that the others are compared with is the Weighted Policy Learner with one table per task.
"""

import argparse
import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.timing import Run, interleaved, report
from routing_jax.config import base_config, validate
from routing_jax.config_fields import ROUTER_AGENTS, ROUTER_POLICIES, ROUTER_RULES
from routing_jax.errors import ConfigError
from routing_jax.models.factory import DataShape
from routing_jax.training.program import Program
from routing_jax.training.state import hyperparams
from routing_jax.types import MultiTaskData

TASKS, EXAMPLES, CLASSES, POOL = 20, 16, 5, 64
REFERENCE = "per_task tabular wpl"
LEARNED = [policy for policy in ROUTER_POLICIES if policy != "fixed"]
SIDES_AT_ONCE = 6
"""Sides measured against one run of the reference, so that both see the same machine."""


def configs(*, routed_part: bool) -> Iterator[tuple[str, ConfigDict]]:
    """Every combination that goes together, by name."""
    for agent, policy, rule in itertools.product(ROUTER_AGENTS, LEARNED, ROUTER_RULES):
        config = base_config()
        config.router.agent, config.router.policy, config.router.rule = agent, policy, rule
        config.training.examples_per_task = EXAMPLES
        if routed_part:
            config.model.encoder = "flatten"
        try:
            validate(config)
        except ConfigError:
            continue
        yield f"{agent} {policy} {rule}", config


def random_data(image: tuple[int, ...]) -> MultiTaskData:
    """Images of no meaning, the same number for every task."""
    image_key, label_key = jax.random.split(jax.random.key(0))
    return MultiTaskData(
        images=jax.random.bits(image_key, (TASKS * POOL, *image), jnp.uint8),
        index=jnp.arange(TASKS * POOL).reshape(TASKS, POOL),
        labels=jax.random.randint(label_key, (TASKS, POOL), 0, CLASSES),
        sizes=jnp.full(TASKS, POOL),
    )


def stepping(config: ConfigDict, image: tuple[int, ...]) -> Run:
    """A compiled loop over training steps."""
    shape, hyper, data = DataShape(TASKS, CLASSES, image), hyperparams(config), random_data(image)
    program = Program(config, shape, total_steps=10**6)
    start = jax.jit(program.init)(hyper, data)
    segment = jax.jit(program.segment)
    return lambda steps: segment(start, hyper, data, data, jnp.int32(steps), jnp.asarray(False))


def main() -> None:
    """Measures every side and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="per-task agents alone")
    parser.add_argument(
        "--routed_part", action="store_true", help="no encoder: 128 features straight to the blocks"
    )
    parser.add_argument("--only", default="", help="sides whose name has this in it")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds a side")
    arguments = parser.parse_args()
    image = (16, 8, 1) if arguments.routed_part else (32, 32, 3)
    wanted = dict(configs(routed_part=arguments.routed_part))
    reference = stepping(wanted.pop(REFERENCE), image)
    names = [
        name
        for name in wanted
        if arguments.only in name and (name.startswith("per_task") or not arguments.quick)
    ]
    settings = {"tasks": TASKS, "examples_per_task": EXAMPLES, "num_blocks": TASKS, "width": 128}
    settings |= {"depth": 3, "encoder": "flatten" if arguments.routed_part else "conv4"}
    for first in range(0, len(names), SIDES_AT_ONCE):
        sides = {name: stepping(wanted[name], image) for name in names[first:][:SIDES_AT_ONCE]}
        times = interleaved({REFERENCE: reference} | sides, rounds=arguments.rounds)
        report("routers_cost", settings, times, against=REFERENCE)


if __name__ == "__main__":
    main()
