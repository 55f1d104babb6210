"""Networks of unlike components: sizes of the papers, who may use them, what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.errors import UserError
from routing_jax.models.factory import DataShape, make_model, multiply_adds
from routing_jax.routers.allocation import FixedAllocation
from routing_jax.types import Exploration

SEVEN = "conv3_twice conv5_twice conv7_twice conv1x7_7x1 max_pool mean_pool identity"
COMPONENTS = {
    "model__encoder": "pointwise",
    "model__block": "components",
    "model__components": "2xconv3 max_pool identity",
    "model__strides": "2-1",
    "model__num_blocks": None,
    "model__depth": 2,
    "model__width": 4,
    "model__head": "own",
}
GUMBEL = {"model__name": "gumbel_matrix", "router__rule": "gumbel_softmax"}
SHAPE = DataShape(num_tasks=3, num_classes=2, image=(6, 6, 1))
SHALLOW = {"model__components": "3xconv3 identity", "model__strides": "2", "model__depth": 1}
OMNIGLOT = {
    "model__components": SEVEN,
    "model__strides": "2-2-1-2-2-1-2-1",
    "model__depth": 8,
    "model__width": 48,
}


def sizes(config, shape):
    """Trained numbers of each part of the network, and the model."""
    model = make_model(config, shape, block_noise=1.0)
    keys = {"params": jax.random.key(0), "router": jax.random.key(0)}
    images = jax.ShapeDtypeStruct((1, 1, *shape.image), jnp.uint8)
    shapes = jax.eval_shape(lambda x: model.init(keys, x, exploration=Exploration()), images)
    return {
        name: sum(leaf.size for leaf in jax.tree.leaves(part))
        for name, part in shapes["params"].items()
    }, model


def trunk(found):
    return sum(size for name, size in found.items() if name not in ("head", "router"))


def test_the_omniglot_network_is_as_large_as_the_authors(model_config):
    config = model_config(**COMPONENTS | GUMBEL | OMNIGLOT)
    found, model = sizes(config, DataShape(20, 55, (105, 105, 1)))
    # A layer: 180 taps of 48 x 48 in eight convolutions (2 x 9, 2 x 25, 2 x 49, 7 + 7), with bias
    # and group norm each, the norm behind it; five strided identities; the stem.
    layer = 180 * 48**2 + 8 * (48 + 96) + 96
    assert trunk(found) == 8 * layer + 5 * (48**2 + 48) + 48 + 48 + 96 == 3_339_696
    # Sizes 105, 53, 27, 27, 14, 7, 7, 4, 4: 768 features for each head.
    assert found["head"] == 20 * (768 * 55 + 55)
    assert found["router"] == 20 * 8 * 7 * 2
    assert model.num_blocks == 7


def test_the_network_of_the_three_clusters_is_as_large_as_the_authors(model_config):
    clusters = {
        "model__components": "8xconv3 8xconv5",
        "model__strides": "2-2-2",
        "model__depth": 3,
        "model__width": 8,
    }
    config = model_config(**COMPONENTS | GUMBEL | clusters)
    found, model = sizes(config, DataShape(40, 9, (32, 32, 3)))
    # A layer: 8 x (9 x 64 + 24) and 8 x (25 x 64 + 24), and 16 of the norm; the stem 24 + 8 + 16.
    assert trunk(found) == 3 * (8 * 600 + 8 * 1624 + 16) + 48 == 53_472
    assert found["head"] == 40 * (128 * 9 + 9)
    assert model.num_blocks == 16


def test_multiply_adds_of_each_block(model_config):
    found = multiply_adds(model_config(**COMPONENTS | GUMBEL), SHAPE)
    # 3x3 from 4 to 4 channels on 3x3 places, pooling, and a strided identity; then stride 1.
    assert found == ((1296, 1296, 0, 144), (1296, 1296, 0, 0))


def test_private_trunks_have_the_blocks_that_their_routes_reach(model_config):
    changes = {"router__policy": "fixed", "model__components": "5xconv3"}
    config = model_config(**COMPONENTS | changes)
    _, model = sizes(config, SHAPE)
    assert [bank.num_blocks for bank in model.banks] == [3, 3]
    assert multiply_adds(config, SHAPE) == ((1296,) * 3,) * 2


@pytest.mark.parametrize(
    "changes",
    [
        GUMBEL,
        GUMBEL | {"router__policy": "fixed", "router__routes": "all", "router__rule": "wpl"},
        {},
        {"router__decision_per": "task"},
        {"router__policy": "fixed"},
        {"model__name": "soft_mixture"},
    ],
    ids=["gumbel", "all", "per_example", "per_task", "own", "soft_mixture"],
)
def test_every_system_runs_them_and_learns(build, changes):
    built = build(SHAPE, **COMPONENTS | SHALLOW | changes)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 255, (3, 5, 6, 6, 1)), jnp.uint8)

    def run(params):
        routed = built.model.apply(
            {"params": params},
            images,
            exploration=Exploration(),
            rngs={"router": jax.random.key(1)},
        )
        return (routed.logits**2).sum(), routed.logits

    run = jax.jit(jax.value_and_grad(run, has_aux=True))
    (_, logits), slope = run(built.variables["params"])
    assert logits.shape == (3, 5, 2)
    assert np.isfinite(logits).all()
    for part in ("encoder", "banks_0", "norms_0", "head"):
        assert any((leaf != 0).any() for leaf in jax.tree.leaves(slope[part])), part


def test_evaluation_that_skips_blocks_equals_training_that_masks_them(build):
    built = build(SHAPE, **COMPONENTS | SHALLOW | GUMBEL)
    switches = (((1, 0, 1, 1),), ((0, 0, 0, 0),), ((0, 1, 1, 0),))
    params = {name: part for name, part in built.variables["params"].items() if name != "router"}
    model = built.model.clone(router=FixedAllocation(switches))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4, 6, 6, 4)), jnp.float32)

    @jax.jit
    def logits(params):
        keys = {"router": jax.random.key(0)}
        return [
            model.apply({"params": params}, x, explore, method="route", rngs=keys).logits
            for explore in (Exploration(), None)
        ]

    masked, skipped = logits(params)
    np.testing.assert_allclose(skipped, masked, atol=1e-4, rtol=1e-4)


def test_components_of_unequal_width_are_refused(model_config):
    config = model_config(**COMPONENTS | GUMBEL | {"model__encoder": "pixels"})
    with pytest.raises(UserError) as caught:
        make_model(config, SHAPE, block_noise=1.0)
    assert str(caught.value) == (
        "model.components: pooling and identity keep the 1 channels that the encoder gives, and "
        "convolutions give model.width = 4: use model.encoder=pointwise, which gives as many, or "
        "name convolutions only."
    )


def test_more_private_trunks_than_components_are_refused(model_config):
    config = model_config(**COMPONENTS | {"router__policy": "fixed", "model__components": "conv3"})
    with pytest.raises(UserError) as caught:
        make_model(config, SHAPE, block_noise=1.0)
    assert str(caught.value) == (
        "router.routes asks for 3 blocks at a depth, and model.components names 1: name as many, "
        "such as 3xconv3_twice."
    )
