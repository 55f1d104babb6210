"""A trained isometric network without a block, with two swapped, and with one twice.

All blocks of an isometric network have the same shape, so that any order of them is a network too.
How much each block of a run on CIFAR-MTL is missed, before and after one more epoch of training:
`python -m benchmarks.block_edits <workdir>`.

    python examples/edited_blocks.py
"""

import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import routing_jax as rj
from routing_jax.export import trained
from routing_jax.models.block_edits import add_block, remove_block, reorder_blocks
from routing_jax.models.factory import DataShape, make_model
from routing_jax.presets import COMPOSITIONAL, GIVEN_BLOCKS

DEPTH = 4


def digits():
    """Which digit, and whether it is odd."""
    found = load_digits()
    images, labels = (found.images[..., None] * 15).astype(np.uint8), found.target

    def both_of(images, labels):
        return {"digit": (images, labels), "odd": (images, labels % 2)}

    return rj.task_set(
        "digits_and_parity",
        train=both_of(images[:1400], labels[:1400]),
        test=both_of(images[1400:], labels[1400:]),
    )


def isometric():
    """One block a depth, which both tasks share."""
    config = rj.base_config()
    config.experiment = "edited_blocks"
    config.update_from_flattened_dict(COMPOSITIONAL | GIVEN_BLOCKS)
    config.data.augment = "none"
    config.router.routes = "shared"
    config.model.update({"encoder": "plain", "depth": DEPTH, "width": 16})
    config.training.update({"epochs": None, "steps": 200, "examples_per_task": 32})
    return config


def accuracy(config, tasks, variables, depth=DEPTH):
    """Mean over tasks of the share of right answers of the network of so many blocks."""
    config = config.copy_and_resolve_references()
    config.model.depth = depth
    shape = DataShape(tasks.num_tasks, tasks.num_classes, tasks.image_shape)
    model = make_model(config, shape, block_noise=0.0)

    @jax.jit
    def answer(variables, images):
        x = model.apply(variables, images, train=False, method="encode")
        both = jnp.broadcast_to(x, (tasks.num_tasks, *x.shape))
        return model.apply(variables, both, method="route").logits.argmax(-1)

    test = tasks.test
    return float((answer(variables, test.images) == test.labels).mean())


def main():
    config, tasks = isometric(), digits()
    with tempfile.TemporaryDirectory() as scratch:
        rj.train(config, tasks, workdir=f"{scratch}/run")
        variables = trained.read(f"{scratch}/run", tasks).variables
    found = {
        "as trained": accuracy(config, tasks, variables),
        "without the first": accuracy(config, tasks, remove_block(variables, 0), DEPTH - 1),
        "the last two swapped": accuracy(config, tasks, reorder_blocks(variables, [0, 1, 3, 2])),
        "the last twice": accuracy(
            config, tasks, add_block(variables, DEPTH, copy_of=DEPTH - 1), DEPTH + 1
        ),
    }
    for name, share in found.items():
        print(f"{name}: {share:.1%}")
    return found


if __name__ == "__main__":
    main()
