"""A bank's stacked parameters: shapes, one block at a time, and how alike blocks start."""

import functools

import flax.linen as nn
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from routing_jax.blocks import BlockBank, DenseBlock


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def stacked(block: DenseBlock, num_blocks: int, inputs: int, *, noise=1.0, seed=0):
    """The stacked parameters of a new bank, as initialised and as applied."""
    bank = BlockBank(block, num_blocks, noise)
    x = jnp.zeros((1, inputs))
    variables = bank.init(jax.random.key(seed), x)
    return variables["params"]["blocks"], bank.apply(variables, x)


def test_a_dense_block_golden():
    # Rows times the kernel plus the bias: (1 + 2 + 1, 1 - 4 + 1) = (4, -2); ReLU clips the second.
    variables = {
        "params": {
            "Dense_0": {
                "kernel": jnp.array([[1.0, 1.0], [1.0, -2.0]]),
                "bias": jnp.array([1.0, 1.0]),
            }
        }
    }
    x = jnp.array([[1.0, 2.0]])
    np.testing.assert_array_equal(DenseBlock(2).apply(variables, x), [[4, 0]])
    np.testing.assert_array_equal(DenseBlock(2, activation=False).apply(variables, x), [[4, -2]])


@hypothesis.settings(max_examples=5)
@hypothesis.given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.floats(0, 1))
def test_every_leaf_has_the_block_axis_first(num_blocks, inputs, features, noise):
    params, applied = stacked(DenseBlock(features), num_blocks, inputs, noise=noise)
    assert jax.tree.map(jnp.shape, params) == {
        "Dense_0": {
            "kernel": (num_blocks, inputs, features),
            "bias": (num_blocks, features),
        }
    }
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    jax.tree.map(np.testing.assert_array_equal, applied, params)


def test_a_slice_of_the_bank_is_one_block_on_its_own():
    bank = BlockBank(DenseBlock(3), 4)
    params, _ = stacked(DenseBlock(3), 4, 5)
    x = np.random.default_rng(0).normal(size=(2, 7, 5)).astype(np.float32)
    for block in range(4):
        one_hot = np.eye(4, dtype=np.float32)[block]
        by_slice = jax.tree.map(lambda leaf, block=block: leaf[block], params)
        by_mask = jax.tree.map(
            lambda leaf, mask=one_hot: np.einsum("k,k...->...", mask, np.asarray(leaf)), params
        )
        kernel, bias = by_slice["Dense_0"]["kernel"], by_slice["Dense_0"]["bias"]
        expected = np.maximum(np.asarray(x) @ np.asarray(kernel) + np.asarray(bias), 0)
        np.testing.assert_allclose(bank.apply_block(by_slice, x), expected, atol=1e-5)
        np.testing.assert_allclose(bank.apply_block(by_mask, x), expected, atol=1e-5)


def test_without_noise_all_blocks_start_equal():
    kernel = stacked(DenseBlock(6), 3, 5, noise=0.0)[0]["Dense_0"]["kernel"]
    assert float(kernel.std()) > 0
    np.testing.assert_array_equal(kernel, np.broadcast_to(kernel[:1], kernel.shape))


def test_full_noise_gives_independent_draws():
    kernel = stacked(DenseBlock(100), 4, 100)[0]["Dense_0"]["kernel"]
    correlation = np.corrcoef(np.asarray(kernel).reshape(4, -1))
    # 10,000 entries: a sample correlation of independent blocks has deviation 0.01.
    assert np.abs(correlation - np.eye(4)).max() < 0.05


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_spread_is_kept_and_blocks_are_as_alike_as_the_noise_says(noise):
    kernel = stacked(DenseBlock(100), 4, 100, noise=noise)[0]["Dense_0"]["kernel"]
    flat = np.asarray(kernel).reshape(4, -1)
    # Lecun's initialiser of nn.Dense: variance 1 / inputs.
    np.testing.assert_allclose(flat.std(1), 0.1, rtol=0.04)
    # Blocks share the common part, so their correlation is its share of the variance.
    correlation = np.corrcoef(flat)[np.triu_indices(4, 1)]
    np.testing.assert_allclose(correlation, 1 - noise**2, atol=0.05)


def test_the_noise_can_be_traced_under_vmap():
    def kernel(noise):
        return stacked(DenseBlock(3), 2, 4, noise=noise)[0]["Dense_0"]["kernel"]

    batched = jax.vmap(kernel)(jnp.array([0.0, 0.3, 1.0]))
    for row, noise in enumerate([0.0, 0.3, 1.0]):
        np.testing.assert_allclose(batched[row], kernel(noise), atol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_different_keys_give_different_banks(noise):
    first, second = (
        stacked(DenseBlock(3), 2, 4, noise=noise, seed=seed)[0]["Dense_0"]["kernel"]
        for seed in (0, 1)
    )
    assert np.abs(first - second).max() > 0.1


def test_blocks_compute_in_their_number_format():
    block = DenseBlock(3, dtype=jnp.bfloat16)
    bank = BlockBank(block, 2)
    one = jax.tree.map(lambda leaf: leaf[0], stacked(block, 2, 4)[0])
    assert bank.apply_block(one, jnp.ones((2, 4))).dtype == jnp.bfloat16


def test_constant_initialisers_stay_what_they_are():
    class Scale(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x * self.param("scale", nn.initializers.ones, (1, x.shape[-1]))

    x = jnp.zeros((1, 3))
    bank = BlockBank(Scale(), num_blocks=4, block_noise=0.5)
    stacked = bank.init(jax.random.key(0), x)["params"]["blocks"]
    np.testing.assert_array_equal(stacked["scale"], np.ones((4, 1, 3)))
