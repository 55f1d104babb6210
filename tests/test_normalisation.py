"""Normalisations against those of Flax: behind the pooling, and sums in another order."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.isometric import batch_norm
from routing_jax.normalisation import GroupNorm, HalvedBatchNorm, moments
from routing_jax.pooling import halve


class InFront(nn.Module):
    """What `HalvedBatchNorm` says that it computes."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        return halve(batch_norm(train=train, dtype=self.dtype, over=None, name="norm")(x))


def example():
    """Maps with an odd side, and variables of three channels: one turned over, one silent."""
    x = np.random.default_rng(0).normal(2.0, 3.0, (4, 6, 5, 3)).astype(np.float32)
    params = {"scale": jnp.array([1.5, -0.5, 0.0]), "bias": jnp.array([0.1, 0.2, 0.3])}
    averages = {"mean": jnp.array([1.0, 2.0, 3.0]), "var": jnp.array([4.0, 9.0, 1.0])}
    return x, params, averages


def run(module, wrap, train):
    x, params, averages = example()

    def outputs(params, x):
        variables = {"params": wrap(params), "batch_stats": wrap(averages)}
        return module.apply(variables, x, train=train, mutable=["batch_stats"])

    (y, moved), pull = jax.vjp(outputs, params, x)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), y.dtype)
    return y, moved["batch_stats"], pull((weights, jax.tree.map(jnp.zeros_like, moved)))


@pytest.mark.parametrize("train", [False, True])
def test_it_equals_normalisation_in_front_in_value_averages_and_gradients(train):
    ours = run(HalvedBatchNorm(), lambda leaves: leaves, train)
    theirs = run(InFront(), lambda leaves: {"norm": leaves}, train)
    theirs = (theirs[0], theirs[1]["norm"], theirs[2])
    # The silent channel is left out of the gradients: in front, all its places are equal, and the
    # first of them gets what belongs to the maximum.
    compare = functools.partial(np.testing.assert_allclose, atol=2e-5)
    jax.tree.map(compare, ours[:2], theirs[:2])
    for name in ("scale", "bias"):
        compare(ours[2][0][name][:2], theirs[2][0][name][:2])
    compare(ours[2][1][..., :2], theirs[2][1][..., :2])


def test_moments_golden():
    # Channel 0: 1, 3, 5, 7 with mean 4 and variance (9 + 1 + 1 + 9) / 4; channel 1 is constant.
    x = jnp.stack([jnp.array([1.0, 3.0, 5.0, 7.0]), jnp.full(4, 2.0)], -1).reshape(1, 2, 2, 2)
    np.testing.assert_allclose(moments(x), [[4, 2], [5, 0]])


def test_it_starts_as_flax_does():
    x, *_ = example()
    ours = HalvedBatchNorm().init(jax.random.key(0), x, train=True)
    theirs = batch_norm(train=True, dtype=jnp.float32, over=None).init(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_it_computes_in_its_number_format_and_keeps_float32_averages():
    x, params, averages = example()
    variables = {"params": params, "batch_stats": averages}
    y, moved = HalvedBatchNorm(jnp.bfloat16).apply(
        variables, x.astype(jnp.bfloat16), train=True, mutable=["batch_stats"]
    )
    assert y.dtype == jnp.bfloat16
    wrapped = {name: {"norm": leaves} for name, leaves in variables.items()}
    with jax.numpy_dtype_promotion("standard"):  # within Flax's own
        expected, _ = InFront(jnp.bfloat16).apply(
            wrapped, x.astype(jnp.bfloat16), train=True, mutable=["batch_stats"]
        )
    np.testing.assert_allclose(*(np.asarray(a, np.float32) for a in (y, expected)), atol=0.03)
    assert {leaf.dtype for leaf in jax.tree.leaves(moved)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm_is_that_of_flax_in_value_and_gradients(groups):
    rng = np.random.default_rng(0)
    x, weights = (rng.normal(2.0, 3.0, (4, 3, 5, 6)).astype(np.float32) for _ in range(2))
    params = {name: rng.normal(size=6).astype(np.float32) for name in ("scale", "bias")}

    def by(module):
        def total(params, x):
            y = module.apply({"params": params}, x)
            return (weights * y).sum(), y

        return jax.grad(total, (0, 1), has_aux=True)(params, x)

    ours, theirs = by(GroupNorm(groups)), by(nn.GroupNorm(num_groups=groups))
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    jax.tree.map(compare, ours, theirs)


def test_group_norm_sums_in_float32_and_answers_in_its_own_format():
    # 1,000 and 1,008 are 8 apart, the spacing of bfloat16 there; normalised they are -1 and 1.
    x = jnp.array([1000.0, 1008.0] * 2, jnp.bfloat16).reshape(1, 2, 2, 1)
    module = GroupNorm(1, jnp.bfloat16)
    y = module.apply(module.init(jax.random.key(0), x), x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32).ravel(), [-1, 1, -1, 1], atol=0.02)


def test_groups_share_the_channels_evenly():
    with pytest.raises(ValueError, match="^6 channels do not make 4 groups; take a multiple"):
        GroupNorm(4).init(jax.random.key(0), jnp.zeros((1, 2, 2, 6)))
