"""One training step: what the router is told."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from routing_jax.models.factory import make_model
from routing_jax.objectives import OBJECTIVES
from routing_jax.rl.rewards import UsageHistory
from routing_jax.training import loop
from routing_jax.training.run import make_run
from routing_jax.training.step import train_step


def trajectory_recorder() -> optax.GradientTransformationExtraArgs:
    """Changes no parameter and keeps the newest trajectory's rewards and actions as its state."""

    def update(updates, state, params=None, *, trajectory, **extra):
        del state, params, extra
        zeros = jax.tree.map(jnp.zeros_like, updates)
        return zeros, (trajectory.rewards, trajectory.decisions.actions)

    return optax.GradientTransformationExtraArgs(lambda params: None, update)


@pytest.mark.parametrize("collaboration", ["usage", "probability"])
def test_the_collaboration_reward_is_rho_times_a_share_of_the_past(
    tiny_config, digits, collaboration
):
    config = tiny_config(
        reward__rho=0.5, reward__collaboration=collaboration, reward__usage_window=4
    )
    run = make_run(config, digits)
    train = loop.to_device(digits.train)
    state = jax.jit(run.program.init)(run.hyper, train)
    # Two depths, four blocks: shares (1/2, 1/4, 1/4, 0) and (0, 0, 0, 1) before this batch.
    shares = jnp.array([[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]])
    if collaboration == "usage":
        state = state._replace(usage=UsageHistory(jnp.array([[0, 1, 0, 2], [3, 3, 3, 3]])))
    else:
        probabilities = jnp.broadcast_to(shares, (10, 2, 4))
        state = state._replace(routing=state.routing._replace(probabilities=probabilities))

    @jax.jit
    def step(state):
        return train_step(
            config,
            make_model(config, run.program.shape, block_noise=0.1),
            trajectory_recorder(),
            OBJECTIVES["classification"],
            run.hyper,
            state,
            train,
            total_steps=12,
        )

    rewards, actions = step(state).optimizer
    expected = 0.5 * np.asarray(shares)[np.arange(2), np.asarray(actions)]
    np.testing.assert_allclose(rewards, expected, rtol=1e-6)
    assert len(set(np.asarray(actions)[..., 0].reshape(-1))) > 1
