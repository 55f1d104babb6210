"""What learned allocation costs: a step against a plain sum, evaluation against the share off.

    python -m benchmarks.gumbel_cost [--quick]

The network of `experiments/gumbel_mnist.py` on random images: four tasks, three layers of four
small convolutions, a head for each task. The plain side of a step is written by hand: the same
components one after the other, added up with fixed weights, the same loss and Adam; no switches, no
sampling, no penalty, nothing reported.

Evaluation runs the switched network on 1,000 examples of each task with all blocks on, and with a
half and a quarter of them on for each task.
"""

import argparse
import runpy
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from benchmarks.model_step import looped, random_batch, training_steps
from benchmarks.timing import Run, interleaved, report
from routing_jax.models.factory import DataShape, make_model
from routing_jax.models.gumbel_matrix import GumbelMatrixNetwork
from routing_jax.routers.allocation import FixedAllocation
from routing_jax.types import Exploration, Params

ROOT = Path(__file__).resolve().parents[1]
SHAPE = DataShape(4, 10, (28, 28, 1))
EXAMPLES, EVALUATED = 16, 1000
PLAIN, ALL_ON = "plain sum", "all blocks on"


def experiment() -> ConfigDict:
    """The configuration of the experiment."""
    return runpy.run_path(str(ROOT / "experiments" / "gumbel_mnist.py"))["get_config"]()


def model_and_params(config: ConfigDict) -> tuple[GumbelMatrixNetwork, Params]:
    """The network and its parameters."""
    model = make_model(config, SHAPE, block_noise=1.0)
    key = jax.random.key(0)
    images = jnp.zeros((SHAPE.num_tasks, 1, *SHAPE.image), jnp.uint8)
    variables = model.init({"params": key, "router": key}, images, exploration=Exploration())
    return model, variables["params"]


def plain_loss(model: GumbelMatrixNetwork) -> Callable[[Params, jax.Array], jax.Array]:
    """The loss of the same components with all weights equal, by hand: of parameters and a key."""
    images, labels = random_batch(SHAPE, EXAMPLES)

    def loss_of(params: Params, step_key: jax.Array) -> jax.Array:
        x = images.reshape(-1, *SHAPE.image).astype(jnp.float32) / 255
        for depth, bank in enumerate(model.banks):
            blocks = params[f"banks_{depth}"]["blocks"]
            outputs = [
                bank.apply_block(jax.tree.map(lambda leaf, k=k: leaf[k], blocks), x)
                for k in range(bank.num_blocks)
            ]
            x = sum(outputs) / len(outputs)
        x = x.reshape(SHAPE.num_tasks, EXAMPLES, -1)
        x = jnp.where(jax.random.bernoulli(step_key, 0.5, x.shape), 2 * x, 0)
        head = params["head"]["blocks"]["Dense_0"]
        logits = jnp.einsum("tnf,tfc->tnc", x, head["kernel"]) + head["bias"][:, None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return loss_of


def plain_steps(config: ConfigDict) -> Run:
    """A training step over the same components, by hand."""
    model, params = model_and_params(config)
    params = {name: value for name, value in params.items() if name != "router"}
    optimizer, key = optax.adam(config.optimizer.learning_rate), jax.random.key(0)
    loss_of = plain_loss(model)

    def step(number: jax.Array, carry: tuple[Params, optax.OptState]):
        params, state = carry
        gradients = jax.grad(loss_of)(params, jax.random.fold_in(key, number))
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return looped(step, (params, optimizer.init(params)))


def evaluations(config: ConfigDict, blocks_on: int) -> Run:
    """Runs all tasks with so many of the four blocks on at each depth, others for each task."""
    model, params = model_and_params(config)
    blocks = config.model.num_blocks
    switches = tuple(
        ((tuple(int((k - task) % blocks < blocks_on) for k in range(blocks)),) * config.model.depth)
        for task in range(SHAPE.num_tasks)
    )
    model = model.clone(router=FixedAllocation(switches))
    params = {name: value for name, value in params.items() if name != "router"}
    x = random_batch(SHAPE, EVALUATED)[0].astype(jnp.float32) / 255

    def evaluate(_: jax.Array, x: jax.Array) -> jax.Array:
        logits = model.apply({"params": params}, x, method="route").logits
        # Ties a turn of the loop to the one before.
        return x + 1e-9 * logits.mean()

    return looped(evaluate, x)


def main() -> None:
    """Measures and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds, within 50 s")
    parser.add_argument("--rounds", type=int, help="measured rounds (7; quick: 3)")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (3 if arguments.quick else 7)
    config = experiment()
    batch = SHAPE.num_tasks * EXAMPLES
    settings = {"num_tasks": SHAPE.num_tasks, "num_blocks": config.model.num_blocks}
    routed = training_steps(config, SHAPE, examples=EXAMPLES)
    steps = {PLAIN: plain_steps(config), "gumbel_matrix": routed}
    times = interleaved(steps, rounds=rounds)
    report("gumbel_step_cost", settings | {"batch": batch}, times, against=PLAIN, examples=batch)
    sides = {ALL_ON: evaluations(config, 4)}
    sides |= {f"{count} of 4 blocks on": evaluations(config, count) for count in (2, 1)}
    times = interleaved(sides, rounds=rounds)
    settings["batch"] = SHAPE.num_tasks * EVALUATED
    report("gumbel_evaluation_cost", settings, times, against=ALL_ON)


if __name__ == "__main__":
    main()
