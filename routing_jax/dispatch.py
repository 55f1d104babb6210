"""Applying banks: each example through the blocks that were chosen for it.

All strategies compute the same function, and the same gradients, up to float rounding:

========== ===================================================================================
dense      every block on every example, masked; costs K times one block. The oracle.
gather     one action per task: T weight gathers and a batched product.
grouped    examples stand in slots, as many for each block, and all blocks run at once; a loop
           takes those that found their block full. Nothing is dropped. See `grouped`.
ragged     examples sorted by action, and one ragged product; for blocks that offer it.
auto       one of these, by `choose_strategy`.
========== ===================================================================================

`grouped` and `ragged` move rows straight from one depth's order to the next one's.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from routing_jax import slots
from routing_jax.grouped import ApplyBlock, apply_to_slots
from routing_jax.types import Params

Tree = Any
"""An array, or a tree of arrays."""
ApplyRagged = Callable[[Params, jax.Array, jax.Array, jax.Array], jax.Array]
"""(stacked parameters, rows [B, ...] sorted by block, count of each block [K], block of each row
[B]) -> [B, ...]. Counts may end before the rows do; the rest of the result does not matter."""

TASKS = "tasks"
"""Name of the axis that `mix_parameters` maps a block over: a block may average over it."""


class Stage(NamedTuple):
    """One routed layer."""

    apply_block: ApplyBlock
    """The function of one block."""
    bank: Callable[[jax.Array], Params]
    """Rows [rows, ...] to the stacked parameters, each leaf [K, ...]; only shape and type count."""
    may_pass: bool = False
    """The action K, PASS, may occur; the layer then keeps the shape of its input."""
    apply_ragged: ApplyRagged | None = None
    """All blocks on sorted rows, where the block can do that."""


def select(
    apply_block: ApplyBlock,
    bank: Params,
    x: jax.Array,
    actions: jax.Array,
    *,
    strategy: str = "auto",
    pass_action: bool = False,
    apply_ragged: ApplyRagged | None = None,
) -> jax.Array:
    """Sends each example through its chosen block.

    Args:
      apply_block: the function of one block.
      bank: stacked parameters, each leaf [K, ...].
      x: [T, n, ...].
      actions: int32 [T, n], one per example, or [T], one per task; the action K is PASS.
      strategy: see the top of this file.
      pass_action: PASS may occur; the output then has the shape of `x`.
      apply_ragged: see `Stage`; only `ragged` needs it.

    Returns:
      [T, n, ...], `apply_block` of the chosen block; `x` itself where PASS was chosen.

    Raises:
      ValueError: `gather` with an action per example, `ragged` with a block that does not offer
        it, or an unknown strategy.
    """
    stage = Stage(apply_block, lambda _: bank, pass_action, apply_ragged)
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
      ValueError: as for `select`.
    """
    per_task, rows = actions.ndim == 2, x.reshape(-1, *x.shape[2:])
    if strategy == "auto":
        strategy = choose_strategy(
            jax.default_backend(),
            per_task=per_task,
            num_blocks=_num_blocks(stages[0].bank(rows)),
            can_be_ragged=all(stage.apply_ragged for stage in stages),
        )
    _require_possible(strategy, stages, actions)
    if strategy == "gather":
        return _gather(stages, x, actions)
    if per_task:
        actions = jnp.broadcast_to(actions[:, None], (*x.shape[:2], actions.shape[-1]))
    out = _BY_EXAMPLE[strategy](stages, rows, actions.reshape(-1, actions.shape[-1]))
    return out.reshape(*x.shape[:2], *out.shape[1:])


def choose_strategy(backend: str, *, per_task: bool, num_blocks: int, can_be_ragged: bool) -> str:
    """The strategy that `auto` stands for.

    Args:
      backend: "cpu", "gpu" or "tpu".
      per_task: one decision per task.
      num_blocks: K, of the first layer.
      can_be_ragged: all blocks offer `apply_ragged`.
    """
    if per_task:
        return "gather"
    if num_blocks == 1:
        return "dense"  # no row has to move
    if backend != "cpu" and can_be_ragged:
        return "ragged"  # not measured yet
    return "grouped"


def _require_possible(strategy: str, stages: Sequence[Stage], actions: jax.Array) -> None:
    """Raises ValueError where `strategy` does not serve."""
    if strategy not in STRATEGIES:
        raise ValueError(
            f"there is no dispatch strategy {strategy!r}; those that exist: {', '.join(STRATEGIES)}"
        )
    if strategy == "gather" and actions.ndim != 2:
        raise ValueError(
            "the strategy gather needs one action per task, [T]; got actions of shape "
            f"{actions.shape[:-1]}. Use grouped for an action per example."
        )
    if strategy == "ragged" and not all(stage.apply_ragged for stage in stages):
        raise ValueError(
            "the strategy ragged needs blocks that offer apply_ragged, as dense ones do. Use "
            "grouped for any other block."
        )


def _gather(stages: Sequence[Stage], x: jax.Array, actions: jax.Array) -> jax.Array:
    """x [T, n, ...], actions [T, D]: the weights of each task's block, and a batched product."""
    for depth, stage in enumerate(stages):
        bank, action = stage.bank(x[0]), actions[:, depth]
        if _num_blocks(bank) == 1:  # one product for all tasks, and no copies of its weights
            out = _apply_one(stage.apply_block, _take_blocks(bank, 0), x)
        else:
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
    """x [B, ...], actions [B, D]: slots, see `slots` and `grouped`."""
    layout = start = slots.in_order(x.shape[0])
    for depth, stage in enumerate(stages):
        bank, action = stage.bank(x), actions[:, depth]
        num_blocks = _num_blocks(bank)
        room = slots.capacity(action.size, num_blocks)
        assigned = slots.assign_slots(action, num_blocks=num_blocks, room=room)
        before, layout = layout, slots.slotted(assigned)
        x = slots.move(x, before, layout)
        out = apply_to_slots(stage.apply_block, bank, x, assigned)
        if stage.may_pass:
            action = jnp.take(action, assigned.example_of_slot, mode="fill", fill_value=0)
            out = _keep_passed(out, x, action, bank)
        x = out
    return slots.move(x, layout, start)


def _ragged(stages: Sequence[Stage], x: jax.Array, actions: jax.Array) -> jax.Array:
    """x [B, ...], actions [B, D]: rows sorted by action."""
    layout = start = slots.in_order(x.shape[0])
    for depth, stage in enumerate(stages):
        bank = stage.bank(x)
        num_blocks = _num_blocks(bank)
        groups = slots.group(actions[:, depth], num_blocks=num_blocks)
        before, layout = layout, slots.sorted_rows(groups)
        x = slots.move(x, before, layout)
        block = jnp.minimum(groups.action, num_blocks - 1)
        out = stage.apply_ragged(bank, x, groups.count[:num_blocks], block)
        x = _keep_passed(out, x, groups.action, bank) if stage.may_pass else out
    return slots.move(x, layout, start)


_BY_EXAMPLE = {"dense": _dense, "grouped": _grouped, "ragged": _ragged}
STRATEGIES = ("auto", "gather", *_BY_EXAMPLE)


def _apply_one(apply_block: ApplyBlock, block: Params, x: jax.Array) -> jax.Array:
    """x [T, n, ...] through one block."""
    out = apply_block(block, x.reshape(-1, *x.shape[2:]))
    return out.reshape(*x.shape[:2], *out.shape[1:])


def _num_blocks(bank: Params) -> int:
    return jax.tree.leaves(bank)[0].shape[0]


def _keep_passed(out: jax.Array, x: jax.Array, action: jax.Array, bank: Params) -> jax.Array:
    """`x` instead of `out` where PASS was chosen."""
    passed = (action == _num_blocks(bank)).reshape(action.shape + (1,) * (x.ndim - action.ndim))
    return jnp.where(passed, x.astype(out.dtype), out)


def _take_blocks(bank: Params, rows: jax.Array | int) -> Params:
    """Parameters of the blocks `rows` [R], each leaf [R, ...]; one block has no such axis."""
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


def mix_active(
    apply_block: ApplyBlock, bank: Params, x: jax.Array, weights: jax.Array
) -> jax.Array:
    """`mix_outputs` that runs only the blocks whose weight for a task is not zero.

    Tasks and blocks take turns, so this pays where many weights are zero and tasks have many
    examples, as in evaluation; under a `vmap` over weights every block is run after all.

    Args:
      apply_block: the function of one block.
      bank: stacked parameters, each leaf [K, ...].
      x: [T, n, ...].
      weights: float32 [T, K].

    Returns:
      [T, n, ...].
    """
    one = jax.eval_shape(apply_block, _take_blocks(bank, 0), x[0])

    def of_task(task: tuple[jax.Array, jax.Array]) -> jax.Array:
        rows, own = task

        def add(total: jax.Array, block: tuple[jax.Array, Params]) -> tuple[jax.Array, None]:
            weight, params = block
            added = jax.lax.cond(
                weight != 0,
                lambda: total + weight.astype(one.dtype) * apply_block(params, rows),
                lambda: total,
            )
            return added, None

        return jax.lax.scan(add, jnp.zeros(one.shape, one.dtype), (own, bank))[0]

    return jax.lax.map(of_task, (x, weights))


def mix_parameters(
    apply_block: Callable[[Params, Tree], Tree], bank: Params, x: Tree, weights: jax.Array
) -> Tree:
    """Runs one block for each task, whose parameters are a mixture of those of all blocks.

    It costs one block whatever K is. Where the blocks are not linear in their parameters, this is
    not the mixture of their outputs.

    Args:
      apply_block: the function of one block, of what one task has; for each task it runs under a
        `vmap` of the name `TASKS`.
      bank: stacked parameters, each leaf [K, ...].
      x: [T, n, ...], or a tree of arrays with the axis T first.
      weights: float32 [T, K], or [1, K] where all tasks mix alike, whose products are then one.

    Returns:
      What `apply_block` gives, with the axis T first.
    """
    mixed = jax.tree.map(lambda leaf: _mix_leaf(leaf, weights), bank)
    if weights.shape[0] > 1:
        return jax.vmap(apply_block, axis_name=TASKS)(mixed, x)
    return jax.vmap(apply_block, (None, 0), axis_name=TASKS)(_take_blocks(mixed, 0), x)


def _mix_leaf(leaf: jax.Array, weights: jax.Array) -> jax.Array:
    """Parameters [K, ...] to [T, ...]; a pure order gives them back as they are."""
    rows = weights.astype(leaf.dtype), leaf.reshape(leaf.shape[0], -1)
    return jnp.matmul(*rows, precision="highest").reshape(-1, *leaf.shape[1:])


def mix(outputs: jax.Array, weights: jax.Array) -> jax.Array:
    """Adds up outputs [K, T, n, ...] by the weights [T, K] of the task: [T, n, ...]."""
    return jnp.einsum("ktn...,tk->tn...", outputs, weights.astype(outputs.dtype))
