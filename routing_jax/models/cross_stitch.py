"""Cross-stitch networks (Misra et al., "Cross-stitch Networks for Multi-task Learning", CVPR 2016).

Here as the baseline cross-stitch-all-fc of Rosenbaum et al. (2018): the encoder is common to all
tasks, and each fully connected layer is a column of blocks, one for each task. The block of task t
reads a mix of what all columns gave in the layer before.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from routing_jax import dispatch, mesh, mixtures
from routing_jax.block_groups import ApplyBlock
from routing_jax.models.network import MultiTaskNetwork, Routed
from routing_jax.types import Exploration, Params

OWN_SHARE = 0.9
"""What a column reads of itself at the start; the others share the rest equally."""


def initial_mix(num_tasks: int) -> jax.Array:
    """The mix at the start, float32 [T, T]: row t is what column t reads."""
    if num_tasks == 1:
        return jnp.ones((1, 1))
    others = (1 - OWN_SHARE) / (num_tasks - 1)
    return jnp.full((num_tasks, num_tasks), others) + (OWN_SHARE - others) * jnp.eye(num_tasks)


class CrossStitchNetwork(MultiTaskNetwork):
    """Columns of blocks, one for each task, that read from each other.

    An example runs through the columns of all tasks, which is what the mix costs: the work for one
    example grows with the number of tasks. Only of the last layer, whose outputs nobody else reads,
    its own task's block is enough. The first layer reads the encoder, which is one for all, so
    there are D - 1 mixes.

    Attributes:
      encoder, banks, bank_of_depth, head, dropout, norms: see `MultiTaskNetwork`; K = T.
    """

    def setup(self) -> None:
        self.mixes = [  # in front of each layer but the first
            self.param(f"mix_{depth}", lambda _: initial_mix(self.num_tasks))
            for depth in range(1, len(self.bank_of_depth))
        ]

    @property
    def num_tasks(self) -> int:
        """T."""
        return self.num_blocks

    def route(
        self,
        x: jax.Array,
        exploration: Exploration | None = None,
        tasks: jax.Array | None = None,
    ) -> Routed:
        """Runs representations [T, n, ...] of all tasks through the columns.

        The `probabilities` tell how much of each column a column reads: absolute weights over their
        sum, with depth 1 all its own.
        """
        del exploration, tasks
        if self.mixes:
            x = mixtures.mix(self._all_columns(x), self.mixes[-1])
        bank = self.banks[self.bank_of_depth[-1]]
        logits = jax.vmap(bank.apply_block)(bank(x[0]), x)
        return Routed(logits.astype(jnp.float32), None, self._shares())

    def _all_columns(self, x: jax.Array) -> jax.Array:
        """Outputs [columns, T, n, ...] of every column for every example, before the last layer."""
        layers = [self.banks[index] for index in self.bank_of_depth[:-1]]
        stages = [dispatch.Stage(bank.apply_block, bank) for bank in layers]
        banks = dispatch.banks_of(stages, x.reshape(-1, *x.shape[2:]))
        columns = partial(_run_columns, [bank.apply_block for bank in layers])
        return mesh.by_examples(columns, (banks, self.mixes[:-1]), x, out_axis=2)

    def _shares(self) -> jax.Array:
        """float32 [T, 1, D, T]."""
        read = jnp.stack([jnp.eye(self.num_tasks), *self.mixes], axis=1)
        # A column that reads nothing at all counts as reading all alike.
        size = jnp.abs(jax.lax.stop_gradient(read)) + jnp.finfo(read.dtype).tiny
        return (size / size.sum(-1, keepdims=True))[:, None]


def _run_columns(
    layers: Sequence[ApplyBlock], common: tuple[Sequence[Params], Sequence[jax.Array]], x: jax.Array
) -> jax.Array:
    """Outputs [columns, T, n, ...] for x [T, n, ...], given banks and the mixes between them."""
    banks, mixes = common
    rows = x.reshape(-1, *x.shape[2:])
    columns = jnp.broadcast_to(rows, (jax.tree.leaves(banks)[0].shape[0], *rows.shape))
    for depth, (apply_block, bank) in enumerate(zip(layers, banks, strict=True)):
        if depth:
            mix = mixes[depth - 1].astype(columns.dtype)
            columns = (mix @ columns.reshape(len(mix), -1)).reshape(columns.shape)
        columns = jax.vmap(apply_block)(bank, columns)
    return columns.reshape(-1, *x.shape[:2], *columns.shape[2:])
