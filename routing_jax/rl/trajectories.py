"""From the routes of a batch to the trajectory that a router learns from."""

import jax
import jax.numpy as jnp

from routing_jax.rl.rewards import collaboration
from routing_jax.types import Routes, Trajectory


def trajectory(
    routes: Routes,
    final_reward: jax.Array,
    *,
    rho: jax.Array | float = 0.0,
    weights: jax.Array | None = None,
) -> Trajectory:
    """What a router learns from a batch, for the keyword `trajectory` of its optimizer.

    Args:
      routes: of the batch, as `RoutedStack` returns them in training.
      final_reward: float32 [B] or [T, n], for the answer to each example, such as 1 and -1 or the
        negative loss; finite also where there is no label.
      rho: weight of the collaboration reward (Rosenbaum et al. 2018, section 3): here the
        probability of the action taken, as the policies have it in the mean over the batch.
      weights: 1 where an example has a label and 0 elsewhere, shaped like the reward; all ones by
        default.

    Raises:
      ValueError: these routes were not drawn in training, or the rewards are not one an example.
    """
    if routes.decisions is None or routes.exploration is None:
        raise ValueError(
            "these routes hold no decisions that were drawn: call the model with train=True. Where "
            "blocks are mixed instead of chosen there is no trajectory, and the router learns by "
            "back-propagation."
        )
    agents = routes.decisions.agents
    if jnp.size(final_reward) != agents.size:
        raise ValueError(
            f"final_reward has shape {jnp.shape(final_reward)}; give one number for each of the "
            f"{agents.size} examples."
        )
    popularity = routes.probabilities.mean((0, 1))
    weights = jnp.ones(agents.shape) if weights is None else jnp.reshape(weights, agents.shape)
    return Trajectory(
        decisions=routes.decisions,
        rewards=rho * collaboration(popularity, routes.decisions.actions),
        final_reward=jnp.reshape(final_reward, agents.shape).astype(jnp.float32) * weights,
        weights=weights,
        exploration=routes.exploration,
        observations=routes.observations,
        key=routes.key,
        tasks=routes.tasks,
    )
