"""Adding, removing and reordering the blocks of a trained isometric network.

Pure functions from the variables of a `models.compositional.CompositionalNetwork` to those of a
network with another order of blocks, or another depth: build that one from the same configuration,
with `model.depth` as `num_depths` tells. What moves with a block is all that its depth has to
itself: parameters where each depth has a bank (`model.bank=per_depth`), mixing weights where one
bank serves all, and running averages unless all depths share them. Routes that `router.routes`
gives as a table do not move: they go on naming blocks by depth.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from routing_jax.types import Params

Variables = dict[str, Params]


def reorder_blocks(variables: Variables, order: Sequence[int]) -> Variables:
    """The network whose depth i runs what ran at depth `order[i]`.

    Raises:
      ValueError: `order` is not a permutation of the depths.
    """
    if sorted(order) != list(range(num_depths(variables))):
        raise ValueError(
            f"{list(order)} does not name each of the {num_depths(variables)} depths once"
        )
    return _take_depths(variables, order)


def remove_block(variables: Variables, depth: int) -> Variables:
    """The network without the block at `depth`.

    Raises:
      ValueError: there is no such depth, or no other.
    """
    _require_depth(variables, depth)
    kept = [other for other in range(num_depths(variables)) if other != depth]
    if not kept:
        raise ValueError("a network needs at least one block")
    return _take_depths(variables, kept)


def add_block(variables: Variables, depth: int, *, copy_of: int) -> Variables:
    """The network with one block more, at `depth`, which does what the one at `copy_of` does.

    Raises:
      ValueError: there is no depth `copy_of`, or a block at `depth` would leave a gap.
    """
    _require_depth(variables, copy_of)
    order = list(range(num_depths(variables)))
    if not 0 <= depth <= len(order):
        raise ValueError(f"a block can be added at depths 0 to {len(order)}, not at {depth}")
    return _take_depths(variables, [*order[:depth], copy_of, *order[depth:]])


def num_depths(variables: Variables) -> int:
    """D.

    Raises:
      ValueError: nothing in the variables belongs to a depth: the routes of one bank are given.
    """
    params = variables["params"]
    banks = _banks(params)
    if len(banks) > 1:
        return len(banks)
    if "router" in params:
        return params["router"]["logits"].shape[1]
    if jax.tree.leaves(params[banks[0]])[0].shape[0] == 1:  # the only block, wherever it stands
        return jax.tree.leaves(variables["batch_stats"]["averages"])[0].shape[0]
    raise ValueError(
        "the blocks of this network stand in the order that router.routes gives: change that"
    )


def _require_depth(variables: Variables, depth: int) -> None:
    if not 0 <= depth < num_depths(variables):
        raise ValueError(f"there is no depth {depth}, only 0 to {num_depths(variables) - 1}")


def _banks(params: Params) -> list[str]:
    """Names of the banks in the order of their numbers."""
    names = [name for name in params if name.startswith("banks_")]
    return sorted(names, key=lambda name: int(name.removeprefix("banks_")))


def _take_depths(variables: Variables, depths: Sequence[int]) -> Variables:
    params, stats = dict(variables["params"]), dict(variables["batch_stats"])
    before, banks = num_depths(variables), _banks(params)
    if len(banks) > 1:
        of_depth = [params.pop(bank) for bank in banks]
        params |= {f"banks_{i}": of_depth[depth] for i, depth in enumerate(depths)}
    rows = jnp.asarray(depths)
    if "router" in params:
        logits = params["router"]["logits"]
        params["router"] = params["router"] | {"logits": jnp.take(logits, rows, axis=1)}

    def take(leaf: jax.Array) -> jax.Array:
        return jnp.take(leaf, rows, axis=0) if leaf.shape[0] == before else leaf

    stats["averages"] = jax.tree.map(take, stats["averages"])
    return {"params": params, "batch_stats": stats}
