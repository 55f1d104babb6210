"""What a routed training step costs against a dense one that computes only one path.

    python -m benchmarks.step_cost [--quick] [--strategies=auto,grouped,ragged,dense]

Both sides train three fully connected layers on the same batch with the same loss and plain SGD, in
a compiled loop. The routed side draws an action per example (or per task), sends each example
through its chosen blocks, and updates blocks and policy: all that a routed step does.

There is a task for each block unless a setting says otherwise, and every task has as many examples,
so that a step can have a few examples less than asked for: a line's `batch` is what both sides did.
Policies are uniform; two rows of the full grid have policies that are certain instead, which makes
slots as unequal as they can be. The full grid has five rounds, for about ten minutes on two idle
cores.

All blocks are computed with the library for products and sums that is faster for them; the others
with the one that training would take.

`--strategies` measures one side for each strategy of dispatch named, at every setting; without it
there are `auto` and, up to 20 blocks, all blocks (`dense`).
"""

import argparse
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.model_step import looped, random_batch, training_steps
from benchmarks.timing import Run, interleaved, report
from routing_jax.config import base_config
from routing_jax.config_fields import DISPATCH_STRATEGIES
from routing_jax.models.factory import DataShape
from routing_jax.training.products_on_cpu import ALL_EIGEN

CLASSES, DEPTH = 5, 3
DENSE = "dense one path"
STRATEGIES = tuple(name for name in DISPATCH_STRATEGIES if name != "gather")
"""Those that serve an action per example; `gather` is what `auto` takes for one per task."""
ROUTINGS = ("even", "one_each", "one_block")


class Setting(NamedTuple):
    """One row of the table."""

    num_blocks: int
    width: int
    batch: int
    """Examples asked for; see `examples`."""
    decision_per: str = "example"
    inputs: int | None = None
    """Features of the first layer's input; None for `width`."""
    routing: str = "even"
    """What policies are: "even" = uniform, "one_each" = task t always takes block t (mod K),
    "one_block" = all tasks always take block 0."""
    num_tasks: int | None = None
    """None for one per block, as far as every task gets four examples."""

    @property
    def tasks(self) -> int:
        """T."""
        return self.num_tasks or min(self.num_blocks, self.batch // 4)

    @property
    def examples(self) -> int:
        """B, examples of a step: the most that all tasks have as many of."""
        return self.batch // self.tasks * self.tasks

    @property
    def shape(self) -> DataShape:
        """Of the data."""
        return DataShape(self.tasks, CLASSES, ((self.inputs or self.width) // 8, 8, 1))

    def described(self) -> dict[str, int | str]:
        """What a line says of it."""
        true = {"batch": self.examples, "inputs": self.inputs or self.width}
        return self._asdict() | true | {"num_tasks": self.tasks}


def routed(setting: Setting, strategy: str) -> Run:
    """The routed side."""
    config = base_config()
    config.model.encoder, config.model.width = "flatten", setting.width
    config.model.num_blocks, config.dispatch.strategy = setting.num_blocks, strategy
    config.router.decision_per = setting.decision_per
    config.optimizer.momentum, config.optimizer.schedule = 0.0, "constant"
    return training_steps(
        config,
        setting.shape,
        examples=setting.examples // setting.tasks,
        table=table_of(setting),
        libraries=(None, ALL_EIGEN) if strategy == "dense" else (None,),
    )


def table_of(setting: Setting) -> jax.Array | None:
    """Policies [T, D, K] of certain choices, which learning leaves as they are; None for even."""
    if setting.routing == "even":
        return None
    tasks = jnp.arange(setting.tasks)
    blocks = tasks % setting.num_blocks if setting.routing == "one_each" else 0 * tasks
    certain = jax.nn.one_hot(blocks, setting.num_blocks)
    return jnp.repeat(certain[:, None], DEPTH, axis=1)


def dense(setting: Setting) -> Run:
    """The dense side: one block a layer, for all examples; no router."""
    images, labels = random_batch(setting.shape, setting.examples // setting.tasks)
    x = images.reshape(labels.size, -1).astype(jnp.float32) / 255
    targets = labels.reshape(-1)
    widths = [x.shape[1], setting.width, setting.width, CLASSES]
    keys = jax.random.split(jax.random.key(0), 3)
    params = [
        (jax.random.normal(k, (a, b)) / a**0.5, jnp.zeros(b))
        for k, a, b in zip(keys, widths, widths[1:], strict=False)
    ]

    def loss_of(params):
        hidden = x
        for kernel, bias in params[:-1]:
            hidden = jax.nn.relu(hidden @ kernel + bias[None])
        logits = hidden @ params[-1][0] + params[-1][1][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    def step(_, params):
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, jax.grad(loss_of)(params))

    return looped(step, params)


def settings(*, quick: bool) -> list[Setting]:
    """The rows of the table."""
    if quick:
        return [Setting(10, 128, 1024)]
    rows = [
        Setting(*row)
        for row in itertools.product((5, 10, 20, 40, 160), (64, 128, 512), (256, 1024))
    ]
    # Few blocks, of which all could as well be computed.
    rows += [Setting(*row) for row in itertools.product((2, 3), (64, 128), (256, 1024))]
    rows += [Setting(10, 128, 1024, "task"), Setting(10, 64, 256, inputs=784)]
    return rows + [Setting(10, 128, 1024, routing=routing) for routing in ROUTINGS[1:]]


def measure(setting: Setting, strategies: Sequence[str], *, rounds: int) -> None:
    """Prints a line for each side of one setting."""
    sides = {DENSE: dense(setting)}
    for strategy in strategies:
        name = "all blocks" if strategy == "dense" else strategy
        sides[name] = routed(setting, strategy)
    times = interleaved(sides, rounds=rounds)
    report("step_cost", setting.described(), times, against=DENSE, examples=setting.examples)


def measure_more_blocks(*, rounds: int) -> None:
    """Prints what a step costs with more blocks, for the same tasks and batch."""
    same = Setting(10, 128, 1024, num_tasks=16)
    sides = {
        f"K = {blocks}": routed(same._replace(num_blocks=blocks), "auto")
        for blocks in (10, 40, 160)
    }
    described = same.described()
    del described["num_blocks"]
    times = interleaved(sides, rounds=rounds)
    report("step_cost", described, times, against="K = 10", examples=same.examples)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures every setting and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one setting, within 50 s")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds a setting")
    parser.add_argument(
        "--strategies", type=_strategies, help=f"sides, some of {','.join(STRATEGIES)}"
    )
    options = parser.parse_args(arguments)
    for setting in settings(quick=options.quick):
        both = setting.num_blocks <= 20 and not options.quick
        default = ("auto", "dense") if both else ("auto",)
        measure(setting, options.strategies or default, rounds=options.rounds)
    if not options.quick and not options.strategies:
        measure_more_blocks(rounds=options.rounds)


def _strategies(names: str) -> list[str]:
    """Strategies of a list with commas."""
    found = names.split(",")
    for name in found:
        if name not in STRATEGIES:
            allowed = ", ".join(STRATEGIES)
            raise argparse.ArgumentTypeError(f"{name!r} is none of {allowed}")
    return found


if __name__ == "__main__":
    main()
