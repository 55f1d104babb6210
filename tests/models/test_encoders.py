"""Encoders: shapes, the order of halving, and batch statistics."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.config_fields import ENCODERS as OFFERED
from routing_jax.config_fields import STEMS as OFFERED_STEMS
from routing_jax.models.encoders import (
    ENCODERS,
    STEMS,
    ConvEncoder,
    FlattenEncoder,
    unit_range,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def variables():
    """Variables of a small convolutional encoder, with running averages unlike their start."""
    made = jax.jit(lambda key: ENCODER.init(key, IMAGES, train=True))(jax.random.key(0))
    shifted = jax.tree.map(lambda leaf: leaf + 0.25, made["batch_stats"])
    return {"params": made["params"], "batch_stats": shifted}


ENCODER = ConvEncoder(features=3, layers=2)


@pytest.mark.parametrize(
    ("image", "features"),
    # 28-14-7-3-3, 32-16-8-4-2, 8-4-2-2-2 as in the paper; a side below 4 is never halved, and
    # both sides have to be at least 4: 9x5-4x2-4x2.
    [
        ((28, 28, 1), 3 * 3 * 32),
        ((32, 32, 3), 2 * 2 * 32),
        ((8, 8, 1), 2 * 2 * 32),
        ((9, 5, 1), 4 * 2 * 32),
        ((3, 30, 1), 3 * 30 * 32),
        ((1, 1, 1), 32),
    ],
)
def test_the_resolution_is_halved_while_both_sides_are_at_least_four(image, features):
    images = jax.ShapeDtypeStruct((2, *image), jnp.uint8)
    out, _ = jax.eval_shape(
        lambda x: ConvEncoder().init_with_output(jax.random.key(0), x, train=True), images
    )
    assert (out.shape, out.dtype) == ((2, features), jnp.float32)


def test_one_layer_golden():
    # A 1x2 image of 51 and 255: 0.2 and 1 as numbers. The kernel takes 1 x the centre and 2 x the
    # right neighbour: 0.2 + 2 = 2.2 and 1. Running averages mean 1 and variance 4 make them
    # (2.2 - 1) / 2 = 0.6 and 0; times the scale -1 plus the bias 0.5: -0.1 and 0.5; ReLU: 0, 0.5.
    encoder = ConvEncoder(features=1, layers=1)
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0).at[1, 2].set(2.0)
    variables = {
        "params": {
            "Conv3x3_0": {"kernel": kernel},
            "BatchNorm_0": {"scale": jnp.array([-1.0]), "bias": jnp.array([0.5])},
        },
        "batch_stats": {"BatchNorm_0": {"mean": jnp.array([1.0]), "var": jnp.array([4.0])}},
    }
    images = jnp.array([51, 255], jnp.uint8).reshape(1, 1, 2, 1)
    out = encoder.apply(variables, images, train=False)
    np.testing.assert_allclose(out, [[0.0, 0.5]], atol=1e-5)


def test_training_normalises_by_the_batch_and_moves_the_averages(variables):
    first_layer = ConvEncoder(features=3, layers=1)
    params = {name: variables["params"][name] for name in ("Conv3x3_0", "BatchNorm_0")}
    stats = {"BatchNorm_0": variables["batch_stats"]["BatchNorm_0"]}
    _, updated = first_layer.apply(
        {"params": params, "batch_stats": stats}, IMAGES, train=True, mutable=["batch_stats"]
    )
    padded = np.pad(IMAGES / 255, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = np.asarray(params["Conv3x3_0"]["kernel"])
    convolved = sum(
        padded[:, row : row + 8, column : column + 8] @ kernel[row, column]
        for row in range(3)
        for column in range(3)
    )
    # A tenth of the way to the batch's own mean and variance.
    for name, of_batch, before in (
        ("mean", convolved.mean((0, 1, 2)), 0.25),
        ("var", convolved.var((0, 1, 2)), 1.25),
    ):
        found = updated["batch_stats"]["BatchNorm_0"][name]
        np.testing.assert_allclose(found, 0.9 * before + 0.1 * of_batch, rtol=1e-4, atol=1e-5)


def test_evaluation_changes_nothing_and_treats_each_image_on_its_own(variables):
    def encode(images):
        return ENCODER.apply(variables, images, train=False, mutable=["batch_stats"])

    out, updated = encode(IMAGES)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], variables["batch_stats"])
    np.testing.assert_allclose(encode(IMAGES[2:3])[0], out[2:3], atol=1e-5)


def test_batch_statistics_make_training_outputs_depend_on_the_batch(variables):
    def encode(images):
        return ENCODER.apply(variables, images, train=True, mutable=["batch_stats"])[0]

    assert np.abs(encode(IMAGES)[:2] - encode(IMAGES[:2])).max() > 1e-3


def test_flattening_golden():
    images = np.array([0, 51, 102, 255], np.uint8).reshape(1, 2, 2, 1)
    out = FlattenEncoder().apply({}, images, train=True)
    np.testing.assert_allclose(out, [[0, 0.2, 0.4, 1]], rtol=1e-6)
    assert out.dtype == jnp.float32


@pytest.mark.parametrize("encoder", [*ENCODERS, *STEMS])
def test_number_formats(encoder):
    stem = partial(STEMS[encoder], 6, IMAGES.shape[1]) if encoder in STEMS else None
    made = (stem or ENCODERS[encoder])(dtype=jnp.bfloat16)
    # Flax's batch normalisation promotes its statistics to float32 implicitly.
    with jax.numpy_dtype_promotion("standard"):
        out, variables = jax.eval_shape(
            lambda images: made.init_with_output(jax.random.key(0), images, train=True), IMAGES
        )
    assert out.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_black_stays_zero_and_white_becomes_one():
    np.testing.assert_allclose(unit_range(jnp.array([0, 255], jnp.uint8), jnp.float32), [0, 1])
    half = unit_range(jnp.arange(256).astype(jnp.uint8), jnp.bfloat16)
    # Eight bits of mantissa, two roundings.
    np.testing.assert_allclose(half.astype(jnp.float32), np.arange(256) / 255, rtol=2**-7)


def test_vectors_are_taken_as_they_are():
    vectors = jnp.array([[0.5, -3.0, 200.0]])
    out = FlattenEncoder().apply({}, vectors, train=True)
    np.testing.assert_array_equal(out, vectors)


def test_the_configuration_offers_exactly_the_encoders_that_exist():
    assert set(OFFERED) == {*ENCODERS, *STEMS}
    assert set(OFFERED_STEMS) == set(STEMS)
