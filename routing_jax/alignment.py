"""Alignment: what makes the features of a domain without labels resemble those of its sources.

The losses are those of a co-author's code for Zhmoginov, Bashkirova, Sandler, "Compositional
Models: Multi-Task Learning and Knowledge Transfer with Modular Networks", 2021; moment matching and
the discrepancy of two heads are from Peng et al., "Moment Matching for Multi-Source Domain
Adaptation", 2019. In a batch [T, n, ...] the target is the last task, and the others are sources.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from routing_jax.blocks import BlockBank
from routing_jax.convolution import Conv3x3
from routing_jax.dispatch import on_rows
from routing_jax.models.network import MultiTaskNetwork, Routed
from routing_jax.objectives import Objective
from routing_jax.types import Batch, Params

_LABEL_NOISE = 0.1
"""How far a discriminator's labels stray from 0 and 1 at most."""
_HEAD_NOISE = 0.05
"""Standard deviation of what tells a second head from the first at the start."""


def moment_distance(features: jax.Array) -> jax.Array:
    """How far apart the first two moments of tasks are: a scalar.

    Half the squared distance between two tasks' means, plus the same of the means of squares, of
    each feature for itself; its mean over the sources for target and source, plus its mean over
    the pairs of sources.

    Args:
      features: [T, n, ...]; the target is the last of at least two tasks.
    """
    flat = features.astype(jnp.float32).reshape(*features.shape[:2], -1)
    moments = jnp.concatenate([flat.mean(1), jnp.square(flat).mean(1)], axis=-1)  # [T, 2F]
    *sources, target = list(moments)
    to_target = [_half_square(source - target) for source in sources]
    between = [
        _half_square(one - other)
        for number, one in enumerate(sources)
        for other in sources[number + 1 :]
    ]
    return sum(to_target) / len(to_target) + sum(between) / max(len(between), 1)


def _half_square(difference: jax.Array) -> jax.Array:
    return 0.5 * jnp.square(difference).sum()


@dataclass(frozen=True)
class Moments:
    """Moment matching; it has no opponent.

    Attributes:
      weight: of the distance.
      of_head: match what the head takes, not the maps of the last block.
    """

    weight: float
    of_head: bool = False

    def start(self, key: jax.Array, routed: Routed, params: Params) -> None:
        """There is no opponent."""

    def loss(self, opponent: Params | None, routed: Routed) -> jax.Array:
        """See `moment_distance`."""
        del opponent
        maps, adapted = routed.features
        return self.weight * moment_distance(adapted if self.of_head else maps)


class Discriminator(nn.Module):
    """Tells the target's maps from the sources': [m, height, width, F] to logits [m].

    Two 3x3 convolutions with leaky ReLU, mean over the map, dropout, one unit.
    """

    widths: tuple[int, ...] = (16, 32)
    dropout: float = 0.3

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`train` drops features, and then takes a key `dropout`."""
        x = x.astype(jnp.float32)
        for width in self.widths:
            x = nn.leaky_relu(Conv3x3(width)(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))
        return nn.Dense(1)(x)[:, 0]


@dataclass(frozen=True)
class Adversarial:
    """The target's maps are to be taken for a source's by a discriminator that learns meanwhile."""

    discriminator: Discriminator = Discriminator()

    def start(self, key: jax.Array, routed: Routed, params: Params) -> Params:
        """A discriminator's parameters."""
        del params
        return self.discriminator.init(key, routed.features[0][0], train=False)

    def loss(self, opponent: Params, routed: Routed) -> jax.Array:
        """Cross-entropy of the target's maps with the sources' label, 0."""
        logits = self.discriminator.apply(opponent, routed.features[0][-1], train=False)
        return optax.sigmoid_binary_cross_entropy(logits, jnp.zeros_like(logits)).mean()

    def opposed(self, opponent: Params, routed: Routed, batch: Batch, key: jax.Array) -> jax.Array:
        """Cross-entropy with label 1 for the target and 0 for sources, half the weight for each."""
        del batch
        maps = routed.features[0]
        dropped, noise = jax.random.split(key)
        told = on_rows(
            lambda rows: self.discriminator.apply(
                opponent, rows, train=True, rngs={"dropout": dropped}
            ),
            maps,
        )
        is_target = (jnp.arange(maps.shape[0]) == maps.shape[0] - 1)[:, None]
        stray = jax.random.uniform(noise, told.shape, maxval=_LABEL_NOISE)
        losses = optax.sigmoid_binary_cross_entropy(told, jnp.where(is_target, 1 - stray, stray))
        of_task = losses.mean(1)
        return 0.5 * (of_task[:-1].mean() + of_task[-1])


@dataclass(frozen=True)
class Discrepancy:
    """Moment matching, and two heads that are to agree on the target.

    The second head starts near the network's own, learns from the sources' labels, and to disagree
    with it on the target. Answers are those of the network's own head.

    Attributes:
      moments: the distance of moments.
      head: the network's, one for all tasks.
      objective: of the tasks.
    """

    moments: Moments
    head: BlockBank
    objective: Objective

    def start(self, key: jax.Array, routed: Routed, params: Params) -> Params:
        """The parameters of the network's head and a little noise."""
        del routed
        leaves, tree = jax.tree.flatten(params["head"]["blocks"])
        keys = jax.random.split(key, len(leaves))
        return tree.unflatten(
            leaf[0] + _HEAD_NOISE * jax.random.normal(own, leaf.shape[1:])
            for own, leaf in zip(keys, leaves, strict=True)
        )

    def loss(self, opponent: Params, routed: Routed) -> jax.Array:
        """The distance of moments and the discrepancy of the heads."""
        return self.moments.loss(None, routed) + self._discrepancy(opponent, routed)

    def opposed(self, opponent: Params, routed: Routed, batch: Batch, key: jax.Array) -> jax.Array:
        """The second head's loss on the sources' labels, less the discrepancy."""
        del key
        by_labels = self.objective.loss(self._second(opponent, routed.features[1]), batch)
        return by_labels - self._discrepancy(opponent, routed)

    def _discrepancy(self, opponent: Params, routed: Routed) -> jax.Array:
        """The mean absolute difference of the heads' probabilities on the target."""
        second = self._second(opponent, routed.features[1][-1:])[0]
        return jnp.abs(jax.nn.softmax(routed.logits[-1]) - jax.nn.softmax(second)).mean()

    def _second(self, opponent: Params, adapted: jax.Array) -> jax.Array:
        """Logits [T, n, C] of what heads take, [T, n, F]."""
        return on_rows(partial(self.head.apply_block, opponent), adapted).astype(jnp.float32)


Opposed = Adversarial | Discrepancy
Alignment = Moments | Opposed
"""A loss for the target's own parameters; `start` gives its opponent's, None where it has none."""
ALIGNMENTS: dict[str, Callable[[MultiTaskNetwork, Objective, Moments], Alignment]] = {
    "moments": lambda model, objective, moments: moments,
    "adversarial": lambda model, objective, moments: Adversarial(),
    "discrepancy": lambda model, objective, moments: Discrepancy(moments, model.head, objective),
}
"""By the names of `adaptation.loss`: from the network, the objective of its tasks, and how its
moments are matched."""
