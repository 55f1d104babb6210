"""The straight-through Gumbel-softmax at fixed noise."""

import jax
import jax.numpy as jnp
import numpy as np
from small_routers import make_learner

from routing_jax.routers.router import straight_through


def test_hand_values_at_fixed_noise(monkeypatch):
    # p = (1/4, 3/4), noise (1, 0): log p + noise = (-0.386294, -0.287682), so action 1.
    # Temperature 0.5: y1 = 1 / (1 + exp(-0.098612 / 0.5)) = 0.549147.
    # d y1 / d log p1 = y1 * (1 - y1) / 0.5 = 0.495169, and minus that for log p0.
    monkeypatch.setattr(jax.random, "gumbel", lambda key, shape: jnp.array([1.0, 0.0]))
    log_probs = jnp.log(jnp.array([0.25, 0.75]))

    def scale_of(log_probs):
        actions, scale = straight_through(jax.random.key(0), log_probs, 0.5)
        return scale, actions

    scale, actions = scale_of(log_probs)
    assert (int(actions), float(scale)) == (1, 1.0)
    slope, _ = jax.grad(scale_of, has_aux=True)(log_probs)
    np.testing.assert_allclose(slope, [-0.495169, 0.495169], rtol=1e-5)


def test_actions_are_drawn_by_the_policy_whatever_the_temperature():
    policy = jnp.array([[[0.2, 0.5, 0.3]]])
    for temperature in (0.1, 5.0):
        learner = make_learner(
            "gumbel_softmax", tasks=1, allowed=((True,) * 3,), temperature=temperature
        )
        states = (jnp.zeros((1, 40_000, 4)),)
        params = {"policy": {"table": jnp.log(policy)}}
        decisions, scales = learner.decide(params, states, jax.random.key(0))
        shares = np.bincount(np.asarray(decisions.actions).ravel(), minlength=3) / 40_000
        np.testing.assert_allclose(shares, policy[0, 0], atol=0.0125)  # 5 standard errors
        np.testing.assert_array_equal(scales, np.ones_like(scales))
