"""The losses of alignment against values worked out by hand."""

import math
from types import SimpleNamespace

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from routing_jax.alignment import ALIGNMENTS, Adversarial, Moments, moment_distance
from routing_jax.blocks import BlockBank, DenseBlock
from routing_jax.models.network import Routed
from routing_jax.objectives import OBJECTIVES
from routing_jax.types import Batch

OBJECTIVE = OBJECTIVES["classification"]


def routed(maps, adapted=None, logits=None):
    return Routed(logits, None, None, features=(maps, adapted))


def test_the_distance_of_moments_by_hand():
    # Two features, two examples of each of two sources and a target.
    features = jnp.array(
        [
            [[0.0, 1.0], [2.0, 1.0]],  # means 1 1, of squares 2 1
            [[1.0, 3.0], [1.0, 1.0]],  # means 1 2, of squares 1 5
            [[2.0, 0.0], [4.0, 0.0]],  # means 3 0, of squares 10 0
        ]
    )
    # Half of (2^2 + 1^2) + (8^2 + 1^2) = 35, half of (2^2 + 2^2) + (9^2 + 5^2) = 57: 46 on average.
    # Between the sources half of (0 + 1) + (1 + 4^2) = 9.
    np.testing.assert_allclose(moment_distance(features), 46 + 9)
    np.testing.assert_allclose(Moments(5e-4).loss(None, routed(features)), 5e-4 * 55)
    head = Moments(1.0, of_head=True).loss(None, routed(jnp.zeros((3, 2, 1)), features))
    np.testing.assert_allclose(head, 55)
    # Maps are as many features as they have numbers.
    maps = features.reshape(3, 2, 2, 1, 1)
    np.testing.assert_allclose(moment_distance(maps), 55)


def test_one_source_has_no_pairs():
    features = jnp.array([[[1.0]], [[3.0]]])
    np.testing.assert_allclose(moment_distance(features), 0.5 * (2**2 + 8**2))


def by_loops(features):
    """The distance as its definition reads."""
    tasks = [np.asarray(task, np.float64).reshape(len(task), -1) for task in features]

    def distance(one, other):
        first = ((one.mean(0) - other.mean(0)) ** 2).sum() / 2
        return first + (((one**2).mean(0) - (other**2).mean(0)) ** 2).sum() / 2

    *sources, target = tasks
    pairs = [distance(sources[i], sources[j]) for j in range(len(sources)) for i in range(j)]
    return np.mean([distance(one, target) for one in sources]) + (np.mean(pairs) if pairs else 0)


@hypothesis.given(
    shape=st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(1, 3)),
    seed=st.integers(0, 1000),
)
def test_the_distance_of_moments_is_that_of_loops(shape, seed):
    features = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(
        moment_distance(jnp.asarray(features)), by_loops(features), rtol=1e-4, atol=1e-5
    )


@pytest.fixture
def adversarial():
    """The loss, a discriminator that says its bias of everything, and three tasks' maps."""
    alignment = Adversarial()
    maps = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 2, 2, 3)), jnp.float32)
    params = alignment.start(jax.random.key(0), routed(maps), {})
    params["params"]["Dense_0"]["kernel"] *= 0

    def saying(bias):
        dense = params["params"]["Dense_0"] | {"bias": jnp.full(1, bias)}
        return {"params": params["params"] | {"Dense_0": dense}}

    return alignment, saying, routed(maps)


def test_a_discriminator_that_cannot_tell(adversarial):
    alignment, saying, seen = adversarial
    # A logit of 0 costs log 2 whatever the label is.
    np.testing.assert_allclose(alignment.loss(saying(0.0), seen), math.log(2), rtol=1e-6)
    found = alignment.opposed(saying(0.0), seen, None, jax.random.key(1))
    np.testing.assert_allclose(found, math.log(2), rtol=1e-6)


def test_what_a_discriminator_and_the_target_want(adversarial):
    alignment, saying, seen = adversarial
    # "Target" with a logit of 3: the target pays log(1 + e^3) for being told apart.
    told_apart = math.log1p(math.exp(3))
    np.testing.assert_allclose(alignment.loss(saying(3.0), seen), told_apart, rtol=1e-6)
    # The discriminator's labels stray by u in [0, 0.1) towards each other: a source costs
    # log(1 + e^3) - 3 u, the target log(1 + e^-3) + 3 u, and both weigh a half.
    found = float(alignment.opposed(saying(3.0), seen, None, jax.random.key(1)))
    middle = (told_apart + math.log1p(math.exp(-3))) / 2
    assert found != middle and abs(found - middle) < 0.15


@pytest.fixture
def discrepancy():
    """The loss, and two sources and a target of one example each; heads take two features."""
    head = BlockBank(DenseBlock(2, activation=False), 1)
    alignment = ALIGNMENTS["discrepancy"](SimpleNamespace(head=head), OBJECTIVE, Moments(1.0))
    adapted = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]])
    logits = jnp.zeros((3, 1, 2))
    return alignment, routed(jnp.zeros((3, 1, 1, 1, 1)), adapted, logits)


def opponent(kernel):
    return {"Dense_0": {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.zeros(2)}}


def test_the_discrepancy_of_two_heads_by_hand(discrepancy):
    alignment, seen = discrepancy
    # The second head's logits of the target are (log 3, 0): 3/4 and 1/4, where the first says 1/2.
    second = opponent([[math.log(3), 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(alignment.loss(second, seen), 0.25, rtol=1e-6)
    # By labels: the first source's label 0 has 3/4, the second's label 1 has 1/2; the target has
    # none, and counts as a third task.
    batch = Batch(None, jnp.array([[0], [1], [0]]), jnp.array([[1.0], [1.0], [0.0]]))
    expected = (math.log(4 / 3) + math.log(2)) / 3 - 0.25
    found = alignment.opposed(second, seen, batch, jax.random.key(0))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_second_head_starts_near_the_first(discrepancy):
    alignment, seen = discrepancy
    first = {"Dense_0": {"kernel": jnp.ones((1, 50, 40)), "bias": jnp.zeros((1, 40))}}
    found = alignment.start(jax.random.key(0), seen, {"head": {"blocks": first}})
    kernel = np.asarray(found["Dense_0"]["kernel"])
    assert kernel.shape == (50, 40)
    np.testing.assert_allclose(kernel.mean(), 1, atol=0.01)
    np.testing.assert_allclose(kernel.std(), 0.05, rtol=0.1)
