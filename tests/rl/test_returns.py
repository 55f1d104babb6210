"""Returns of a trajectory, and one-step targets."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from routing_jax.rl.returns import bootstrapped, discounted_returns


def test_golden_returns():
    # Final reward 1 in the last one: q3 = 0.3 + 1 = 1.3;  q2 = 0.2 + 0.5 * 1.3 = 0.85;
    # q1 = 0.1 + 0.5 * 0.85 = 0.525.
    value = discounted_returns(jnp.array([0.1, 0.2, 1.3]), 0.5)
    np.testing.assert_allclose(value, [0.525, 0.85, 1.3], rtol=1e-6)


def test_without_discount_the_first_return_is_the_sum():
    value = discounted_returns(jnp.array([[0.1, 0.2, -0.7]]), 1.0)
    np.testing.assert_allclose(value, [[-0.4, -0.5, -0.7]], rtol=1e-6)


def test_golden_targets():
    # 0.1 + 0.5 * 3, 0.2 + 0.5 * 4, and nothing after the last.
    value = bootstrapped(jnp.array([0.1, 0.2, 1.3]), jnp.array([2.0, 3.0, 4.0]), 0.5)
    np.testing.assert_allclose(value, [1.6, 2.2, 1.3], rtol=1e-6)


def test_golden_targets_of_a_trace():
    # From the end: 1.3; 0.2 + 0.5 * (0.75 * 4 + 0.25 * 1.3) = 1.8625;
    # 0.1 + 0.5 * (0.75 * 3 + 0.25 * 1.8625) = 1.4578125.
    value = bootstrapped(jnp.array([0.1, 0.2, 1.3]), jnp.array([2.0, 3.0, 4.0]), 0.5, trace=0.25)
    np.testing.assert_allclose(value, [1.4578125, 1.8625, 1.3], rtol=1e-6)


@given(st.integers(1, 6), st.floats(0, 1), st.integers(0, 2**31 - 1))
def test_returns_equal_their_definition_as_a_sum(depth, discount, seed):
    rewards = np.random.default_rng(seed).normal(size=(2, 3, depth))
    expected = np.zeros_like(rewards)
    for i in range(depth):
        for j in range(i, depth):
            expected[..., i] += discount ** (j - i) * rewards[..., j]
    value = discounted_returns(jnp.asarray(rewards, jnp.float32), discount)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 6), st.floats(0, 1), st.integers(0, 2**31 - 1))
def test_returns_satisfy_the_one_step_equation(depth, discount, seed):
    rewards = np.random.default_rng(seed).normal(size=(2, depth)).astype(np.float32)
    returns = discounted_returns(jnp.asarray(rewards), discount)
    value = bootstrapped(jnp.asarray(rewards), returns, discount)
    np.testing.assert_allclose(value, returns, rtol=1e-5, atol=1e-6)
