"""Rules that learn action values reach the exact ones of a small problem."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_routers import Learner, make_learner, trajectory_of

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
    last = FINAL[ROUTES[:, 1]]
    table = train(learner, rewards=REWARDS[np.arange(2), ROUTES], final=last)
    assert table[0, 2] == 0  # never taken, never learnt
    table[0, 2] = np.nan
    np.testing.assert_allclose(table, expected, atol=1e-4)


def test_a_table_does_not_carry_the_final_reward_past_the_last_decision():
    # The first action alone decides; but what follows it is, to a table, the same for all actions:
    # both get DISCOUNT times the mean final reward, 0.8 * (1 - 0.5) / 2 = 0.2.
    learner = make_learner(
        "q_learning", tasks=1, allowed=ALLOWED, discount=DISCOUNT, learning_rate=0.8
    )
    final = np.array([1.0, -0.5])[ROUTES[:, 0]]
    table = train(learner, rewards=np.zeros(ROUTES.shape), final=final)
    np.testing.assert_allclose(table[0, :2], [0.2, 0.2], atol=1e-4)


def train(learner: Learner, *, rewards: np.ndarray, final: np.ndarray) -> np.ndarray:
    """The table [D, A] after many steps on rewards [routes, D] and final rewards [routes]."""
    # Every route once: a batch of the uniform behaviour without its noise.
    trajectory = trajectory_of(
        Decisions(jnp.asarray(ROUTES, jnp.int32)[None], jnp.zeros((1, len(ROUTES)), jnp.int32)),
        rewards=jnp.asarray(rewards, jnp.float32)[None],
        final=jnp.asarray(final, jnp.float32)[None],
        exploration=learner.exploration,
    )

    @jax.jit
    def steps():
        params = learner.start(jax.random.key(0), (jnp.zeros((1, 1, 4)),) * 2)

        def step(_, carry):
            return learner.learn(*carry, trajectory)

        return jax.lax.fori_loop(0, 300, step, (params, learner.init(params)))[0]

    return np.array(steps()["policy"]["table"][0])
