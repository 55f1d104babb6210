"""mini-ImageNet as a multi-task set: random groups of classes, each split by image.

The stored splits hold different classes, which suits few-shot learning. MIN-MTL of Rosenbaum et al.
2018 joins them: 50 of the 100 classes at random, in 10 disjoint groups of five (recollected; which
classes they drew, and how many images they tested on, is not known). Here one sixth of each class's
images is for testing, 100 of 600.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from routing_jax.data.labelled_images import LabelledImages

GROUPS, GROUP_SIZE = 10, 5
TESTED = 1 / 6
"""Share of each class's images that is tested on."""
_SEED = 0
"""Of the draw of classes."""


def in_groups(stored: Mapping[str, LabelledImages]) -> dict[str, LabelledImages]:
    """The stored splits as train and test splits of the classes drawn, grouped.

    The images of a class are shuffled with its number as seed, so that the split is fixed.

    Args:
      stored: all splits; their classes have common numbers.
    """
    group_of_class = _draw_groups(len(next(iter(stored.values())).class_names))
    parts = [
        part.subset(np.flatnonzero(group_of_class[part.labels] >= 0)) for part in stored.values()
    ]
    labels = np.concatenate([part.labels for part in parts])
    joined = replace(
        parts[0],
        images=np.concatenate([part.images for part in parts]),
        labels=labels,
        superclass_of_class=group_of_class,
        superclass_names=tuple(f"group {group + 1}" for group in range(GROUPS)),
    )
    rows: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for label in np.flatnonzero(group_of_class >= 0):
        # The stream of RandomState is fixed for good, unlike that of default_rng.
        images = np.random.RandomState(label).permutation(np.flatnonzero(labels == label))
        tested = round(TESTED * images.size)
        rows["test"].append(images[:tested])
        rows["train"].append(images[tested:])
    return {split: joined.subset(np.concatenate(part)) for split, part in rows.items()}


def _draw_groups(num_classes: int) -> np.ndarray:
    """int32 [classes], the group of each class, -1 for those that were not drawn."""
    drawn = np.random.RandomState(_SEED).permutation(num_classes)[: GROUPS * GROUP_SIZE]
    groups = np.full(num_classes, -1, np.int32)
    groups[drawn] = np.arange(drawn.size) // GROUP_SIZE
    return groups
