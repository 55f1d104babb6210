"""Updates of blocks that no example of the step has taken."""

import jax
import jax.numpy as jnp
import optax

from routing_jax.types import Params

_BANK = "blocks"
"""Name of the parameter that stacks the blocks of a bank; see `blocks.BlockBank`."""


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
