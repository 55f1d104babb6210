"""On/off variables: samples, gradients, weights and penalties against hand values."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.routers import allocation
from routing_jax.routers.allocation import (
    Allocation,
    FixedAllocation,
    Penalties,
    mean_weights,
    penalty,
    sample_switches,
)

FREE = Penalties(1.0, 0.0, 0.0, 0.0, 0.0)


def learned(logits):
    """A module and variables that hold these logits [T, D, K, 2]."""
    logits = jnp.asarray(logits, jnp.float32)
    return Allocation(*logits.shape[:3], 0.5), {"params": {"logits": logits}}


def test_sample_and_gradient_at_fixed_noise(monkeypatch):
    monkeypatch.setattr(jax.random, "logistic", lambda key, shape: jnp.full(shape, 0.4))
    # Logits 1.0 and 0.5 differ by 0.5; with the noise 0.9, over the temperature 1.8.
    # sigmoid(1.8) = 0.858149, and its slope there over 0.5 is 0.858149 x 0.141851 / 0.5 = 0.243458.
    logits = jnp.array([1.0, 0.5])
    value, slope = jax.value_and_grad(lambda x: sample_switches(jax.random.key(0), x, 0.5))(logits)
    assert float(value) == 1.0
    np.testing.assert_allclose(slope, [0.243458, -0.243458], rtol=1e-5)


def test_samples_are_as_frequent_as_their_probability():
    logits = jnp.log(jnp.array([[0.97, 0.03], [0.5, 0.5], [0.1, 0.9]]))
    keys = jax.random.split(jax.random.key(0), 20_000)
    samples = jax.vmap(lambda key: sample_switches(key, logits, 50.0))(keys)
    assert set(np.unique(samples)) == {0.0, 1.0}  # whatever the temperature
    np.testing.assert_allclose(samples.mean(0), [0.97, 0.5, 0.1], atol=0.012)  # 3 deviations


def test_the_mean_gradient_points_where_the_exact_one_does():
    values, target = jnp.array([1.0, -0.5, 2.0]), 1.2
    logits = jnp.array([[0.3, 0.0], [-0.2, 0.1], [0.5, 0.4]])

    def loss(switches):
        return (mean_weights(switches) @ values - target) ** 2

    def expected(logits):
        on = jax.nn.softmax(logits)[:, 0]
        patterns = jnp.array(list(itertools.product([0.0, 1.0], repeat=3)))
        chance = jnp.prod(jnp.where(patterns == 1, on, 1 - on), axis=1)
        return (chance * jax.vmap(loss)(patterns)).sum()

    def sampled(logits, key):
        return loss(sample_switches(key, logits, 0.5))

    keys = jax.random.split(jax.random.key(1), 20_000)
    mean = jax.vmap(jax.grad(sampled), (None, 0))(logits, keys).mean(0).reshape(-1)
    exact = jax.grad(expected)(logits).reshape(-1)
    cosine = mean @ exact / (jnp.linalg.norm(mean) * jnp.linalg.norm(exact))
    assert float(cosine) > 0.9


def test_the_start_and_the_best_state():
    module = Allocation(2, 1, 3, 0.97)
    variables = module.init(jax.random.key(0), method="probabilities")
    np.testing.assert_allclose(variables["params"]["logits"][1, 0, 2], np.log([0.97, 0.03]), 1e-5)
    np.testing.assert_allclose(module.apply(variables, method="probabilities"), 0.97, rtol=1e-6)
    module, variables = learned([[[[0.2, 0.2], [0.1, 0.3], [2.0, -1.0]]]])
    best = module.apply(variables, method="best")
    np.testing.assert_array_equal(best, [[[1, 0, 1]]])  # on where both states are as probable


def test_fixed_switches_are_what_they_are():
    switches = (((1, 0),), ((1, 1),))
    module = FixedAllocation(switches)
    assert module.init(jax.random.key(0), method="best") == {}
    for found in (
        module.apply({}, method="best"),
        module.apply({}, method="probabilities"),
        module.apply({}, jax.random.key(0), 2.0, method="sample"),
    ):
        np.testing.assert_array_equal(found, switches)


def test_the_mean_is_over_what_is_on_and_knows_that_more_blocks_mean_less_of_each():
    np.testing.assert_allclose(
        mean_weights(jnp.array([[1.0, 1, 0], [0, 0, 0], [0, 0, 1]])),
        [[0.5, 0.5, 0], [0, 0, 0], [0, 0, 1]],
    )
    # Of w_0 = a_0 / (a_0 + a_1): 1/2 - 1/4 by a_0, and -1/4 by a_1.
    slope = jax.grad(lambda a: mean_weights(a)[0])(jnp.array([1.0, 1.0]))
    np.testing.assert_allclose(slope, [0.25, -0.25])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # One task, p = 0.5, 0.9 and 0.2, 0.8: mean 0.6, a tenth of 1 - 0.5 above the budget.
        ({"budget": 0.5, "budget_weight": 2.0}, 2 * 0.1),
        ({"budget": 0.6, "budget_weight": 2.0}, 0.0),
        ({"budget": 0.7, "budget_weight": 2.0}, 0.0),
        # Entropies 0.6931 + 0.3251 + 0.5004 + 0.5004 = 2.0190, half way through.
        ({"certainty_weight": 3.0}, 3 * 0.5 * 2.0190),
        # Nothing on with 0.5 x 0.1 at the first depth and 0.8 x 0.2 at the second.
        ({"empty_weight": 10.0}, 10 * (0.05 + 0.16)),
        ({"count_weight": 0.5}, 0.5 * 2.4),
        ({}, 0.0),
    ],
)
def test_penalties(changes, expected):
    probabilities = jnp.array([[[0.5, 0.9], [0.2, 0.8]]])
    found = penalty(probabilities, FREE._replace(**changes), 0.5)
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_penalties_are_those_of_tasks_and_not_of_their_mean():
    # Tasks at 0.2 and 0.8 with a budget of 0.5: 0 and 0.3, in the mean 0.15.
    probabilities = jnp.array([[[0.2]], [[0.8]]])
    found = penalty(probabilities, FREE._replace(budget=0.5, budget_weight=1.0), 0.0)
    assert float(found) == pytest.approx(0.15)


def test_saturated_switches_have_finite_gradients():
    def cost(logits):
        module, variables = learned(logits)
        on = module.apply(variables, method="probabilities")
        return penalty(on, Penalties(0.0, 1.0, 1.0, 1.0, 1.0), 1.0)

    gradient = jax.grad(cost)(jnp.array([[[[300.0, -300.0], [-300.0, 300.0]]]]))
    assert np.isfinite(gradient).all()


def test_every_penalty_is_a_field_of_the_configuration():
    from routing_jax.training.state import Hyperparams

    assert set(allocation.Penalties._fields) <= set(Hyperparams._fields)
