"""The components of unlike kind: against Flax layer by layer, their costs, how they are named."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.blocks import BlockBank, ConvBlock, DenseBlock, ValidConvBlock
from routing_jax.components import COMPONENTS, ConvChain, Identity, NormRelu, Pool
from routing_jax.config_components import COMPONENTS as NAMES
from routing_jax.config_components import (
    are_components,
    are_strides,
    components_of,
    num_blocks,
    strides_of,
)
from routing_jax.isometric import InvertedResidual

INPUTS = (7, 8, 8)  # height, width, channels


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def random_params(module: nn.Module, x: np.ndarray) -> dict:
    """Parameters none of which is 0 or 1 by its initialiser."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), x).get("params", {})
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def test_every_name_has_a_component():
    assert tuple(COMPONENTS) == NAMES


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("conv3", [(3, 3)]),
        ("conv5", [(5, 5)]),
        ("conv3_twice", [(3, 3)] * 2),
        ("conv7_twice", [(7, 7)] * 2),
        ("conv1x7_7x1", [(1, 7), (7, 1)]),
    ],
)
def test_convolutions_one_by_one(name, sides, stride):
    module, x = COMPONENTS[name](4, stride), normal(2, *INPUTS)
    params = random_params(module, x)
    expected = x
    for number, kernel in enumerate(sides):
        last = number == len(sides) - 1
        layer = nn.Conv(4, kernel, strides=stride if last else 1)
        expected = layer.apply({"params": params[f"Conv_{number}"]}, expected)
        norm = nn.GroupNorm(num_groups=4)
        of_norm = params[f"NormRelu_{number}"]["GroupNorm_0"]
        expected = nn.relu(norm.apply({"params": of_norm}, expected))
    found = jax.jit(module.apply)({"params": params}, x)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize(
    ("block", "maps"),
    [
        (COMPONENTS["conv5"](4), (5, *INPUTS)),
        pytest.param(COMPONENTS["conv5"](4, 2), (5, *INPUTS), marks=pytest.mark.slow),
        (COMPONENTS["conv3_twice"](4, 2), (5, *INPUTS)),
        (COMPONENTS["conv3"](4), (64, 4, 4, 4)),
        (ValidConvBlock(4, side=5, pool=False), (5, *INPUTS)),
        (ValidConvBlock(4, side=3, pool=True), (5, 7, 8, 1)),
    ],
    ids=[
        "one",
        "a stride",
        "two and a stride",
        "small maps",
        "valid",
        "valid, pooled, one channel",
    ],
)
def test_all_blocks_at_once_are_the_blocks_one_by_one(block, maps):
    bank, x = BlockBank(block, num_blocks=3), normal(*maps)
    params = random_params(bank, x)["blocks"]
    shape = jax.eval_shape(bank.apply_block, jax.tree.map(lambda leaf: leaf[0], params), x).shape
    weights = normal(3, *shape)

    def by(apply_all):
        def total(params, x):
            return (weights * apply_all(params, x)).sum()

        return apply_all(params, x), jax.grad(total, (0, 1))(params, x)

    one_by_one = by(jax.vmap(bank.apply_block, (0, None)))
    at_once = by(bank.group.apply_all)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), at_once, one_by_one)


def test_group_norm_takes_quarters_of_the_channels_and_one_example_at_a_time():
    # Eight channels: pairs (0, 2), (4, 4), ... of one place; (0, 2) becomes (-1, 1), equal ones 0.
    x = jnp.array([[[[0.0, 2, 4, 4, 1, 1, -3, -3]]], [[[5.0, 5, 5, 5, 5, 5, 5, 5]]]])
    module = NormRelu()
    out = module.apply(module.init(jax.random.key(0), x), x)
    np.testing.assert_allclose(out.reshape(2, 8), [[0, 1, 0, 0, 0, 0, 0, 0], [0] * 8], atol=1e-5)


def test_pooling_and_identity_have_no_parameters_but_a_strided_identity_has():
    x = normal(1, *INPUTS)
    for module in (Pool(8), Pool(8, 2), Identity(8)):
        assert jax.tree.leaves(jax.eval_shape(module.init, jax.random.key(0), x)) == []
    np.testing.assert_array_equal(Identity(8).apply({}, x), x)
    module = Identity(8, 2)
    kernel, bias = normal(1, 1, 8, 8), normal(8)
    out = module.apply({"params": {"Conv_0": {"kernel": kernel, "bias": bias}}}, x)
    np.testing.assert_allclose(out, x[:, ::2, ::2] @ kernel[0, 0] + bias, atol=1e-5)


def counted(monkeypatch, module: nn.Module, inputs: tuple[int, ...]) -> int:
    """Multiply-adds of one example in the traced program, with the backend's own convolutions."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    x = normal(1, *inputs)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    total = 0
    for equation in jax.make_jaxpr(module.apply)(variables, x).eqns:
        total += sum(
            inner.outvars[0].aval.size * np.prod(inner.invars[1].aval.shape[:-1], dtype=int)
            for inner in _flat(equation)
            if inner.primitive.name in ("conv_general_dilated", "dot_general")
        )
    return total


def _flat(equation):
    inner = [value for value in equation.params.values() if hasattr(value, "jaxpr")]
    if not inner:
        return [equation]
    return [one for closed in inner for e in closed.jaxpr.eqns for one in _flat(e)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_cost_is_that_of_the_traced_program(monkeypatch, name, stride):
    module = COMPONENTS[name](8, stride)
    assert module.multiply_adds(INPUTS) == counted(monkeypatch, module, INPUTS)


@pytest.mark.parametrize(
    "module",
    [
        DenseBlock(3, flatten=True),
        ConvBlock(5),
        ValidConvBlock(4, 5, pool=True),
        InvertedResidual(8),
    ],
    ids=lambda module: type(module).__name__,
)
def test_the_cost_of_the_other_blocks_too(monkeypatch, module):
    assert module.multiply_adds(INPUTS) == counted(monkeypatch, module, INPUTS)


def test_a_cost_by_hand():
    # 3x3, 8 to 4 channels on 7x8 places: 56 x 72 x 4 = 16,128; then 4 to 4 on 4x4: 16 x 36 x 4.
    assert ConvChain(4, 2, sides=((3, 3), (3, 3))).multiply_adds(INPUTS) == 16128 + 2304


def test_names_and_strides():
    assert components_of("2xconv3 identity conv3") == ("conv3", "conv3", "identity", "conv3")
    assert strides_of("2-1", 2) == (2, 1)
    assert strides_of("", 3) == (1, 1, 1)
    assert are_components("12xconv3_twice max_pool")
    for wrong in ("conv4", "0xconv3", "conv3,conv5", "conv3  conv5", "xconv3"):
        assert not are_components(wrong)
    assert are_strides("2-2-1") and not any(map(are_strides, ("3", "2-", "21", "2,1")))


def test_the_number_of_blocks():
    dense = {"block": "dense", "num_blocks": None, "components": ""}
    assert num_blocks(dense, 5) == 5
    assert num_blocks(dense | {"num_blocks": 3}, 5) == 3
    assert num_blocks({"block": "components", "components": "2xconv3 identity"}, 5) == 3
