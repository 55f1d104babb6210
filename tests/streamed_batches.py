"""Writes the streamed batches of the first steps: python streamed_batches.py ADDRESS COUNT ID OUT.

One of COUNT processes, each of which reads its part of a batch. The data are CIFAR-100, or what is
prepared under that name.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from routing_jax.data import loading
from routing_jax.experiment import load_config
from routing_jax.mesh import make_mesh
from routing_jax.training.run import make_run
from routing_jax.training.streamed import Feed

STEPS = 3


def main(address: str, count: str, number: str, out: str) -> None:
    jax.distributed.initialize(address, int(count), int(number))
    config = load_config("experiments/cifar_mtl.py", Path("experiments"))
    config.data.input, config.data.fallback = "stream", "none"
    config.training.epochs, config.training.steps = None, STEPS
    tasks = loading.load(config.data, say=lambda _: None)
    feed = Feed(make_run(config, tasks, make_mesh({"data": int(count)})), step=0)
    images = feed.at(0).images.images
    feed.close()
    (mine,) = images.addressable_shards
    assert mine.data.shape[2] == config.training.examples_per_task // int(count)
    whole = multihost_utils.process_allgather(images, tiled=True)
    if int(number) == 0:
        np.save(out, whole)


if __name__ == "__main__":
    main(*sys.argv[1:])
