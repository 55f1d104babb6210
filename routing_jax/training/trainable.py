"""Which parameters of a network train, and which running averages move.

The names are those of `training.trainable`; each parameter belongs to one of them, by its path.
"""

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from routing_jax.config_fields import TRAINABLE
from routing_jax.errors import UserError
from routing_jax.types import Params

_WORDS = {"all": TRAINABLE, "none": ()}
_NORMALISATIONS = ("BatchNorm_", "GroupNorm_")
_MIXING = ("router", "mix_")
"""How the names begin of what decides between blocks, or mixes them."""


def chosen(trainable: str) -> frozenset[str]:
    """The parts that a value of `training.trainable` names."""
    return frozenset(_WORDS.get(trainable, trainable.split(",")))


def part_of(path: tuple[str, ...]) -> str:
    """The part that a parameter belongs to, by its path below "params"."""
    if path[0].startswith(_MIXING):
        return "mixing"
    if any(name.startswith(_NORMALISATIONS) for name in path):
        return "normalisation"
    return path[0] if path[0] in TRAINABLE else "blocks"


def trains(trainable: str, params: Params) -> Params:
    """For each parameter whether it trains: a tree of bool."""
    parts = chosen(trainable)

    def in_parts(path: tuple[jax.tree_util.DictKey, ...], leaf: object) -> bool:
        del leaf
        return part_of(tuple(key.key for key in path)) in parts

    return jax.tree_util.tree_map_with_path(in_parts, params)


def differentiated(trainable: str, params: Params) -> Params:
    """The parameters; those that do not train are constants, so that no gradient is computed."""

    def of_leaf(on: bool, leaf: jax.Array) -> jax.Array:
        return leaf if on else jax.lax.stop_gradient(leaf)

    return jax.tree.map(of_leaf, trains(trainable, params), params)


def held(trainable: str, before: Params, after: Params, *, num_old: int = 0) -> Params:
    """`after`, with the very bits of `before` where parameters do not train.

    Args:
      trainable: the parts that train.
      before: the parameters before a step.
      after: the same behind it.
      num_old: the first tasks, whose rows of what trains are held too, where tasks are added to a
        trained network; all that trains then has an axis T in front.
    """

    def of_leaf(on: bool, old: jax.Array, new: jax.Array) -> jax.Array:
        if not on:
            return old
        return jnp.concatenate([old[:num_old], new[num_old:]]) if num_old else new

    return jax.tree.map(of_leaf, trains(trainable, before), before, after)


def numbers(trainable: str, params: Params, *, num_old: int = 0) -> int:
    """How many numbers train; see `held`."""

    def of_leaf(on: bool, leaf: jax.Array) -> int:
        if not on:
            return 0
        return leaf[num_old:].size if num_old else leaf.size

    return sum(jax.tree.leaves(jax.tree.map(of_leaf, trains(trainable, params), params)))


def require_parts(trainable: str, params: Params, batch_stats: Params) -> None:
    """Checks that the network has what is to train.

    Raises:
      UserError: it has nothing of a part that is named.
    """
    if trainable in _WORDS:
        return
    there = {part_of(path) for path in flatten_dict(params)}
    if set(batch_stats) - {"router"}:  # a temperature is no average
        there.add("statistics")
    missing = [part for part in trainable.split(",") if part not in there]
    if missing:
        raise UserError(
            f"training.trainable = {trainable}: this network has no {missing[0]}; what it has: "
            f"{', '.join(part for part in TRAINABLE if part in there)}."
        )
