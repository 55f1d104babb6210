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

`grouped` and `ragged` move rows straight from one depth's order to the next one's. Where a bank has
unlike blocks, in groups, `gather` takes one task after the other, each through its block alone. On
a mesh each device dispatches its own examples; see `mesh.by_examples`.

Instead of choosing a block, `mix_outputs` and `mix_parameters` mix all; see `mixtures`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from routing_jax import block_groups, mesh, slots
from routing_jax.block_groups import Bank, Blocks
from routing_jax.grouped import apply_to_slots
from routing_jax.mixtures import mix_outputs as mix_outputs
from routing_jax.mixtures import mix_parameters as mix_parameters
from routing_jax.types import Params

ApplyRagged = Callable[[Params, jax.Array, jax.Array, jax.Array], jax.Array]
"""(stacked parameters, rows [B, ...] sorted by block, count of each block [K], block of each row
[B]) -> [B, ...]. Counts may end before the rows do; the rest of the result does not matter."""


class Stage(NamedTuple):
    """One routed layer."""

    apply_block: Blocks
    """The function of one block, or the groups of a bank of unlike blocks."""
    bank: Callable[[jax.Array], Bank]
    """Rows [rows, ...] to the stacked parameters, each leaf [K, ...]; only shape and type count."""
    may_pass: bool = False
    """The action K, PASS, may occur; the layer then keeps the shape of its input."""
    apply_ragged: ApplyRagged | None = None
    """All blocks on sorted rows, where the block can do that."""
    finish: Callable[[jax.Array], jax.Array] | None = None
    """What stands behind the blocks and is the same for all examples: rows to rows like them."""


def select(
    apply_block: Blocks,
    bank: Bank,
    x: jax.Array,
    actions: jax.Array,
    *,
    strategy: str = "auto",
    pass_action: bool = False,
    apply_ragged: ApplyRagged | None = None,
) -> jax.Array:
    """Sends each example through its chosen block.

    Args:
      apply_block: the function of one block, or the groups of a bank of unlike blocks.
      bank: stacked parameters, each leaf [K, ...], or those of each group.
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
    per_task = actions.ndim == 2
    banks = banks_of(stages, x.reshape(-1, *x.shape[2:]))
    if strategy == "auto":
        strategy = choose_strategy(
            jax.default_backend(),
            per_task=per_task,
            num_blocks=block_groups.num_blocks(stages[0].apply_block, banks[0]),
            can_be_ragged=all(stage.apply_ragged for stage in stages),
        )
    _require_possible(strategy, stages, actions)
    if strategy == "gather":
        return mesh.by_examples(partial(_route_tasks, stages), (banks, actions), x)
    if per_task:
        actions = jnp.broadcast_to(actions[:, None], (*x.shape[:2], actions.shape[-1]))
    by_row = partial(_route_rows, stages, _BY_EXAMPLE[strategy])
    return mesh.by_examples(by_row, banks, (x, actions))


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


def banks_of(stages: Sequence[Stage], rows: jax.Array) -> list[Bank]:
    """The parameters of stages that follow each other, given rows [rows, ...] before the first."""
    banks = []
    for stage in stages:
        banks.append(stage.bank(rows))
        groups = block_groups.groups_of(stage.apply_block, banks[-1])
        out = jax.eval_shape(
            lambda rows, groups=groups: block_groups.apply_first(groups, rows), rows
        )
        rows = jnp.zeros(out.shape, out.dtype)  # never computed: only shape and type count
    return banks


def _with_banks(stages: Sequence[Stage], banks: Sequence[Bank]) -> list[Stage]:
    """The stages with these parameters."""
    return [s._replace(bank=lambda _, b=b: b) for s, b in zip(stages, banks, strict=True)]


def _route_tasks(
    stages: Sequence[Stage], common: tuple[Sequence[Bank], jax.Array], x: jax.Array
) -> jax.Array:
    """`_gather` of x [T, n, ...], given all banks and actions [T, D]."""
    return _gather(_with_banks(stages, common[0]), x, common[1])


def _route_rows(
    stages: Sequence[Stage],
    strategy: Callable[[Sequence[Stage], jax.Array, jax.Array], jax.Array],
    banks: Sequence[Bank],
    examples: tuple[jax.Array, jax.Array],
) -> jax.Array:
    """A strategy that takes rows, for x [T, n, ...] and actions [T, n, D], given all banks."""
    x, actions = examples
    rows, actions = x.reshape(-1, *x.shape[2:]), actions.reshape(-1, actions.shape[-1])
    out = strategy(_with_banks(stages, banks), rows, actions)
    return out.reshape(*x.shape[:2], *out.shape[1:])


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
        out = _through_own(stage.apply_block, bank, x, action)
        count = block_groups.num_blocks(stage.apply_block, bank)
        x = _keep_passed(out, x, action, count) if stage.may_pass else out
        x = x if stage.finish is None else on_rows(stage.finish, x)
    return x


def _through_own(blocks: Blocks, bank: Bank, x: jax.Array, action: jax.Array) -> jax.Array:
    """x [T, n, ...] through the block of each task, action [T]."""
    groups = block_groups.groups_of(blocks, bank)
    if len(groups) > 1:
        return jax.lax.map(lambda task: block_groups.apply_one(blocks, bank, *task), (action, x))
    group, params = groups[0]
    if group.size == 1:  # one product for all tasks, and no copies of its weights
        return on_rows(partial(group.apply_block, block_groups.take(params, 0)), x)
    return jax.vmap(group.apply_block)(_take_blocks(params, action), x)


def _dense(stages: Sequence[Stage], x: jax.Array, actions: jax.Array) -> jax.Array:
    """x [B, ...], actions [B, D]: all K blocks on all examples, and a masked sum over blocks."""
    for depth, stage in enumerate(stages):
        bank, action = stage.bank(x), actions[:, depth]
        everything = block_groups.apply_everything(stage.apply_block, bank, x)
        mask = jnp.arange(len(everything))[:, None] == action[None, :]
        mask = mask.reshape(mask.shape + (1,) * (everything.ndim - 2))
        out = jnp.where(mask, everything, jnp.zeros((), everything.dtype)).sum(0)
        x = _keep_passed(out, x, action, len(everything)) if stage.may_pass else out
        x = _finished(stage, x)
    return x


def _grouped(stages: Sequence[Stage], x: jax.Array, actions: jax.Array) -> jax.Array:
    """x [B, ...], actions [B, D]: slots, see `slots` and `grouped`."""
    layout = start = slots.in_order(x.shape[0])
    for depth, stage in enumerate(stages):
        bank, action = stage.bank(x), actions[:, depth]
        num_blocks = block_groups.num_blocks(stage.apply_block, bank)
        room = slots.capacity(action.size, num_blocks)
        assigned = slots.assign_slots(action, num_blocks=num_blocks, room=room)
        before, layout = layout, slots.slotted(assigned)
        x = slots.move(x, before, layout)
        out = apply_to_slots(stage.apply_block, bank, x, assigned)
        if stage.may_pass:
            action = jnp.take(action, assigned.example_of_slot, mode="fill", fill_value=0)
            out = _keep_passed(out, x, action, num_blocks)
        x = _finished(stage, out)
    return slots.move(x, layout, start)


def _ragged(stages: Sequence[Stage], x: jax.Array, actions: jax.Array) -> jax.Array:
    """x [B, ...], actions [B, D]: rows sorted by action."""
    layout = start = slots.in_order(x.shape[0])
    for depth, stage in enumerate(stages):
        bank = stage.bank(x)
        num_blocks = block_groups.num_blocks(stage.apply_block, bank)
        groups = slots.group(actions[:, depth], num_blocks=num_blocks)
        before, layout = layout, slots.sorted_rows(groups)
        x = slots.move(x, before, layout)
        block = jnp.minimum(groups.action, num_blocks - 1)
        out = stage.apply_ragged(bank, x, groups.count[:num_blocks], block)
        x = _keep_passed(out, x, groups.action, num_blocks) if stage.may_pass else out
        x = _finished(stage, x)
    return slots.move(x, layout, start)


_BY_EXAMPLE = {"dense": _dense, "grouped": _grouped, "ragged": _ragged}
STRATEGIES = ("auto", "gather", *_BY_EXAMPLE)


def on_rows(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """A function of rows on x [T, n, ...]."""
    out = function(x.reshape(-1, *x.shape[2:]))
    return out.reshape(*x.shape[:2], *out.shape[1:])


def _finished(stage: Stage, x: jax.Array) -> jax.Array:
    """Rows with what stands behind a layer's blocks."""
    return x if stage.finish is None else stage.finish(x)


def _keep_passed(out: jax.Array, x: jax.Array, action: jax.Array, num_blocks: int) -> jax.Array:
    """`x` instead of `out` where PASS was chosen."""
    passed = (action == num_blocks).reshape(action.shape + (1,) * (x.ndim - action.ndim))
    return jnp.where(passed, x.astype(out.dtype), out)


def _take_blocks(bank: Params, rows: jax.Array | int) -> Params:
    """Parameters of the blocks `rows` [R], each leaf [R, ...]; one block has no such axis."""
    return jax.tree.map(lambda leaf: leaf[rows], bank)
