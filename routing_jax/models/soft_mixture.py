"""The baseline soft-mixture-fc of Rosenbaum et al. (2018): a softmax in place of the choice."""

import jax

from routing_jax import mixtures
from routing_jax.models.network import MultiTaskNetwork, Routed, of_tasks
from routing_jax.models.routed_layers import mix_through
from routing_jax.routers.mixture import Mixture
from routing_jax.types import Exploration


class SoftMixtureNetwork(MultiTaskNetwork):
    """Every task mixes the outputs of all blocks, by weights of its own at each depth.

    The weights are a softmax, start equal, and learn by back-propagation.

    Attributes:
      encoder, banks, bank_of_depth, head, dropout, norms: see `MultiTaskNetwork`.
      router: the weights.
    """

    router: Mixture

    @property
    def num_tasks(self) -> int:
        """T."""
        return self.router.num_tasks

    def route(
        self,
        x: jax.Array,
        exploration: Exploration | None = None,
        tasks: jax.Array | None = None,
    ) -> Routed:
        """Mixes the blocks for representations [T, n, ...]; `probabilities` are the weights."""
        weights = of_tasks(self.router.weights(), tasks)
        banks = [self.banks[index] for index in self.bank_of_depth]
        x = mix_through(banks, x, weights, mix=mixtures.mix_outputs, finish=self.norms)
        logits = self.answer(x, training=exploration is not None, tasks=tasks)
        return Routed(logits, None, jax.lax.stop_gradient(weights)[:, None])
