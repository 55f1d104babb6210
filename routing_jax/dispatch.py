"""Applying banks: each example through the blocks that were chosen for it.

All strategies compute the same function, and the same gradients, up to float rounding:

========== ===================================================================================
dense      every block on every example, masked; costs K times one block. The oracle.
gather     one action per task: T weight gathers and a batched product.
grouped    examples sorted by action into tiles of one block each, one weight gather per tile;
           nothing is dropped, and PASS costs no product. Between two depths rows go straight
           from tile to tile.
========== ===================================================================================
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from routing_jax import tiling
from routing_jax.types import Params

ApplyBlock = Callable[[Params, jax.Array], jax.Array]
"""(parameters of one block, x [m, ...]) -> [m, ...]."""


class Stage(NamedTuple):
    """One routed layer."""

    apply_block: ApplyBlock
    """The function of one block."""
    bank: Callable[[jax.Array], Params]
    """Rows [rows, ...] to the stacked parameters, each leaf [K, ...]; only shape and type count."""
    may_pass: bool = False
    """The action K, PASS, may occur; the layer then keeps the shape of its input."""


def select(
    apply_block: ApplyBlock,
    bank: Params,
    x: jax.Array,
    actions: jax.Array,
    *,
    strategy: str = "auto",
    pass_action: bool = False,
) -> jax.Array:
    """Sends each example through its chosen block.

    Args:
      apply_block: the function of one block.
      bank: stacked parameters, each leaf [K, ...].
      x: [T, n, ...].
      actions: int32 [T, n], one per example, or [T], one per task; the action K is PASS.
      strategy: "dense", "gather", "grouped", or "auto": gather for decisions per task, dense for
        K = 1, else grouped.
      pass_action: PASS may occur; the output then has the shape of `x`.

    Returns:
      [T, n, ...], `apply_block` of the chosen block; `x` itself where PASS was chosen.

    Raises:
      ValueError: `gather` with an action per example, or an unknown strategy.
    """
    stage = Stage(apply_block, lambda _: bank, pass_action)
    return route([stage], x, actions[..., None], strategy=strategy)


def route(
    stages: Sequence[Stage], x: jax.Array, actions: jax.Array, *, strategy: str = "auto"
) -> jax.Array:
    """Sends each example through its chosen blocks, depth by depth.

    Args:
      stages: the D routed layers.
      x: [T, n, ...].
      actions: int32 [T, n, D], or [T, D] for one decision per task.
      strategy: as for `select`.

    Returns:
      [T, n, ...], the output of the last stage.

    Raises:
      ValueError: `gather` with actions per example, or an unknown strategy.
    """
    per_task = actions.ndim == 2
    if strategy not in STRATEGIES:
        raise ValueError(
            f"there is no dispatch strategy {strategy!r}; those that exist: {', '.join(STRATEGIES)}"
        )
    if strategy == "gather" and not per_task:
        raise ValueError(
            "the strategy gather needs one action per task, [T]; got actions of shape "
            f"{actions.shape[:-1]}. Use grouped for an action per example."
        )
    if strategy == "auto":
        strategy = "gather" if per_task else "grouped"
    if strategy == "gather":
        return _gather(stages, x, actions)
    if per_task:
        actions = jnp.broadcast_to(actions[:, None], (*x.shape[:2], actions.shape[-1]))
    rows = x.reshape(-1, *x.shape[2:])
    by_strategy = _dense if strategy == "dense" else _grouped
    out = by_strategy(stages, rows, actions.reshape(-1, actions.shape[-1]))
    return out.reshape(*x.shape[:2], *out.shape[1:])


STRATEGIES = ("auto", "gather", "dense", "grouped")


def _gather(stages: Sequence[Stage], x: jax.Array, actions: jax.Array) -> jax.Array:
    """x [T, n, ...], actions [T, D]: the weights of each task's block, and a batched product."""
    for depth, stage in enumerate(stages):
        bank, action = stage.bank(x[0]), actions[:, depth]
        out = jax.vmap(stage.apply_block)(_take_blocks(bank, action), x)
        x = _keep_passed(out, x, action, bank) if stage.may_pass else out
    return x


def _dense(stages: Sequence[Stage], x: jax.Array, actions: jax.Array) -> jax.Array:
    """x [B, ...], actions [B, D]: all K blocks on all examples, and a masked sum over blocks."""
    for depth, stage in enumerate(stages):
        bank, action = stage.bank(x), actions[:, depth]
        everything = jax.vmap(stage.apply_block, (0, None))(bank, x)
        mask = jnp.arange(_num_blocks(bank))[:, None] == action[None, :]
        mask = mask.reshape(mask.shape + (1,) * (everything.ndim - 2))
        out = jnp.where(mask, everything, jnp.zeros((), everything.dtype)).sum(0)
        x = _keep_passed(out, x, action, bank) if stage.may_pass else out
    return x


def _grouped(stages: Sequence[Stage], x: jax.Array, actions: jax.Array) -> jax.Array:
    """x [B, ...], actions [B, D]: tiles of examples of one block."""
    layout = start = tiling.in_order(x.shape[0])
    for depth, stage in enumerate(stages):
        bank = stage.bank(x)
        tiles = tiling.make_tiling(actions[:, depth], num_blocks=_num_blocks(bank))
        before, layout = layout, tiling.tiled(tiles, pass_rows=stage.may_pass)
        x = tiling.move(x, before, layout)
        slots, num_tiles = tiles.example_of_slot.size, tiles.block_of_tile.size
        tiled = x[:slots].reshape(num_tiles, -1, *x.shape[1:])
        out = jax.vmap(stage.apply_block)(_take_blocks(bank, tiles.block_of_tile), tiled)
        out = out.reshape(-1, *out.shape[2:])
        x = jnp.concatenate([out, x[slots:].astype(out.dtype)]) if stage.may_pass else out
    return tiling.move(x, layout, start)


def _num_blocks(bank: Params) -> int:
    return jax.tree.leaves(bank)[0].shape[0]


def _keep_passed(out: jax.Array, x: jax.Array, action: jax.Array, bank: Params) -> jax.Array:
    """`x` instead of `out` where PASS was chosen."""
    passed = (action == _num_blocks(bank)).reshape(action.shape + (1,) * (x.ndim - action.ndim))
    return jnp.where(passed, x.astype(out.dtype), out)


def _take_blocks(bank: Params, rows: jax.Array) -> Params:
    """Parameters of the blocks `rows` [R]: each leaf [R, ...]."""
    return jax.tree.map(lambda leaf: leaf[rows], bank)


def mix_outputs(
    apply_block: ApplyBlock, bank: Params, x: jax.Array, weights: jax.Array
) -> jax.Array:
    """Runs every block on every example and adds up the outputs by the weights of the task.

    Args:
      apply_block: the function of one block.
      bank: stacked parameters, each leaf [K, ...].
      x: [T, n, ...].
      weights: float32 [T, K].

    Returns:
      [T, n, ...].
    """
    rows = x.reshape(-1, *x.shape[2:])
    outputs = jax.vmap(apply_block, (0, None))(bank, rows)
    return mix(outputs.reshape(-1, *x.shape[:2], *outputs.shape[2:]), weights)


def mix(outputs: jax.Array, weights: jax.Array) -> jax.Array:
    """Adds up outputs [K, T, n, ...] by the weights [T, K] of the task: [T, n, ...]."""
    return jnp.einsum("ktn...,tk->tn...", outputs, weights.astype(outputs.dtype))
