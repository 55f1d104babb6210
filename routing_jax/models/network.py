"""What all systems have in common: one encoder, banks of blocks over it, logits per task."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax.blocks import BlockBank
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
    the mixtures."""
    observations: tuple[jax.Array, ...] = ()
    """What the router saw; see `types.Trajectory`."""


class MultiTaskNetwork(nn.Module):
    """A shared encoder, then D layers of function blocks; the last one gives the logits.

    A system is a subclass with `num_tasks` and `route`; `initialise` is there for parameters that a
    forward pass alone does not touch.

    Attributes:
      encoder: uint8 images [B, ...] to representations [B, ...].
      banks: the distinct banks.
      bank_of_depth: for each depth, the bank it draws from (one bank at several depths is
        "recursive" routing).
    """

    encoder: nn.Module
    banks: Sequence[BlockBank]
    bank_of_depth: tuple[int, ...]

    def __call__(self, images: jax.Array, *, exploration: Exploration) -> Routed:
        """One training pass: sampled decisions, batch normalisation by the batch.

        Args:
          images: uint8 [T, n, ...], or [1, n, ...] where all tasks look at the same images.
          exploration: what decisions are drawn with.
        """
        x = self.encode(images.reshape(-1, *images.shape[2:]), train=True)
        x = x.reshape(*images.shape[:2], *x.shape[1:])
        x = jnp.broadcast_to(x, (self.num_tasks, *x.shape[1:]))
        if self.is_initializing():
            self.initialise(x)
        return self.route(x, exploration)

    def encode(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Representations [B, ...] of uint8 images [B, ...]."""
        return self.encoder(images, train=train)

    def route(self, x: jax.Array, exploration: Exploration | None = None) -> Routed:
        """Sends representations [T, n, ...] along their routes, the best ones by default."""
        raise NotImplementedError

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
