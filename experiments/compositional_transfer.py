"""Transfer: a trained bank of blocks learns new tasks from few images.

Purpose: what has to be trained when new tasks come? A compositional network is trained on the
superclasses 0 to 14 of CIFAR-100. Then 15 to 19 are learned from 10, 50 or 500 images a class, each
time by fewer or more of its parameters: the heads alone, heads and mixing weights (so the order of
computation, but no block), everything, or everything from scratch.

Paper: Zhmoginov, Bashkirova, Sandler, "Compositional Models: Multi-Task Learning and Knowledge
Transfer with Modular Networks", 2021; the sets of parameters are those of a co-author's code. None
of the paper's numbers is known to us. Running averages move in every row, so that rows differ in
what learns alone.

Command: the source first, then a row from it:
    python launch.py --config=experiments/compositional_transfer.py
    python launch.py --config=experiments/compositional_transfer.py:row=mixing,images=50 \
        --workdir=runs/transfer_mixing_50
    Rows: head, mixing (with heads), all, scratch. Images a class: 10, 50, 500. They start from
    runs/compositional_transfer; another source is named with --config.training.init_from.

Expected: with 50 images a class 48.67 ± 0.22 % (head), 49.21 ± 0.60 % (mixing), 49.31 ± 0.37 %
    (all) and 48.28 ± 0.30 % (scratch), three seeds each: level
    (results/compositional_transfer_*_50.json; scratch: new_tasks_compositional_scratch_50.json).
    Aimed at was mixing at least 3 points above head. With 10 images a class 39.9 ± 0.3 % (head),
    39.5 ± 0.4 % (mixing), 39.1 ± 0.7 % (all), 36.8 ± 0.5 % (scratch; *_10.json),
    with 500 52.9 ± 0.5, 53.2 ± 0.6, 60.0 ± 0.1 and 57.3 ± 0.1 % (*_500.json). With eight
    templates (--config.model.num_blocks=8 for source and rows, which then start from that one)
    and 50 images 47.7 ± 0.4 % (head), 49.2 ± 0.3 % (mixing) and 51.6 ± 0.6 % (all;
    results/compositional_transfer_8_*_50.json).

Minutes: 28 for the source and 1 to 4 for a seed of a row, on one CPU core beside other work.
"""

import ml_collections

from routing_jax.config import base_config
from routing_jax.experiment import choose
from routing_jax.presets import COMPOSITIONAL

_SOURCE = {"data.num_tasks": 15}
_TARGET = {
    "data.first_task": 15,
    "data.num_tasks": 5,
    "training.epochs": None,
    "training.steps": 1000,
    "training.eval_every": 100,
}
_FROM_SOURCE = _TARGET | {"training.init_from": "runs/compositional_transfer"}
_ROWS = {
    "source": _SOURCE,
    "head": _FROM_SOURCE | {"training.trainable": "head,statistics"},
    "mixing": _FROM_SOURCE | {"training.trainable": "head,mixing,statistics"},
    "all": _FROM_SOURCE,
    "scratch": _TARGET,
}
_IMAGES = {str(count): {"data.examples_per_class": count} for count in (10, 50, 500)}
_CHOICES = {"row": _ROWS, "images": _IMAGES}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "row=mixing,images=50".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "compositional_transfer"
    config.data.name = "cifar100"
    config.data.tasks = "superclass"
    config.update_from_flattened_dict(COMPOSITIONAL | _SOURCE)
    config.training.examples_per_task = 16
    config.training.eval_every = 250
    config.training.checkpoint_every = 500
    choose(config, arg, _CHOICES)
    return config
