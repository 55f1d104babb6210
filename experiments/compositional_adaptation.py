"""Adaptation: a trained network meets a domain without labels, and changes its own order alone.

Purpose: how much of what a domain without labels lacks do its mixing weights bring back, how much
its running averages, and how much both? Domains are digit sets at 16x16, ink bright, with the ten
digits in common: MNIST, scikit-learn's embedded digits and USPS. Two of them are learned with
labels; the third is the target, whose training labels are not seen: not to learn from, nor to stop
or choose by (the number of steps is given). Blocks, stem, adapter and the one head stay as they
are, bit for bit.

Paper: Zhmoginov, Bashkirova, Sandler, "Compositional Models: Multi-Task Learning and Knowledge
Transfer with Modular Networks", 2021; losses and the weight of moment matching are those of a
co-author's code. None of the paper's numbers is known to us.

Command: the sources first, then a row from them:
    python launch.py --config=experiments/compositional_adaptation.py:row=sources \
        --workdir=runs/sources_of_usps
    python launch.py --config=experiments/compositional_adaptation.py:row=mixing \
        --workdir=runs/usps_mixing
    Rows: source_only, statistics (running averages), mixing (mixing weights), both.
    Other directions, each from its own sources (runs/sources_of_mnist, runs/sources_of_digits):
    python launch.py --config=experiments/compositional_adaptation.py:target=mnist,row=sources \
        --workdir=runs/sources_of_mnist
    Digits of a size, which each fill their frame, with sources of their own:
    python launch.py --config=experiments/compositional_adaptation.py:row=sources \
        --config.data.digit_frame=ink --config.data.augment=none \
        --workdir=runs/sources_of_usps_ink
    python launch.py --config=experiments/compositional_adaptation.py:row=mixing \
        --config.data.digit_frame=ink --config.data.augment=none \
        --config.training.init_from=runs/sources_of_usps_ink --workdir=runs/usps_mixing_ink
    Other losses: loss=adversarial, loss=discrepancy. Sources that keep training by their labels,
    with everything that they train: row=both,sources=training.

Expected for USPS, three seeds from one trained network (results/adaptation_usps_*.json): sources
    only 88.7 %, running averages 82.7 %, mixing weights 83.9 %, both 86.6 %: it makes it worse.
    Digits of a size (results/adaptation_usps_ink_*.json): 96.7, 97.1, 95.4 and 92.7 %. Aimed at:
    mixing at least 5 points above statistics, or both at least 92 %. To MNIST with digits of a
    size, one seed: 93.0, 93.4, 92.4 and 93.2 % (results/adaptation_mnist_ink_*.json). The target
    is the last task; the mean over tasks counts the sources too.

Minutes: the sources about 15 on one CPU core, a seed of a row 0.5 to 5.
"""

import ml_collections

from routing_jax.config import base_config
from routing_jax.config_adaptation import ALIGNMENTS
from routing_jax.experiment import choose
from routing_jax.presets import COMPOSITIONAL

_SOURCES_OF = {"usps": "mnist,digits", "mnist": "usps,digits", "digits": "mnist,usps"}
_TARGETS = {
    target: {
        "data.domains": domains,
        "data.target": target,
        "training.init_from": f"runs/sources_of_{target}",
    }
    for target, domains in _SOURCES_OF.items()
}
_ROWS = {
    "sources": {
        "data.target": "",
        "training.init_from": "",
        "training.trainable": "all",
        "training.steps": 3000,
        "training.examples_per_task": 64,
        "training.eval_every": 500,
    },
    "source_only": {"training.trainable": "none", "training.steps": 1},
    "statistics": {"training.trainable": "statistics"},
    "mixing": {"training.trainable": "mixing"},
    "both": {"training.trainable": "mixing,statistics"},
}
_LOSSES = {name: {"adaptation.loss": name} for name in ALIGNMENTS}
_CHOICES = {
    "target": _TARGETS,
    "row": _ROWS,
    "loss": _LOSSES,
    "sources": {"training": {"adaptation.train_sources": True, "training.trainable": "all"}},
}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The configuration; `arg` is a list of choices, such as "target=mnist,row=both".

    Raises:
        ValueError: There is no such choice.
    """
    config = base_config()
    config.experiment = "compositional_adaptation"
    config.data.name = "digit_domains"
    config.data.tasks = "superclass"
    config.data.image_size = 16
    config.update_from_flattened_dict(COMPOSITIONAL | _TARGETS["usps"] | _ROWS["both"])
    config.data.augment = "crop"  # of the target too: averages have to be of like images
    config.model.encoder = "space_to_depth"
    config.model.head = "shared"
    config.model.statistics = "per_depth_and_task"
    config.model.num_blocks = 4
    config.training.epochs = None
    config.training.steps = 200
    config.training.examples_per_task = 128
    config.training.eval_every = 50
    config.training.checkpoint_every = 500
    choose(config, arg, _CHOICES)
    return config
