"""What a routed training step costs against a dense one that computes only one path.

    python -m benchmarks.step_cost [--quick]

Both sides train three fully connected layers on the same batch with the same loss and plain SGD, in
a compiled loop. The routed side draws an action per example (or per task), sends each example
through its chosen blocks, and updates blocks and policy: all that a routed step does.
"""

import argparse
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.timing import Run, interleaved, report
from routing_jax.config import base_config
from routing_jax.models.factory import DataShape, make_model
from routing_jax.rl.rewards import correctness
from routing_jax.training.optimizers import make_optimizer
from routing_jax.training.state import hyperparams
from routing_jax.types import Exploration, Params, Trajectory

CLASSES = 5


class Setting(NamedTuple):
    """One row of the table."""

    num_blocks: int
    width: int
    batch: int
    decision_per: str = "example"
    inputs: int | None = None
    """Features of the first layer's input; None for `width`."""


def batch_of(setting: Setting) -> tuple[jax.Array, jax.Array]:
    """Random uint8 images [T, n, inputs / 8, 8, 1] and labels [T, n], with one task a block."""
    tasks = min(setting.num_blocks, setting.batch // 4)
    shape = (tasks, setting.batch // tasks)
    inputs = setting.inputs or setting.width
    image_key, label_key = jax.random.split(jax.random.key(0))
    images = jax.random.bits(image_key, (*shape, inputs // 8, 8, 1), jnp.uint8)
    return images, jax.random.randint(label_key, shape, 0, CLASSES)


def looped(step: Callable[[object, jax.Array], object], start: object) -> Run:
    """A compiled loop over steps; a step takes a state and its number."""
    loop = jax.jit(lambda steps: jax.lax.fori_loop(0, steps, lambda i, s: step(s, i), start))
    return lambda steps: loop(jnp.int32(steps))


def routed(setting: Setting, strategy: str) -> Run:
    """The routed side."""
    images, labels = batch_of(setting)
    config = base_config()
    config.model.encoder, config.model.width = "flatten", setting.width
    config.model.num_blocks, config.dispatch.strategy = setting.num_blocks, strategy
    config.router.decision_per = setting.decision_per
    config.optimizer.momentum, config.optimizer.schedule = 0.0, "constant"
    shape = DataShape(images.shape[0], CLASSES, images.shape[2:])
    model = make_model(config, shape, block_noise=1.0)
    optimizer = make_optimizer(config, model.router, hyperparams(config), total_steps=1)
    key = jax.random.key(0)
    explore = {"exploration": Exploration()}
    params = model.init({"params": key, "router": key}, images, **explore)["params"]

    def loss_of(params: Params, step_key: jax.Array):
        result = model.apply({"params": params}, images, **explore, rngs={"router": step_key})
        losses = optax.softmax_cross_entropy_with_integer_labels(result.logits, labels)
        return losses.mean(), result

    def step(carry, number):
        params, state = carry
        gradients, result = jax.grad(loss_of, has_aux=True)(params, jax.random.fold_in(key, number))
        trajectory = Trajectory(
            result.decisions,
            jnp.zeros(result.decisions.actions.shape),
            correctness(result.logits, labels),
            jnp.ones(labels.shape),
        )
        updates, state = optimizer.update(gradients, state, params, trajectory=trajectory)
        return optax.apply_updates(params, updates), state

    return looped(step, (params, optimizer.init(params)))


def dense(setting: Setting) -> Run:
    """The dense side: one block a layer, for all examples; no router."""
    images, labels = batch_of(setting)
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
            hidden = jax.nn.relu(hidden @ kernel + bias)
        logits = hidden @ params[-1][0] + params[-1][1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    def step(params, _):
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
    return [*rows, Setting(10, 128, 1024, "task"), Setting(10, 64, 256, inputs=784)]


def measure(setting: Setting, *, rounds: int, all_blocks: bool) -> None:
    """Prints a line for each side of one setting."""
    sides = {"dense one path": dense(setting), "auto": routed(setting, "auto")}
    if all_blocks:
        sides["all blocks"] = routed(setting, "dense")
    times = interleaved(sides, rounds=rounds)
    examples = batch_of(setting)[1].size
    report("step_cost", setting._asdict(), times, against="dense one path", examples=examples)


def measure_more_blocks(*, rounds: int) -> None:
    """Prints what a step costs with more blocks, and as many tasks, on the same batch."""
    sides = {
        f"K = {blocks}": routed(Setting(blocks, 128, 1024), "auto") for blocks in (10, 40, 160)
    }
    times = interleaved(sides, rounds=rounds)
    report("step_cost", {"width": 128, "batch": 1024}, times, against="K = 10")


def main() -> None:
    """Measures every setting and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one setting, within 50 s")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds a setting")
    arguments = parser.parse_args()
    for setting in settings(quick=arguments.quick):
        all_blocks = setting.num_blocks <= 20 and not arguments.quick
        measure(setting, rounds=arguments.rounds, all_blocks=all_blocks)
    if not arguments.quick:
        measure_more_blocks(rounds=arguments.rounds)


if __name__ == "__main__":
    main()
