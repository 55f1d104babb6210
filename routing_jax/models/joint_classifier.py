"""The baseline without tasks: one classifier of the classes of all tasks."""

import jax
import jax.numpy as jnp

from routing_jax.models.network import MultiTaskNetwork, Routed
from routing_jax.types import Exploration


class JointClassifierNetwork(MultiTaskNetwork):
    """One trunk and one softmax over the classes of all tasks; asked for a task, over its own.

    What learning a hundred classes at once gives without any notion of tasks, which a multi-task
    network should beat. Training tells an example's class from the classes of all tasks; `logits`
    are those of the example's own task, so that an evaluation chooses among these, as it does for
    every other network.

    Attributes:
      encoder, banks, bank_of_depth, head, dropout, norms: see `MultiTaskNetwork`. The last bank
        has a block for each task, which gives the logits of its classes; the others have one.
    """

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
        """Runs representations [T, n, ...] of all tasks; a route is the trunk and own logits."""
        del exploration, tasks
        shape = x.shape[:2]
        rows = x.reshape(-1, *x.shape[2:])
        for index in self.bank_of_depth[:-1]:
            bank = self.banks[index]
            only = jax.tree.map(lambda leaf: leaf[0], bank(rows))
            rows = bank.apply_block(only, rows)
        bank = self.banks[self.bank_of_depth[-1]]
        everyone = jax.vmap(bank.apply_block, in_axes=(0, None))(bank(rows), rows)
        everyone = everyone.astype(jnp.float32).reshape(self.num_tasks, *shape, -1)
        own = jnp.arange(self.num_tasks)
        others = everyone.at[own, own].set(-jnp.inf)
        rivals = jax.nn.logsumexp(others, axis=(0, -1)) if self.num_tasks > 1 else None
        return Routed(everyone[own, own], None, self._routes(), rivals=rivals)

    def _routes(self) -> jax.Array:
        """float32 [T, 1, D, T], one-hot: the one trunk, then each task's own."""
        trunk = jnp.zeros((self.num_tasks, len(self.bank_of_depth) - 1), jnp.int32)
        own = jnp.arange(self.num_tasks)[:, None]
        return jax.nn.one_hot(jnp.concatenate([trunk, own], axis=1), self.num_tasks)[:, None]
