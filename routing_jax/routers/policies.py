"""Policies: what maps an agent, a depth and perhaps an input to one number per action."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax import dispatch
from routing_jax.blocks import BlockBank

Start = jax.Array | float


class TabularPolicy(nn.Module):
    """One row of numbers per agent and depth, blind to the input.

    Attributes:
      num_agents: G.
      depth: D.
      num_outputs: O; the actions, or 1 for a critic.
      initial: the value of every agent's rows at the start, nested tuples [D, O]; zeros if empty.
    """

    num_agents: int
    depth: int
    num_outputs: int
    initial: tuple[tuple[float, ...], ...] = ()

    looks_at_input = False

    @nn.compact
    def __call__(self) -> jax.Array:
        """The table, float32 [G, D, O]."""
        return self.param("table", self._start)

    def _start(self, key: jax.Array) -> jax.Array:
        del key
        rows = self.initial or ((0.0,) * self.num_outputs,) * self.depth
        return jnp.tile(jnp.asarray(rows, jnp.float32), (self.num_agents, 1, 1))


class FixedPolicy(nn.Module):
    """One route per task that nothing changes; has no parameters.

    Attributes:
      routes: int [T, D], the action of each task at each depth; nested tuples, or an array where
        they are drawn.
      num_actions: A.
    """

    routes: tuple[tuple[int, ...], ...] | jax.Array
    num_actions: int

    looks_at_input = False

    @property
    def num_agents(self) -> int:
        """G = T."""
        return len(self.routes)

    def __call__(self) -> jax.Array:
        """Certainty of the routes, float32 [T, D, A]."""
        return jax.nn.one_hot(jnp.asarray(self.routes), self.num_actions)


def see(x: jax.Array, *, num_tasks: int, tasks: jax.Array | None = None) -> jax.Array:
    """What a network of a router sees of representations: float32 [T, n, F'].

    No gradient flows back into them: a router looks at representations, it does not shape them.

    Args:
      x: [T, n, ...].
      num_tasks: T, to see the task too, as one-hot; 0 not to.
      tasks: int32 [T, n], the task of each example where rows are not tasks.
    """
    seen = jax.lax.stop_gradient(x.reshape(*x.shape[:2], -1)).astype(jnp.float32)
    if not num_tasks:
        return seen
    one_hot = jnp.eye(num_tasks)
    one_hot = one_hot[:, None] if tasks is None else one_hot[tasks]
    one_hot = jnp.broadcast_to(one_hot, (*x.shape[:2], num_tasks))
    return jnp.concatenate([seen, one_hot], axis=-1)


class PolicyNetwork(nn.Module):
    """Two layers, [..., F] to [..., num_outputs]; starts indifferent, with zeros."""

    hidden: int
    num_outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(self.num_outputs, kernel_init=nn.initializers.zeros)(x)


class ApproximatorPolicy(nn.Module):
    """A small network per agent that sees the representation (Rosenbaum et al. 2018, section 4).

    The networks of all agents are a bank, and the agent of an example is the action that selects
    one. The representation is looked at, not changed: no gradient flows back into it.

    Attributes:
      num_agents: G.
      num_tasks: T.
      depth: D.
      num_outputs: O; the actions, or 1 for a critic.
      hidden: hidden units.
      shared: one network for all depths, which sees the depth as one-hot; else one per depth.
      task_input: whether the task is seen too, as one-hot.
      strategy: of `dispatch.select` for the networks.
    """

    num_agents: int
    num_tasks: int
    depth: int
    num_outputs: int
    hidden: int = 64
    shared: bool = False
    task_input: bool = False
    strategy: str = "auto"

    looks_at_input = True

    def setup(self) -> None:
        network = PolicyNetwork(self.hidden, self.num_outputs)
        count = 1 if self.shared else self.depth
        self.banks = [BlockBank(network, self.num_agents) for _ in range(count)]

    def __call__(
        self, depth: int, x: jax.Array, agents: jax.Array, tasks: jax.Array | None = None
    ) -> jax.Array:
        """The outputs at one depth.

        Args:
          depth: in `0 .. D-1`.
          x: representations [T, n, ...].
          agents: int32 [T, n], or [T] where a row has one agent.
          tasks: int32 [T, n], the task of each example where rows are not tasks.

        Returns:
          float32 [T, n, O].
        """
        bank = self.banks[0 if self.shared else depth]
        seen = self._see(depth, x, tasks)
        return dispatch.select(
            bank.apply_block, bank(seen[0]), seen, agents, strategy=self.strategy
        )

    def _see(self, depth: int, x: jax.Array, tasks: jax.Array | None) -> jax.Array:
        """The network's input, [T, n, F']."""
        seen = see(x, num_tasks=self.num_tasks if self.task_input else 0, tasks=tasks)
        if not self.shared:
            return seen
        one_hot = jax.nn.one_hot(depth, self.depth)
        one_hot = jnp.broadcast_to(one_hot, (*x.shape[:2], self.depth))
        return jnp.concatenate([seen, one_hot], axis=-1)


class ControlVariate(nn.Module):
    """A guess of the return from a relaxed action, for RELAX (Grathwohl et al. 2018).

    Sees the agent and the depth besides; any function is allowed, a good one lowers the variance.

    Attributes:
      num_agents: G.
      hidden: hidden units.
    """

    num_agents: int
    hidden: int = 64

    @nn.compact
    def __call__(self, relaxed: jax.Array, agents: jax.Array) -> jax.Array:
        """float32 [T, n, D] of relaxed actions [T, n, D, A] and int32 agents [T, n]."""
        shape = relaxed.shape[:-1]
        agent = jax.nn.one_hot(agents, self.num_agents)[:, :, None]
        depth = jnp.broadcast_to(jnp.eye(shape[-1]), (*shape, shape[-1]))
        agent = jnp.broadcast_to(agent, (*shape, self.num_agents))
        seen = jnp.concatenate([relaxed, agent, depth], axis=-1)
        return PolicyNetwork(self.hidden, 1)(seen)[..., 0]
