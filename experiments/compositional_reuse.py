"""Reuse of blocks: the same four blocks invoked 4, 8 or 16 times, at equal parameters.

Purpose: does a network of one parameter budget become more accurate as it invokes its blocks more
often? One task, the hundred classes of CIFAR-100; the depths differ in nothing but how often they
run the four templates of one bank, and in their mixing weights, four numbers a depth. The network
is isometric, or a plain residual one whose last stage takes its blocks from the bank.

Paper: Zhmoginov, Bashkirova, Sandler, "Compositional Models: Multi-Task Learning and Knowledge
Transfer with Modular Networks", 2021, whose abstract says that ImageNet accuracy rises without more
parameters; by how much is not known to us.

Command: python launch.py --config=experiments/compositional_reuse.py:depth=4
    python launch.py --config=experiments/compositional_reuse.py:depth=16
    The last stage of a plain residual network:
    python launch.py --config=experiments/compositional_reuse.py:network=resnet,depth=16
    With a block of its own for each depth, so that parameters grow too, add a choice:
    python launch.py --config=experiments/compositional_reuse.py:baseline=independent_blocks
    Images in folders of classes, the layout of ImageNet, at 64x64 (streamed where memory is short):
    python launch.py --config=experiments/compositional_reuse.py:data=folders \
        --config.data.dir=DIR

Expected, one seed: 36.3 % with depth=4 and with depth=8 (results/compositional_reuse_4.json and
    _8.json); the others are not measured yet.

Minutes: 10 and 17 on one CPU core for depths 4 and 8.
"""

import ml_collections

from routing_jax.config import base_config
from routing_jax.experiment import choose
from routing_jax.presets import COMPOSITIONAL, GIVEN_BLOCKS

_BASELINES = {"none": {}, "independent_blocks": GIVEN_BLOCKS | {"router.routes": "shared"}}
_DEPTHS = {str(depth): {"model.depth": depth} for depth in (4, 8, 16)}
_NETWORKS = {"isometric": {}, "resnet": {"model.encoder": "resnet", "model.block": "basic"}}
_FOLDERS = {
    "data.name": "class_folders",
    "data.image_size": 64,
    # An epoch of ImageNet is 10,000 steps.
    "training.eval_every": 10_000,
    "training.checkpoint_every": 5_000,
}
_DATA = {"cifar100": {}, "folders": _FOLDERS}
_CHOICES = {"depth": _DEPTHS, "baseline": _BASELINES, "network": _NETWORKS, "data": _DATA}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "depth=16".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "compositional_reuse"
    config.data.name = "cifar100"
    config.data.tasks = "all_classes"
    config.update_from_flattened_dict(COMPOSITIONAL)
    config.model.num_blocks = 4
    config.training.examples_per_task = 128
    config.training.eval_every = 390
    config.training.checkpoint_every = 780
    choose(config, arg, _CHOICES)
    return config
