"""Omniglot as a multi-task set: alphabets, each split by drawing into training and test.

The stored splits hold different alphabets, which suits few-shot learning. Here both are joined, and
of the twenty drawings of each character 14 are for training and 6 for testing. Holding out 2/7 of
the training drawings leaves the 10 / 4 / 6 of Ramachandran and Le 2019 and of Maziarz et al. 2019
(drawn anew: which drawing falls where depends on a file order of their time).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from routing_jax.data.labelled_images import LabelledImages

TESTED = 0.3
"""Share of each character's drawings that is tested on."""
FIRST = (
    "Gujarati",
    "Sylheti",
    "Arcadian",
    "Tibetan",
    "Old_Church_Slavonic_(Cyrillic)",
    "Angelic",
    "Malay_(Jawi_-_Arabic)",
    "Sanskrit",
    "Cyrillic",
    "Anglo-Saxon_Futhorc",
    "Syriac_(Estrangelo)",
    "Ge_ez",
    "Japanese_(katakana)",
    "Keble",
    "Manipuri",
    "Alphabet_of_the_Magi",
    "Gurmukhi",
    "Korean",
    "Early_Aramaic",
    "Atemayar_Qelisayer",
)
"""The alphabets of the 20-task Omniglot of earlier work, in its order; all others come behind."""


def by_drawing(stored: Mapping[str, LabelledImages]) -> dict[str, LabelledImages]:
    """The stored splits as train and test splits of all alphabets, `FIRST` first.

    The drawings of a character are shuffled with the number of its alphabet as seed, so the split
    is fixed, and what `loading.hold_out` takes from the end is a random part.
    """
    parts = [_in_order(part) for part in stored.values()]
    rows = [_split(part) for part in parts]
    return {
        split: replace(
            parts[0],
            images=np.concatenate([p.images[r[split]] for p, r in zip(parts, rows, strict=True)]),
            labels=np.concatenate([p.labels[r[split]] for p, r in zip(parts, rows, strict=True)]),
        )
        for split in ("train", "test")
    }


def _in_order(images: LabelledImages) -> LabelledImages:
    """Renumbers the alphabets."""
    names = images.superclass_names
    order = sorted(names, key=lambda name: (FIRST.index(name) if name in FIRST else 99, name))
    rank = np.array([order.index(name) for name in names], np.int32)
    table = np.where(images.superclass_of_class < 0, -1, rank[images.superclass_of_class])
    return replace(
        images, superclass_names=tuple(order), superclass_of_class=table.astype(np.int32)
    )


def _split(images: LabelledImages) -> dict[str, np.ndarray]:
    """The rows of each split, character by character."""
    rows: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for character in np.unique(images.labels):
        # The stream of RandomState is fixed for good, unlike that of default_rng.
        shuffle = np.random.RandomState(images.superclass_of_class[character])
        drawings = shuffle.permutation(np.flatnonzero(images.labels == character))
        tested = round(TESTED * drawings.size)
        rows["test"].append(drawings[:tested])
        rows["train"].append(drawings[tested:])
    return {split: np.concatenate(part) for split, part in rows.items()}
