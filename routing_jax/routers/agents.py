"""Agents: who decides for an example (Rosenbaum et al. 2018, figure 3)."""

import flax.linen as nn
import jax

from routing_jax.routers.policies import PolicyNetwork, see


def assign_agents(agent: str, num_tasks: int) -> tuple[int, ...]:
    """The fixed agent of each task, T of them (figure 3 a and b).

    Args:
      agent: "per_task", an agent of its own for each task, or "single", one for all.
      num_tasks: T.
    """
    return (0,) * num_tasks if agent == "single" else tuple(range(num_tasks))


class Dispatcher(nn.Module):
    """A learned assignment: picks the agent of an example from its representation (figure 3 c).

    Attributes:
      num_agents: G.
      num_tasks: T.
      hidden: hidden units.
      task_input: whether the task is seen too, as one-hot.
    """

    num_agents: int
    num_tasks: int
    hidden: int = 64
    task_input: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, tasks: jax.Array | None = None) -> jax.Array:
        """Logits over agents, float32 [T, n, G], of representations [T, n, ...].

        Args:
          x: the representations.
          tasks: int32 [T, n], the task of each example where rows are not tasks.
        """
        seen = see(x, num_tasks=self.num_tasks if self.task_input else 0, tasks=tasks)
        return PolicyNetwork(self.hidden, self.num_agents)(seen)
