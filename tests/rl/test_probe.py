"""A probe task with a known best route: WPL finds it, and does not without advantages.

Each of four tasks has a planted route over 3 decisions among 5 blocks. An example is answered right
with a probability that grows with the number of decisions on the planted route.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from routing_jax.routers.tabular import TabularRouter

from routing_jax.rl import rewards, transforms
from routing_jax.types import Trajectory

TASKS, DEPTH, BLOCKS, EXAMPLES, STEPS, SEEDS = 4, 3, 5, 16, 600, 10


def found_routes(*, convention: str, reward_scale: float = 1.0, rho: float = 0.0) -> np.ndarray:
    """Greedy routes after training and planted ones, int [2, seeds, T, D]."""
    router = TabularRouter(tuple(range(TASKS)), ((True,) * BLOCKS,) * DEPTH)
    optimizer = optax.chain(
        transforms.policy_gradient(return_rate=0.05, discount=1.0),
        transforms.scale_by_wpl(convention),
        optax.scale_by_learning_rate(0.05),
        transforms.project_to_simplex(),
    )

    def train(seed: jax.Array) -> tuple[jax.Array, jax.Array]:
        plant_key, init_key, run_key = jax.random.split(jax.random.key(seed), 3)
        planted = jax.random.randint(plant_key, (TASKS, DEPTH), 0, BLOCKS)
        params = router.init({"params": init_key, "router": init_key}, EXAMPLES)["params"]

        def step(carry, key):
            params, state, history = carry
            route_key, answer_key = jax.random.split(key)
            decisions = router.apply({"params": params}, EXAMPLES, rngs={"router": route_key})
            share = (decisions.actions == planted[:, None]).mean(-1)
            right = jax.random.uniform(answer_key, share.shape) < share
            popularity = rewards.usage(history, BLOCKS)
            trajectory = Trajectory(
                decisions,
                rho * rewards.collaboration(popularity, decisions.actions),
                reward_scale * jnp.where(right, 1.0, -1.0),
                jnp.ones(right.shape),
            )
            updates, state = optimizer.update(params, state, params, trajectory=trajectory)
            history = rewards.remember(history, decisions.actions)
            return (optax.apply_updates(params, updates), state, history), None

        start = (params, optimizer.init(params), rewards.empty_usage(DEPTH, 256))
        (params, _, _), _ = jax.lax.scan(step, start, jax.random.split(run_key, STEPS))
        return router.apply({"params": params}, method="greedy"), planted

    greedy, planted = jax.jit(jax.vmap(train))(jnp.arange(SEEDS))
    return np.stack([greedy, planted])


@pytest.mark.parametrize("convention", ["routing_networks", "abdallah_lesser"])
def test_wpl_finds_the_planted_routes(convention):
    greedy, planted = found_routes(convention=convention)
    found = (greedy == planted).all((1, 2)).sum()
    assert found >= 9, f"found in {found} of {SEEDS} seeds"


@pytest.mark.parametrize("convention", ["routing_networks", "abdallah_lesser"])
def test_wpl_without_advantages_finds_nothing(convention):
    greedy, planted = found_routes(convention=convention, reward_scale=0.0)
    assert (greedy == planted).all((1, 2)).sum() == 0


def test_rho_shifts_routes_towards_sharing():
    # The planted route is worth little here, so that agreeing with the others can outweigh it.
    def blocks_per_depth(rho: float) -> float:
        greedy, _ = found_routes(convention="routing_networks", reward_scale=0.3, rho=rho)
        return np.mean([len(set(route)) for seed in greedy for route in seed.T])

    assert blocks_per_depth(1.0) < blocks_per_depth(0.0) - 0.5
