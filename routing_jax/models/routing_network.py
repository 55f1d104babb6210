"""The routing network of Rosenbaum et al. (2018): an encoder and routed layers over it."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax import dispatch
from routing_jax.blocks import BlockBank
from routing_jax.types import Decisions


class Routed(NamedTuple):
    """Result of a training pass."""

    logits: jax.Array
    """float32 [T, n, C]."""
    decisions: Decisions


class RoutingNetwork(nn.Module):
    """A shared encoder, then D routed layers; the last one gives the logits.

    Attributes:
      encoder: uint8 images [B, ...] to representations [B, F].
      banks: the distinct banks.
      bank_of_depth: for each depth, the bank it draws from (one bank at several depths is
        "recursive" routing).
      router: see `routers`.
      strategy: of `dispatch.select`.
    """

    encoder: nn.Module
    banks: Sequence[BlockBank]
    bank_of_depth: tuple[int, ...]
    router: nn.Module
    strategy: str = "auto"

    def __call__(
        self, images: jax.Array, *, epsilon: jax.Array | float, temperature: jax.Array | float
    ) -> Routed:
        """One training pass: sampled decisions, batch normalisation by the batch.

        Args:
          images: uint8 [T, n, ...], or [1, n, ...] where all tasks look at the same images.
          epsilon: exploration; see `TabularRouter`.
          temperature: exploration; see `TabularRouter`.
        """
        x = self.encode(images.reshape(-1, *images.shape[2:]), train=True)
        decisions = self.router(images.shape[1], epsilon=epsilon, temperature=temperature)
        x = x.reshape(*images.shape[:2], -1)
        x = jnp.broadcast_to(x, (*decisions.actions.shape[:2], x.shape[-1]))
        actions = decisions.actions[:, 0] if self.router.per_task else decisions.actions
        return Routed(self.route(x, actions), decisions)

    def encode(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Representations [B, F] of uint8 images [B, ...]."""
        return self.encoder(images, train=train)

    def route(self, x: jax.Array, actions: jax.Array) -> jax.Array:
        """Logits [T, n, C] of representations [T, n, F] along int32 actions [T, n, D] or [T, D]."""
        stages = []
        for depth, bank_index in enumerate(self.bank_of_depth):
            bank = self.banks[bank_index]
            may_pass = self.router.may_pass(depth, bank.num_blocks)
            stages.append(dispatch.Stage(bank.apply_block, bank, may_pass, bank.apply_ragged))
        x = dispatch.route(stages, x, actions, strategy=self.strategy)
        return x.astype(jnp.float32)

    @property
    def num_actions(self) -> int:
        """A."""
        return len(self.router.allowed[0])

    def routing(self) -> jax.Array:
        """Routing probabilities, float32 [T, D, A]."""
        return self.router.routing()

    def greedy(self) -> jax.Array:
        """Greedy action of each task at each depth, int32 [T, D]."""
        return self.router.greedy()
