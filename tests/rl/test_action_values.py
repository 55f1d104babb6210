"""Rules that learn action values reach the exact ones of a small problem."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_routers import make_learner, trajectory_of

from routing_jax.types import Decisions

# Two decisions among three actions, the first without action 2; each is rewarded by itself, so that
# a table, which does not know what was done before, can hold the values.
ALLOWED = ((True, True, False), (True, True, True))
ROUTES = np.array(list(itertools.product(*(np.flatnonzero(row) for row in ALLOWED))))
REWARDS = np.array([[0.3, -0.2, 0.0], [0.1, 0.9, -0.4]])
FINAL = np.array([1.0, -1.0, 0.5])  # by the last action
DISCOUNT, EPSILON, SCALE = 0.8, 0.3, 0.5


def values(*, greedy_share: float) -> np.ndarray:
    """Action values by enumeration of what can follow, NaN where nothing is offered.

    Args:
      greedy_share: weight of the best next action; the rest is spread over all of them.
    """
    last = REWARDS[1] + FINAL
    found = np.full((2, 3), np.nan)
    found[1] = last
    for first, offered in enumerate(ALLOWED[0]):
        if offered:
            returns = REWARDS[0, first] + DISCOUNT * last
            found[0, first] = greedy_share * returns.max() + (1 - greedy_share) * returns.mean()
    return found


def stretched(optimal: np.ndarray) -> np.ndarray:
    """The fixed point of advantage learning: gaps to the best action, divided by the scale."""
    best = np.nanmax(optimal, axis=-1, keepdims=True)
    return best + (optimal - best) / SCALE


CASES = {
    "q_learning": (values(greedy_share=1.0), EPSILON),
    # Behaves uniformly, like the batch below: it learns the values of its own behaviour.
    "sarsa": (values(greedy_share=0.0), 1.0),
    "expected_sarsa": (values(greedy_share=1 - EPSILON), EPSILON),
    "advantage_learning": (stretched(values(greedy_share=1.0)), EPSILON),
}


@pytest.mark.parametrize("rule", CASES)
def test_values_converge(rule):
    expected, epsilon = CASES[rule]
    fields = {"advantage_scale": SCALE} if rule == "advantage_learning" else {}
    learner = make_learner(
        rule,
        tasks=1,
        allowed=ALLOWED,
        discount=DISCOUNT,
        epsilon=epsilon,
        learning_rate=0.8,
        **fields,
    )
    # Every route once: a batch of the uniform behaviour without its noise.
    trajectory = trajectory_of(
        Decisions(jnp.asarray(ROUTES, jnp.int32)[None], jnp.zeros((1, len(ROUTES)), jnp.int32)),
        rewards=jnp.asarray(REWARDS[np.arange(2), ROUTES], jnp.float32)[None],
        final=jnp.asarray(FINAL[ROUTES[:, 1]], jnp.float32)[None],
        exploration=learner.exploration,
    )

    @jax.jit
    def train():
        params = learner.start(jax.random.key(0), (jnp.zeros((1, 1, 4)),) * 2)

        def step(_, carry):
            return learner.learn(*carry, trajectory)

        return jax.lax.fori_loop(0, 300, step, (params, learner.init(params)))[0]

    table = np.array(train()["policy"]["table"][0])
    assert table[0, 2] == 0  # never taken, never learnt
    table[0, 2] = np.nan
    np.testing.assert_allclose(table, expected, atol=1e-4)
