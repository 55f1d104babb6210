"""The inverted residual block and the end of an isometric network."""

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.depthwise import depthwise_conv
from routing_jax.isometric import MOMENTUM, InvertedResidual, OutputAdapter

X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 5, 2)), jnp.float32)


def filled(block, x, seed=0):
    """Variables of a block with nothing at its start value."""
    shapes = jax.eval_shape(block.init, jax.random.key(0), x)
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        values = rng.normal(size=leaf.shape).astype(np.float32)
        return np.abs(values) + 0.5 if path[-1].key == "var" else values

    return jax.tree_util.tree_map_with_path(fill, shapes)


def by_hand(params, x, normalise):
    """The block, step by step; `normalise` takes the number of the normalisation and a map."""

    def scaled(number, y):
        own = params[f"BatchNorm_{number}"]
        return normalise(number, y) * own["scale"][None, None, None] + own["bias"][None, None, None]

    y = np.maximum(scaled(0, x @ params["Dense_0"]["kernel"]), 0)
    y = depthwise_conv(y, params["DepthwiseConv3x3_0"]["kernel"], method="native")
    y = np.maximum(scaled(1, y), 0)
    return x + scaled(2, y @ params["Dense_1"]["kernel"])


def test_outside_of_training_the_averages_normalise():
    block = InvertedResidual(2, expansion=3)
    variables = filled(block, X)

    def normalise(number, y):
        own = variables["batch_stats"][f"BatchNorm_{number}"]
        return (y - own["mean"][None, None, None]) / np.sqrt(own["var"] + 1e-5)[None, None, None]

    expected = by_hand(variables["params"], X, normalise)
    np.testing.assert_allclose(block.apply(variables, X), expected, rtol=1e-4, atol=1e-4)
    alone = block.apply(variables, X[1:2])  # whatever else is in the batch
    np.testing.assert_allclose(alone, expected[1:2], rtol=1e-4, atol=1e-4)


def test_training_normalises_by_the_batch_and_moves_the_averages():
    block, moments = InvertedResidual(2, expansion=3), {}
    variables = filled(block, X)

    def normalise(number, y):
        moments[number] = y.mean((0, 1, 2)), y.var((0, 1, 2))
        mean, var = (value[None, None, None] for value in moments[number])
        return (y - mean) / np.sqrt(var + 1e-5)

    out, moved = block.apply(variables, X, train=True, mutable=["batch_stats"])
    expected = by_hand(variables["params"], X, normalise)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-3)
    for number, (mean, var) in moments.items():
        before, after = (
            stats[f"BatchNorm_{number}"]
            for stats in (variables["batch_stats"], moved["batch_stats"])
        )
        for name, found in (("mean", mean), ("var", var)):
            kept = MOMENTUM * before[name] + (1 - MOMENTUM) * found
            np.testing.assert_allclose(after[name], kept, rtol=1e-3, atol=1e-4)


def test_a_named_axis_is_normalised_over_too():
    x = jnp.stack([X, 3 * X + 1])
    alone, over = InvertedResidual(2), InvertedResidual(2, normalised_over="tasks")
    variables = filled(alone, X)

    def train(block):
        return lambda x: block.apply(variables, x, train=True, mutable=["batch_stats"])

    out, moved = jax.vmap(train(over), axis_name="tasks")(x)
    joined, expected = train(alone)(x.reshape(-1, *X.shape[1:]))
    np.testing.assert_allclose(out.reshape(joined.shape), joined, rtol=1e-3, atol=1e-3)
    jax.tree.map(
        lambda each, one: np.testing.assert_allclose(each, np.stack([one, one]), rtol=1e-4),
        moved,
        expected,
    )


def test_a_template_has_as_many_parameters_as_worked_out():
    # 40 channels, 240 inside: 40 x 240 + 9 x 240 + 240 x 40 for the kernels, and twice 240, 240
    # and 40 for scales and offsets: 21,360 + 1,040. The co-author's code has biases too, 520 more,
    # which the normalisations take out again: 22,920.
    block = InvertedResidual(40)
    shapes = jax.eval_shape(block.init, jax.random.key(0), jnp.zeros((1, 16, 16, 40)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == 22_400


def test_the_end_takes_the_mean_over_the_map():
    adapter = OutputAdapter(widths=(3, 2))
    x = X[None, :, :, :, :]
    params = filled(adapter, x)["params"]
    first, second = params["Dense_0"], params["Dense_1"]
    y = np.maximum(X @ first["kernel"] + first["bias"][None, None, None], 0).mean((1, 2))
    expected = np.maximum(y @ second["kernel"] + second["bias"][None], 0)
    np.testing.assert_allclose(adapter.apply({"params": params}, x)[0], expected, rtol=1e-5)
