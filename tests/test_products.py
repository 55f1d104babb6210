"""The product of a dense block: the same value and gradients as a plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.blocks import BlockBank, DenseBlock
from routing_jax.products import dot_general


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (2, 8), (9,)])  # many and few rows
def test_the_product_and_its_gradients_are_those_of_a_plain_one(shape):
    rng = np.random.default_rng(0)
    x, kernel, upstream = (
        jnp.asarray(rng.normal(size=size), jnp.float32)
        for size in (shape, (shape[-1], 2), (*shape[:-1], 2))
    )
    numbers = (((len(shape) - 1,), (0,)), ((), ()))
    mine = jax.vjp(lambda x, k: dot_general(x, k, numbers, precision=None), x, kernel)
    plain = jax.vjp(jnp.matmul, x, kernel)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        (mine[0], mine[1](upstream)),
        (plain[0], plain[1](upstream)),
    )


@pytest.mark.parametrize("activation", [True, False])
def test_all_blocks_on_sorted_rows_equal_one_block_after_the_other(activation):
    bank = BlockBank(DenseBlock(3, activation), 3)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)), jnp.float32)
    params = bank.init(jax.random.key(0), x)["params"]["blocks"]
    params["Dense_0"]["bias"] = jnp.arange(9.0).reshape(3, 3)
    found = bank.apply_ragged(params, x, jnp.array([2, 0, 3]), jnp.array([0, 0, 2, 2, 2]))
    for row, block in enumerate([0, 0, 2, 2, 2]):
        one = bank.apply_block(jax.tree.map(lambda leaf, block=block: leaf[block], params), x[row])
        np.testing.assert_allclose(found[row], one, rtol=1e-5, atol=1e-6)
