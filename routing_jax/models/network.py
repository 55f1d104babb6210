"""What all systems have in common: one encoder, banks of blocks over it, logits per task."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax import mesh
from routing_jax.blocks import Bank, BlockBank
from routing_jax.dispatch import on_rows
from routing_jax.routers.router import Router
from routing_jax.types import Decisions, Exploration


class Routed(NamedTuple):
    """A batch and the routes it took."""

    logits: jax.Array
    """float32 [T, n, C]."""
    decisions: Decisions | None
    """None where routes are mixtures of all blocks."""
    probabilities: jax.Array
    """float32 [T, n or 1, D, A], the policy that decided, exploration left out; or the weights of
    the mixtures; or the probabilities of switches."""
    observations: tuple[jax.Array, ...] = ()
    """What the router saw; see `types.Trajectory`."""
    allocation: jax.Array | None = None
    """float32 [T, D, K], the probabilities that blocks are on, for their penalties; None where
    blocks are not switched on and off."""
    features: tuple[jax.Array, ...] = ()
    """What the last block gives, [T, n, height, width, F], and what the heads take, [T, n, F],
    where the features of tasks are compared."""
    rivals: jax.Array | None = None
    """float32 [T, n], the log-sum-exp of the logits of the classes of all other tasks, where an
    example's class has to be told from these too; else None."""


class MultiTaskNetwork(nn.Module):
    """A shared encoder, then D layers of function blocks, and logits.

    The last layer gives the logits, unless there is a head: then each task has a layer of its own
    for them behind the D layers, or all of them share one.

    A system is a subclass with `num_tasks` and `route`; `initialise` is there for parameters that a
    forward pass alone does not touch.

    Attributes:
      encoder: uint8 images [B, ...] to representations [B, ...].
      banks: the distinct banks.
      bank_of_depth: for each depth, the bank it draws from (one bank at several depths is
        "recursive" routing).
      head: a bank of one layer for each task, or of a single one for all; None where the last
        routed layer gives the logits.
      dropout: share of the features that training drops before the head.
      norms: for each depth what stands behind its layer, the same for all tasks and blocks; empty
        where nothing does.
      frozen_statistics: whether training passes, too, normalise by the running averages and leave
        them as they are, so that what trains meets what it will meet in tests.
      frozen_routes: whether training passes, too, take the best routes, as nothing learns from
        others; mixtures have no others.
    """

    encoder: nn.Module
    banks: Sequence[Bank]
    bank_of_depth: tuple[int, ...]
    head: BlockBank | None
    dropout: float
    norms: tuple[nn.Module, ...]
    frozen_statistics: bool = dataclasses.field(default=False, kw_only=True)
    frozen_routes: bool = dataclasses.field(default=False, kw_only=True)

    switches_blocks: ClassVar[bool] = False
    """Whether `probabilities` are those of blocks to be on, which need not add up to 1."""

    def __call__(
        self, images: jax.Array, *, exploration: Exploration, tasks: jax.Array | None = None
    ) -> Routed:
        """One training pass: sampled decisions, batch normalisation by the batch.

        Args:
          images: uint8 [T, n, ...], or [1, n, ...] where all tasks look at the same images.
          exploration: what decisions are drawn with.
          tasks: int32 [R], the tasks that the images are of, [R or 1, n, ...]; None for all.
            Everything in what is returned then has R for T.
        """
        train = not self.frozen_statistics
        x = mesh.on_rows(lambda rows: self.encode(rows, train=train), images)
        rows = self.num_tasks if tasks is None else len(tasks)
        x = jnp.broadcast_to(x, (rows, *x.shape[1:]))
        if self.is_initializing():
            self.initialise(x)
        return self.route(x, exploration, tasks)

    def encode(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Representations [B, ...] of uint8 images [B, ...]."""
        return self.encoder(images, train=train)

    def route(
        self,
        x: jax.Array,
        exploration: Exploration | None = None,
        tasks: jax.Array | None = None,
    ) -> Routed:
        """Sends representations [T, n, ...] along their routes, the best ones by default.

        Args:
          x: the representations.
          exploration: what decisions are drawn with.
          tasks: see `__call__`.
        """
        raise NotImplementedError

    def answer(self, x: jax.Array, *, training: bool, tasks: jax.Array | None = None) -> jax.Array:
        """Logits, float32 [T, n, C], of what the last layer gave, [T, n, ...]."""
        if self.head is not None:
            if training and self.dropout > 0:
                x = _drop(self.make_rng("router"), x, self.dropout)
            x = self._through_head(x, tasks)
        return x.astype(jnp.float32)

    def _through_head(self, x: jax.Array, tasks: jax.Array | None) -> jax.Array:
        heads = self.head(x[0])
        if self.head.num_blocks == 1:  # of all tasks, or of the only one
            head = jax.tree.map(lambda leaf: leaf[0], heads)
            return on_rows(partial(self.head.apply_block, head), x)
        own = jax.tree.map(lambda leaf: of_tasks(leaf, tasks), heads)
        return jax.vmap(self.head.apply_block)(own, x)

    def initialise(self, x: jax.Array) -> None:
        """Touches the parameters that `route` may leave out, given representations [T, n, ...]."""

    @property
    def learned_router(self) -> Router | None:
        """The router, where reinforcement learning trains one."""
        return None

    @property
    def num_blocks(self) -> int:
        """K; the most of all depths where they differ."""
        return max(bank.num_blocks for bank in self.banks)


def of_tasks(rows: jax.Array, tasks: jax.Array | None) -> jax.Array:
    """The rows [R, ...] of some tasks, int32 [R], out of those of all, [T, ...]; None for all."""
    return rows if tasks is None else rows[tasks]


def _drop(key: jax.Array, x: jax.Array, share: float) -> jax.Array:
    """Dropout: zeros for a random share of `x`, the rest grown by as much."""
    kept = jax.random.bernoulli(key, 1 - share, x.shape)
    return jnp.where(kept, x / (1 - share), 0)
