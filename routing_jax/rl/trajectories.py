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
    action_losses: jax.Array | None = None,
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
      action_losses: float32 [D, A, B] or [D, A, T, n], the losses of what
        `RoutedStack.alternatives` gives; for the rule `"hedge"`, which learns from them alone.

    Raises:
      ValueError: these routes were not drawn in training, the rewards are not one an example, or
        the losses not one for each example, depth and action.
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
    if action_losses is not None:
        action_losses = _of_examples(action_losses, routes)
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
        action_losses=action_losses,
        tasks=routes.tasks,
    )


def _of_examples(action_losses: jax.Array, routes: Routes) -> jax.Array:
    """Losses [D, A, B] or [D, A, T, n] as a trajectory has them, [T, n, D, A]."""
    examples, (*_, depth, actions) = routes.decisions.agents.shape, routes.probabilities.shape
    shape = jnp.shape(action_losses)
    expected = (depth, actions, *(examples if routes.tasks is None else examples[1:]))
    if shape != expected:
        raise ValueError(
            f"action_losses has shape {shape}; give {expected}: one loss for each depth, action "
            "and example, of what RoutedStack.alternatives gives."
        )
    by_depth = jnp.reshape(action_losses, (depth, actions, *examples))
    return jnp.moveaxis(by_depth, (0, 1), (2, 3)).astype(jnp.float32)
