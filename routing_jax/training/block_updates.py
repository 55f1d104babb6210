"""Updates of blocks by how much of a step's examples takes them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from routing_jax.types import Params

_BANK = "blocks"
"""Name of the parameter that stacks the blocks of a bank; see `blocks.BlockBank`."""
_BANKS = "banks_"
"""How the names of a network's banks begin; their number follows."""


def mask_unused_blocks(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Runs `inner`, but leaves blocks that were not used, and their moments, as they are.

    Adam moves a parameter whose gradient is zero, and so does momentum. Here a block whose whole
    gradient is exactly zero gets no update, and its part of the state of `inner` stays.
    That is known without asking which bank serves which depth; it also holds back a block that was
    taken and got no gradient, because all of its units were off. Counters of steps go on for all.

    Args:
      inner: works element by element, as SGD and Adam do. Parameters outside of banks are its own.
    """
    inner = optax.with_extra_args_support(inner)

    def update(gradients: Params, state: optax.OptState, params: Params | None = None, **extra):
        updates, moved = inner.update(gradients, state, params, **extra)
        used = used_blocks(gradients)
        of_state = optax.tree_utils.tree_map_params(
            inner,
            lambda _, mask: mask,
            moved,
            used,
            transform_non_params=lambda _: jnp.asarray(True),
        )
        return _where(used, updates, jax.tree.map(jnp.zeros_like, updates)), _where(
            of_state, moved, state
        )

    return optax.GradientTransformationExtraArgs(inner.init, update)


def divide_by_use() -> optax.GradientTransformationExtraArgs:
    """Divides the gradient of each block by the use that its router makes of it.

    A step's gradient of a block adds up over the examples that take it, so popular blocks take
    larger steps, and become more popular by them. Divided, all blocks of a bank step alike, as
    those of even use do undivided. After Prellberg and Kramer 2020 ("Learned Weight Sharing for
    Deep Multi-Task Learning by Natural Evolution Strategy and Stochastic Gradient Descent"), whose
    code divides by the expected use.

    Its `update` takes `use`, what `expected_use` gives, as a keyword.
    """

    def update(
        gradients: Params,
        state: optax.OptState,
        params: Params | None = None,
        *,
        use: Sequence[jax.Array],
        **extra: object,
    ) -> tuple[Params, optax.OptState]:
        del params, extra
        divided = dict(gradients)
        for index, share in enumerate(use):
            name = f"{_BANKS}{index}"
            divided[name] = jax.tree.map(
                lambda leaf, s=share * share.size: leaf / s.reshape(-1, *[1] * (leaf.ndim - 1)),
                gradients[name],
            )
        return divided, state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def expected_use(
    probabilities: jax.Array,
    bank_of_depth: Sequence[int],
    num_blocks: Sequence[int],
    *,
    decisions: int,
) -> tuple[jax.Array, ...]:
    """The share of its bank's decisions that each block is expected to get.

    At least that of one decision, if that is less than an even share: what is hardly ever taken
    would take steps without bound.

    Args:
      probabilities: float32 [T, D, A] that actions are drawn with, the mean over a task's examples.
      bank_of_depth: for each depth, the number of its bank.
      num_blocks: K of each bank; a further action, PASS, uses none.
      decisions: at one depth, of all tasks in a step, or in a round of steps for one task each.

    Returns:
      float32 [K] for each bank.
    """
    of_depth = probabilities.mean(0)
    depths = [[d for d, of in enumerate(bank_of_depth) if of == i] for i in range(len(num_blocks))]
    return tuple(
        jnp.maximum(
            of_depth[jnp.asarray(own), :size].mean(0), min(1 / (decisions * len(own)), 1 / size)
        )
        for own, size in zip(depths, num_blocks, strict=True)
    )


def used_blocks(gradients: Params) -> Params:
    """Which blocks have a gradient: for each leaf bool [K, 1, ...], and True outside of banks."""
    if not isinstance(gradients, dict):
        return jax.tree.map(lambda _: jnp.asarray(True), gradients)
    return {
        name: _used_of_bank(tree) if name == _BANK else used_blocks(tree)
        for name, tree in gradients.items()
    }


def _used_of_bank(bank: Params) -> Params:
    leaves = jax.tree.leaves(bank)
    if not leaves:  # not this optimizer's parameters
        return bank
    used = jnp.stack([(leaf != 0).any(range(1, leaf.ndim)) for leaf in leaves]).any(0)
    return jax.tree.map(lambda leaf: used.reshape((-1,) + (1,) * (leaf.ndim - 1)), bank)


def _where(mask: Params, new: Params, old: Params) -> Params:
    return jax.tree.map(lambda m, n, o: jnp.where(m, n, o), mask, new, old)
