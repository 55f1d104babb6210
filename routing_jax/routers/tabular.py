"""Tabular routers: one distribution over actions per agent and depth, blind to the input."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.types import Decisions

AGENTS = ("per_task", "single")


def assign_agents(agent: str, num_tasks: int) -> np.ndarray:
    """The fixed agent of each task: int32 [T] (Rosenbaum et al. 2018, figure 3 a and b).

    Args:
      agent: "per_task", an agent of its own for each task, or "single", one for all.
      num_tasks: T.
    """
    if agent == "single":
        return np.zeros(num_tasks, np.int32)
    return np.arange(num_tasks, dtype=np.int32)


class TabularRouter(nn.Module):
    """A policy table [G, D, A] of probabilities.

    The table is the parameter `policy`; its optimizer keeps every row a distribution (see
    `rl.transforms.project_to_simplex`). It starts uniform over the allowed actions, and an action
    that is not allowed stays at zero. Because nothing depends on the input, the decisions of all
    depths are drawn before the forward pass.

    Attributes:
      agent_of_task: int [T], in `0 .. G-1`.
      allowed: bool [D, A] as nested tuples, the actions offered at each depth.
      per_task: one decision per task, depth and step, instead of one per example.
    """

    agent_of_task: tuple[int, ...]
    allowed: tuple[tuple[bool, ...], ...]
    per_task: bool = False

    def setup(self) -> None:
        self.policy = self.param("policy", self._uniform)

    def __call__(
        self,
        num_examples: int,
        *,
        epsilon: jax.Array | float = 0.0,
        temperature: jax.Array | float = 1.0,
    ) -> Decisions:
        """Draws decisions for a batch, with the random stream "router".

        Args:
          num_examples: n.
          epsilon: probability of a uniform allowed action instead of one by the policy.
          temperature: actions are drawn by `policy ** (1 / temperature)`.

        Returns:
          Decisions with actions [T, n, D].
        """
        agents = jnp.asarray(self.agent_of_task)
        draws = 1 if self.per_task else num_examples
        actions = _sample(
            self.make_rng("router"), self._exploring(epsilon, temperature)[agents], draws
        )
        shape = (agents.size, num_examples)
        return Decisions(
            jnp.broadcast_to(actions, (*shape, actions.shape[-1])),
            jnp.broadcast_to(agents[:, None], shape).astype(jnp.int32),
        )

    def routing(self) -> jax.Array:
        """The probabilities of each task's own agent: float32 [T, D, A]."""
        return self.policy[jnp.asarray(self.agent_of_task)]

    def greedy(self) -> jax.Array:
        """The most probable action of each task at each depth: int32 [T, D]."""
        return self.routing().argmax(-1).astype(jnp.int32)

    def may_pass(self, depth: int, num_blocks: int) -> bool:
        """Whether PASS, the action behind the blocks, is offered at this depth."""
        return any(self.allowed[depth][num_blocks:])

    def _exploring(self, epsilon: jax.Array | float, temperature: jax.Array | float) -> jax.Array:
        """The probabilities that actions are drawn by, [G, D, A]."""
        tempered = jax.nn.softmax(jnp.log(self.policy) / temperature)
        return (1 - epsilon) * tempered + epsilon * self._start()

    def _uniform(self, key: jax.Array) -> jax.Array:
        del key
        agents = max(self.agent_of_task) + 1
        return jnp.tile(self._start(), (agents, 1, 1))

    def _start(self) -> jax.Array:
        allowed = jnp.asarray(self.allowed, jnp.float32)
        return (allowed / allowed.sum(-1, keepdims=True))[None]


def _sample(key: jax.Array, probabilities: jax.Array, draws: int) -> jax.Array:
    """Actions int32 [T, draws, D] by probabilities [T, D, A].

    By inverting the distribution function: one random number a decision, where the Gumbel trick of
    `jax.random.categorical` takes A, which costs more than a routed layer.
    """
    distribution = jnp.cumsum(probabilities, axis=-1)
    # Exactly 1 from the last possible action on, so that rounding cannot lead behind it.
    distribution = distribution / distribution[..., -1:]
    tasks, depth, _ = probabilities.shape
    uniform = jax.random.uniform(key, (tasks, draws, depth))
    return (uniform[..., None] >= distribution[:, None]).sum(-1).astype(jnp.int32)
