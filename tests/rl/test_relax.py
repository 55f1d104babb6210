"""RELAX on a problem of two blocks whose exact gradient is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_routers import make_learner, trajectory_of

from routing_jax.rl.relax import conditional, relax
from routing_jax.types import Decisions, Exploration, Recall, Transitions

LOGITS = np.array([0.4, -0.3], np.float32)
RETURNS = np.array([1.5, -0.5], np.float32)  # by the action
DRAWS = 100_000


def control_of_two(weights, relaxed):
    """A small nonlinear function of the relaxed action, [..., A] to [...]."""
    hidden = jnp.einsum("...a,ah->...h", relaxed, weights["first"])
    bias = weights["bias"].reshape((1,) * (hidden.ndim - 1) + (-1,))
    return jnp.einsum("...h,h->...", jnp.tanh(hidden + bias), weights["second"])


def some_weights(seed: int):
    rng = np.random.default_rng(seed)
    shapes = {"first": (2, 5), "bias": (5,), "second": (5,)}
    return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def loss(logits, weights, key):
    """RELAX's loss per draw, [1, n, 1], of logits [n, 2]."""
    log_probs = jax.nn.log_softmax(logits)
    draw_key, rule_key = jax.random.split(key)
    actions = jax.random.categorical(draw_key, jax.lax.stop_gradient(log_probs))
    nothing = jnp.zeros((1, len(logits), 1))
    recall = Recall(**dict.fromkeys(Recall._fields, nothing))
    fields = dict.fromkeys(Transitions._fields, nothing)
    fields |= {
        "recall": recall._replace(log_probs=log_probs[None, :, None]),
        "actions": actions[None, :, None],
        "returns": jnp.asarray(RETURNS)[actions][None, :, None],
        "control": lambda relaxed: control_of_two(weights, relaxed),
        "key": rule_key,
    }
    return relax(Transitions(**fields))


@jax.jit
def estimates(weights, key):
    """The gradient of the expected return in the logits as each draw estimates it, [n, 2]."""
    logits = jnp.tile(jnp.asarray(LOGITS), (DRAWS, 1))
    return -jax.grad(lambda logits: loss(logits, weights, key).sum())(logits)


def exact() -> np.ndarray:
    """d/dl sum p q = p * (q - sum p q)."""
    policy = np.exp(LOGITS) / np.exp(LOGITS).sum()
    return policy * (RETURNS - policy @ RETURNS)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_unbiased_whatever_the_control_variate(seed):
    found = np.asarray(estimates(some_weights(seed), jax.random.key(seed)), np.float64)
    error = found.std(0) / DRAWS**0.5
    assert (error < 0.02).all(), error  # the gradient is +-0.44
    assert (np.abs(found.mean(0) - exact()) < 4 * error).all(), (found.mean(0), exact(), error)


def test_training_the_control_variate_lowers_the_variance():
    logits = jnp.tile(jnp.asarray(LOGITS), (500, 1))

    @jax.jit
    def train(weights):
        def step(weights, key):
            slope = jax.grad(lambda weights: loss(logits, weights, key).mean())(weights)
            return jax.tree.map(lambda w, s: w - 0.02 * s, weights, slope), None

        return jax.lax.scan(step, weights, jax.random.split(jax.random.key(1), 500))[0]

    def variance(weights) -> float:
        return float(estimates(weights, jax.random.key(2)).var(0).sum())

    start = jax.tree.map(jnp.asarray, some_weights(0))
    plain = variance(jax.tree.map(jnp.zeros_like, start))  # REINFORCE without a baseline
    trained = variance(train(start))
    assert trained < 0.5 * variance(start)
    assert trained < 0.5 * plain


@functools.partial(jax.jit, static_argnums=1)
def noisy_logits(key, count):
    logits = jnp.tile(jnp.log(jnp.array([0.2, 0.5, 0.3])), (count, 1))
    free = logits + jax.random.gumbel(key, logits.shape)
    taken = jax.nn.one_hot(free.argmax(-1), 3)
    return free, conditional(logits, taken, jax.random.fold_in(key, 1)), taken


def test_noise_given_the_action_has_the_distribution_of_noise():
    free, again, taken = map(np.asarray, noisy_logits(jax.random.key(0), 40_000))
    np.testing.assert_array_equal(again.argmax(-1), taken.argmax(-1))
    # Mean and deviation of a shifted Gumbel variable: standard error 0.0064 and 0.007.
    np.testing.assert_allclose(again.mean(0), np.log([0.2, 0.5, 0.3]) + 0.57722, atol=0.03)
    np.testing.assert_allclose(again.std(0), np.pi / 6**0.5, atol=0.03)
    np.testing.assert_allclose(np.corrcoef(again.T), np.eye(3), atol=0.03)
    np.testing.assert_allclose(free.mean(0), again.mean(0), atol=0.03)


def test_actions_that_are_not_offered_get_no_gradient_and_make_no_nan():
    learner = make_learner("relax", tasks=1, allowed=((True, True, False),), epsilon=1.0)
    params = learner.start(jax.random.key(0), (jnp.zeros((1, 6, 4)),))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), params)
    for epsilon in (0.0, 0.5, 1.0):
        after = learn_once(learner, params, jnp.float32(epsilon))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
        before, now = params["policy"]["table"][0, 0], after["policy"]["table"][0, 0]
        assert now[2] == before[2]
        assert (now[:2] != before[:2]).all() == (epsilon < 1)


def learn_once(learner, params, epsilon):
    actions = jnp.array([[[0], [1], [0], [0], [1], [0]]])
    trajectory = trajectory_of(
        Decisions(actions, jnp.zeros((1, 6), jnp.int32)),
        final=jnp.array([[1.0, -1.0, 1.0, 1.0, 1.0, 1.0]]),
        exploration=Exploration(epsilon, 1.0),
        key=jax.random.key(0),
    )
    return jax.jit(lambda: learner.learn(params, learner.init(params), trajectory)[0])()
