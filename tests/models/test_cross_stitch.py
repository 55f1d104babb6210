"""The systems that run all blocks: cross-stitch networks and soft mixtures, against plain loops."""

import jax
import numpy as np
import pytest

from routing_jax.models.cross_stitch import initial_mix
from routing_jax.models.factory import DataShape
from routing_jax.types import Exploration

SHAPE = DataShape(3, 2, (2, 3, 1))
SYSTEMS = {
    "cross_stitch": {"model__name": "cross_stitch", "model__num_blocks": None},
    "soft_mixture": {"model__name": "soft_mixture", "model__num_blocks": 4},
}


def block(params, depth, number):
    dense = params[f"banks_{depth}"]["blocks"]["Dense_0"]
    return lambda x: x @ dense["kernel"][number] + dense["bias"][number]


def cross_stitch(params, x, task):
    """Logits of one example [F] of a task: all columns through all layers."""
    columns = [np.maximum(block(params, 0, column)(x), 0) for column in range(3)]
    for depth in (1, 2):
        mix = params[f"mix_{depth}"]
        mixed = [sum(mix[i, j] * columns[j] for j in range(3)) for i in range(3)]
        columns = [block(params, depth, i)(mixed[i]) for i in range(3)]
        columns = columns if depth == 2 else [np.maximum(column, 0) for column in columns]
    return columns[task]


def soft_mixture(params, x, task):
    """Logits of one example [F] of a task: a weighted sum of blocks after blocks."""
    for depth in range(3):
        weights = np.exp(params["router"]["logits"][task, depth])
        outputs = [block(params, depth, number)(x) for number in range(4)]
        outputs = outputs if depth == 2 else [np.maximum(output, 0) for output in outputs]
        x = sum(w * output for w, output in zip(weights / weights.sum(), outputs, strict=True))
    return x


@pytest.mark.parametrize(
    ("name", "slow"), [("cross_stitch", cross_stitch), ("soft_mixture", soft_mixture)]
)
def test_the_network_equals_a_loop_over_examples(build, name, slow):
    built = build(SHAPE, **SYSTEMS[name])
    images = np.random.default_rng(0).integers(0, 256, (3, 4, *SHAPE.image), dtype=np.uint8)
    routed = jax.jit(lambda v, x: built.model.apply(v, x, exploration=Exploration()))(
        built.variables, images
    )
    params = jax.device_get(built.variables["params"])
    for task, example in np.ndindex(3, 4):
        expected = slow(params, images[task, example].reshape(-1) / 255, task)
        np.testing.assert_allclose(routed.logits[task, example], expected, atol=1e-4)
    assert routed.decisions is None
    assert built.model.learned_router is None


def test_a_column_reads_nine_tenths_of_itself_at_the_start():
    # The remaining tenth is spread over three others.
    expected = np.full((4, 4), 0.1 / 3)
    np.fill_diagonal(expected, 0.9)
    np.testing.assert_allclose(initial_mix(4), expected, rtol=1e-5)
    np.testing.assert_array_equal(initial_mix(1), [[1.0]])


def test_one_layer_of_columns_mixes_nothing(build):
    params = build(SHAPE, model__depth=1, **SYSTEMS["cross_stitch"]).variables["params"]
    assert set(params) == {"banks_0"}


def test_shares_are_absolute_mixing_weights_over_their_sum(build):
    built = build(SHAPE, model__depth=2, **SYSTEMS["cross_stitch"])
    mix = np.array([[0.5, -0.25, 0.25], [0, 3, 1], [0, 0, 0]], np.float32)
    variables = {"params": {**built.variables["params"], "mix_1": mix}}
    x = np.zeros((3, 1, 6), np.float32)
    shares = built.model.apply(variables, x, method="route").probabilities
    assert shares.shape == (3, 1, 2, 3)
    np.testing.assert_allclose(shares[:, 0, 0], np.eye(3), atol=1e-6)
    expected = [[0.5, 0.25, 0.25], [0, 0.75, 0.25], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(shares[:, 0, 1], expected, rtol=1e-5, atol=1e-6)


def test_a_soft_mixture_starts_with_equal_weights(build):
    router = build(SHAPE, **SYSTEMS["soft_mixture"]).model.router.clone(parent=None)
    weights, _ = router.init_with_output(jax.random.key(0), method="weights")
    np.testing.assert_allclose(weights, np.full((3, 3, 4), 0.25), rtol=1e-6)
