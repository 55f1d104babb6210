"""A dispatcher tells inputs apart that need different agents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_routers import make_learner, trajectory_of

from routing_jax.types import Decisions

SEEDS, STEPS, EXAMPLES, FEATURES = 10, 300, 32, 6
CLUSTER = jnp.arange(EXAMPLES) % 2


def inputs(centers: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
    """Representations [1, n, F] around the center of their cluster, the same at both depths."""
    x = centers[CLUSTER] + 0.5 * jax.random.normal(key, (EXAMPLES, FEATURES))
    return (x[None],) * 2


def train(reward_scale: jax.Array, seed: jax.Array) -> jax.Array:
    """The agents of fresh examples after training, [n].

    Both agents have a fixed route, (0, 1) and (1, 0); an example is answered right if it goes along
    the one of its cluster.
    """
    learner = make_learner(
        "reinforce_mean",
        tasks=1,
        allowed=((True, True),) * 2,
        features=FEATURES,
        agent="dispatched",
        num_agents=2,
        hidden=16,
        learning_rate=1e-9,  # the agents stay as they are
        dispatcher_learning_rate=0.3,
    )
    center_key, init_key, run_key, test_key = jax.random.split(jax.random.key(seed), 4)
    centers = jax.random.normal(center_key, (2, FEATURES))
    params = learner.start(init_key, inputs(centers, test_key))
    params["policy"] = {"table": 20.0 * jnp.array([jnp.eye(2), jnp.eye(2)[::-1]])}

    def step(carry, key):
        input_key, route_key = jax.random.split(key)
        states = inputs(centers, input_key)
        decisions, _ = learner.decide(carry[0], states, route_key)
        routes = jnp.stack([CLUSTER, 1 - CLUSTER], axis=-1)
        right = (decisions.actions == routes[None]).all(-1)
        trajectory = trajectory_of(
            Decisions(*decisions),
            final=reward_scale * jnp.where(right, 1.0, -1.0),
            exploration=learner.exploration,
            states=states[:1],
        )
        return learner.learn(*carry, trajectory), None

    start = (params, learner.init(params))
    (params, _), _ = jax.lax.scan(step, start, jax.random.split(run_key, STEPS))
    return learner.greedy(params, inputs(centers, test_key)).agents[0]


@pytest.fixture(scope="module")
def trained():
    """Agents [seeds, n] by the scale of the rewards."""
    return jax.jit(jax.vmap(train, in_axes=(None, 0)))


def separated(agents: np.ndarray) -> int:
    """Seeds in which nearly all examples of a cluster go to the agent that suits it."""
    return int(((agents == np.asarray(CLUSTER)).mean(1) > 0.9).sum())


def test_it_sends_two_clusters_to_the_agents_that_suit_them(trained):
    assert separated(np.asarray(trained(1.0, jnp.arange(SEEDS)))) >= 9


def test_without_rewards_it_does_not(trained):
    assert separated(np.asarray(trained(0.0, jnp.arange(SEEDS)))) == 0
