"""The numbers are those of `jax.random`."""

import jax
import numpy as np
import pytest

from routing_jax.threefry import uniform


@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (10, 102, 3)])
@pytest.mark.parametrize("seed", [0, 7, 2**31])
def test_the_numbers_are_those_of_jax_random(shape, seed):
    key = jax.random.key(seed)
    np.testing.assert_array_equal(uniform(key, shape), jax.random.uniform(key, shape))


def test_a_vmap_over_keys_draws_what_each_key_draws():
    keys = jax.random.split(jax.random.key(1), 3)
    together = jax.vmap(lambda key: uniform(key, (4,)))(keys)
    for key, drawn in zip(keys, together, strict=True):
        np.testing.assert_array_equal(drawn, jax.random.uniform(key, (4,)))


def test_other_generators_and_old_keys_are_left_to_jax_random():
    key = jax.random.key(0, impl="rbg")
    np.testing.assert_array_equal(uniform(key, (6,)), jax.random.uniform(key, (6,)))
    raw = jax.random.PRNGKey(3)
    np.testing.assert_array_equal(uniform(raw, (6,)), jax.random.uniform(raw, (6,)))
