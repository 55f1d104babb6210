"""New tasks: what does a trained network have to learn for them if its blocks stay as they are?

Purpose: each of three systems is trained on the superclasses 0 to 14 of CIFAR-100, and then given
15 to 19 with 10, 50 or 500 images a class: by its route and head, by its head alone, or with all of
it from scratch on the new tasks. A shared trunk, which has no route, stands beside them. Routing
network, learned allocation and trunk have the same encoder and blocks; the compositional network
has its own.

Paper: no table of its own. The systems are those of Rosenbaum et al. 2018, Maziarz et al. 2019 and
Zhmoginov et al. 2021. For orientation, not the same tasks: 77.2 % is published for random tasks of
five classes of CIFAR that are taken up with frozen blocks.

Command: a source first (system=routing, gumbel, compositional, trunk), then tasks added to it, by
    route and head, or with --config.training.trainable=head by the head alone; or from scratch:
    python launch.py --config=experiments/new_tasks.py:system=gumbel --workdir=runs/new_tasks_gumbel
    python launch.py --mode=add_task --from=runs/new_tasks_gumbel --config.data.first_task=15 \
        --config.data.num_tasks=5 --config.training.steps=1000 --config.training.eval_every=250 \
        --sweep=data.examples_per_class=10,50,500 --sweep=seed=0:3 \
        --workdir=runs/new_tasks_gumbel_route
    python launch.py --config=experiments/new_tasks.py:system=gumbel,row=scratch \
        --sweep=data.examples_per_class=10,50,500 --sweep=seed=0:3 \
        --workdir=runs/new_tasks_gumbel_scratch
    python -m routing_jax.reporting.tables --commands prints those of all rows.

Expected: with 50 images a class, three seeds each, route and head, head alone, from scratch:
    routing 47.2, 41.3, 51.8 %; gumbel 54.2, 54.0, 53.6 %; compositional 48.7, 47.8, 48.3 %; trunk
    51.1 % (head) and 49.6 % (results/new_tasks_*_50.json). All sizes stand in BUILD_NOTES.md.

Minutes: 17 to 28 for a source, 0.3 to 6 for a seed of a row, on one CPU core.
"""

import ml_collections

from routing_jax.config import base_config
from routing_jax.experiment import choose
from routing_jax.presets import COMPOSITIONAL, ROUTING_NETWORK, SWITCHES

_DENSE = ROUTING_NETWORK | {
    "model.head": "own",
    "model.num_blocks": 15,
    # As chosen on held-out images for CIFAR-MTL: results/cifar_mtl_tuning.json.
    "optimizer.learning_rate": 0.2,
    "optimizer.l2": 5e-4,
}
_SYSTEMS = {
    "routing": _DENSE,
    "gumbel": _DENSE
    | SWITCHES
    | {
        "router.learning_rate": 1e-2,
        "optimizer.learning_rate": 1e-3,
        "optimizer.l2": 0.0,
    },
    "compositional": COMPOSITIONAL | {"training.eval_every": 250},
    "trunk": _DENSE
    | {"model.num_blocks": None, "router.policy": "fixed", "router.routes": "shared"},
}
_ROWS = {
    "source": {},
    "scratch": {
        "data.first_task": 15,
        "data.num_tasks": 5,
        "training.epochs": None,
        "training.steps": 1000,
        "training.eval_every": 250,
    },
}
_CHOICES = {"system": _SYSTEMS, "row": _ROWS}


def get_config(arg: str = "system=routing") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "system=gumbel,row=scratch".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "new_tasks"
    config.data.name = "cifar100"
    config.data.tasks = "superclass"
    config.data.num_tasks = 15
    config.data.augment = "crop_flip"
    config.training.examples_per_task = 16
    choose(config, arg, _CHOICES)
    return config
