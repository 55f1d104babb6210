"""Several image sets over the same classes as one set: each is a superclass, and becomes a task."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from routing_jax.config_adaptation import DOMAINS, sources
from routing_jax.data.labelled_images import LabelledImages
from routing_jax.data.resizing import downsized, enlarged, fill_with_ink
from routing_jax.data.sources import SPLITS, embedded_digits

Splits = dict[str, LabelledImages]
PREPARED_DIGITS = ("mnist", "usps")
"""The prepared sets that `digit_domains` joins."""


def digit_domains(read: Callable[[str], Splits], *, side: int, by_ink: bool = False) -> Splits:
    """Digits of four sources, ink bright: MNIST, MNIST turned by 90 degrees, USPS, the embedded.

    Args:
      read: reads a prepared set of `PREPARED_DIGITS`, its images scaled to `side`, or as stored
        for `by_ink`.
      side: of all images, in pixels.
      by_ink: see `resizing.fill_with_ink`, instead of scaling whole images.
    """
    embedded = embedded_digits()
    sets = {name: read(name) for name in PREPARED_DIGITS}
    if by_ink:
        sets = {name: _scaled(splits, fill_with_ink, side) for name, splits in sets.items()}
        embedded = _scaled(embedded, fill_with_ink, side)
    else:
        embedded = _scaled(embedded, enlarged if side > 8 else downsized, side)
    turned = {split: _turned(images) for split, images in sets["mnist"].items()}
    domains = dict(zip(DOMAINS, (sets["mnist"], turned, sets["usps"], embedded), strict=True))
    return {split: _joined(domains, split) for split in SPLITS}


def rows(domains: str, target: str) -> list[int]:
    """The numbers of the tasks of `data.domains` and, last, of `data.target` if there is one."""
    names = [*sources(domains, target), *([target] if target else [])]
    return [DOMAINS.index(name) for name in names]


def _scaled(splits: Splits, scale: Callable[[np.ndarray, int], np.ndarray], side: int) -> Splits:
    return {
        split: replace(images, images=scale(images.images, side))
        for split, images in splits.items()
    }


def _turned(images: LabelledImages) -> LabelledImages:
    return replace(images, images=np.rot90(images.images, axes=(1, 2)))


def _joined(domains: Mapping[str, Splits], split: str) -> LabelledImages:
    """One split of all domains; the classes of each are its own."""
    parts = [domain[split] for domain in domains.values()]
    classes = [len(part.class_names) for part in parts]
    first = np.cumsum([0, *classes[:-1]], dtype=np.int32)
    return LabelledImages(
        name="digit_domains",
        images=np.concatenate([part.images for part in parts]),
        labels=np.concatenate(
            [part.labels + start for part, start in zip(parts, first, strict=True)]
        ),
        class_names=tuple(
            f"{name} {label}"
            for name, part in zip(domains, parts, strict=True)
            for label in part.class_names
        ),
        superclass_of_class=np.repeat(np.arange(len(parts), dtype=np.int32), classes),
        superclass_names=tuple(domains),
    )
