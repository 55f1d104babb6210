"""MIN-MTL: a routing network learns ten tasks of five random mini-ImageNet classes each.

Purpose: tasks without a common meaning, where sharing should pay less than on CIFAR-MTL.

Paper: Rosenbaum, Klinger, Riemer, "Routing Networks", ICLR 2018, MIN-MTL. How its 50 labels were
    drawn, and the sizes of its splits, are not known; see routing_jax/data/mini_imagenet.py.

Command: python launch.py --config=experiments/min_mtl.py
    A baseline, as in cifar_mtl but for the clustered routes:
    python launch.py --config=experiments/min_mtl.py:baseline=cross_stitch
    The images have to be prepared: python -m routing_jax.data.prepare mini_imagenet --from=DIR

Expected: not measured: the images may not be redistributed and were not at hand.

Minutes: not measured.
"""

import ml_collections

from routing_jax.baselines import BASELINES, JOINT_CLASSIFIER, wide_trunk
from routing_jax.config import base_config
from routing_jax.experiment import choose
from routing_jax.presets import ROUTING_NETWORK

_BASELINES = BASELINES | {"wide_trunk": wide_trunk(748), "joint_classifier": JOINT_CLASSIFIER}
_CHOICES = {"baseline": _BASELINES, "augment": {"": {"data.augment": "crop_flip"}}}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "augment,baseline=cross_stitch".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "min_mtl"
    config.data.name = "mini_imagenet"
    config.data.tasks = "random_groups"
    config.update_from_flattened_dict(ROUTING_NETWORK)
    choose(config, arg, _CHOICES)
    return config
