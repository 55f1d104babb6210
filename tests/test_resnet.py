"""The blocks of a plain residual network and its stem, against the sums written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.convolution import conv
from routing_jax.models.encoders import ResNetStem
from routing_jax.resnet import BasicBlock, MeanOverMap

X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 6, 2)), jnp.float32)


def filled(block, x):
    """Variables with nothing at its start value."""
    shapes = jax.eval_shape(block.init, jax.random.key(0), x)
    rng = np.random.default_rng(1)

    def fill(path, leaf):
        values = rng.normal(size=leaf.shape).astype(np.float32)
        return np.abs(values) + 0.5 if path[-1].key == "var" else values

    return jax.tree_util.tree_map_with_path(fill, shapes)


def convolved(variables, number, x, stride):
    """A convolution and its normalisation by the averages."""
    params, averages = variables["params"], variables["batch_stats"][f"BatchNorm_{number}"]
    own = params[f"BatchNorm_{number}"]
    kernel = params[f"Conv3x3_{number}"]["kernel"]
    y = np.asarray(conv(x, kernel, stride=stride, method="native"))
    return (y - averages["mean"]) / np.sqrt(averages["var"] + 1e-5) * own["scale"] + own["bias"]


@pytest.mark.parametrize(("features", "stride"), [(2, 1), (5, 2)])
def test_a_block_is_the_sum_that_is_written_down(features, stride):
    block = BasicBlock(features, stride)
    variables = filled(block, X)
    y = convolved(variables, 0, X, stride)
    y = convolved(variables, 1, np.maximum(y, 0), 1)
    shortcut = np.zeros_like(y)  # every second row and column, and zeros for the new channels
    shortcut[..., :2] = X[:, ::stride, ::stride]
    out = block.apply(variables, X)
    np.testing.assert_allclose(out, np.maximum(shortcut + y, 0), rtol=1e-4, atol=1e-4)
    # 4x6 places, 9 of 2 to 2 and again; with stride 2 2x3 places, of 2 to 5 and of 5 to 5.
    assert block.multiply_adds(X.shape[1:]) == {1: 24 * 9 * 8, 2: 6 * 9 * 35}[stride]


def test_the_batch_counts_in_training_only():
    block = BasicBlock(2)
    variables = filled(block, X)
    together, alone = block.apply(variables, X), block.apply(variables, X[:1])
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5, atol=1e-5)

    def train(x):
        return block.apply(variables, x, train=True, mutable=["batch_stats"])

    (together, moved), (alone, _) = train(X), train(X[:1])
    assert np.abs(together[:1] - alone).max() > 0.01
    y = conv(X, variables["params"]["Conv3x3_0"]["kernel"], method="native")
    before = variables["batch_stats"]["BatchNorm_0"]["mean"]
    kept = 0.9 * before + 0.1 * y.mean((0, 1, 2))
    np.testing.assert_allclose(moved["batch_stats"]["BatchNorm_0"]["mean"], kept, rtol=1e-4)


def test_the_stem_has_the_parameters_that_a_hand_counts():
    # 32 to 8: two halvings, so 4, 4, 8, 16 channels. 27 x 4 and twice 4 for the convolution; for
    # the blocks 9 x (4 x 4 + 4 x 4), 9 x (4 x 8 + 8 x 8), 9 x (8 x 16 + 16 x 16), and four numbers
    # a channel.
    stem = ResNetStem(16, 8)
    images = jnp.zeros((1, 32, 32, 3), jnp.uint8)
    out, variables = jax.eval_shape(
        lambda x: stem.init_with_output(jax.random.key(0), x, train=False), images
    )
    assert out.shape == (1, 8, 8, 16)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert count == 116 + (288 + 16) + (864 + 32) + (3456 + 64)


def test_images_of_the_resolution_are_not_halved():
    assert ResNetStem.resolutions(8, 16) == [8, 4, 2, 1]
    stem = ResNetStem(4, 8)
    shape = jax.eval_shape(
        lambda x: stem.init_with_output(jax.random.key(0), x, train=False)[0],
        jnp.zeros((1, 8, 8, 1), jnp.uint8),
    ).shape
    assert shape == (1, 8, 8, 4)


def test_the_end_is_the_mean_over_the_map():
    np.testing.assert_allclose(MeanOverMap().apply({}, X[None])[0], X.mean((1, 2)), rtol=1e-5)
