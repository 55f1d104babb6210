"""Exploration over a run."""

import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.training.state import exploration_at, hyperparams

NEVER = jnp.float32(0)
"""Updates of tasks, where the schedule does not count them."""


@pytest.mark.parametrize(
    ("schedule", "progress", "epsilon", "temperature"),
    [
        ("linear", 0.0, 0.5, 4.0),
        ("linear", 0.5, 0.3, 2.5),  # half way: (0.5 + 0.1) / 2 and (4 + 1) / 2
        ("linear", 1.0, 0.1, 1.0),
        ("geometric", 0.5, np.sqrt(0.05), 2.0),  # the geometric means
        ("geometric", 1.0, 0.1, 1.0),
    ],
)
def test_exploration_goes_from_start_to_end(tiny_config, schedule, progress, epsilon, temperature):
    config = tiny_config(
        router__epsilon=0.5,
        router__epsilon_end=0.1,
        router__temperature=4.0,
        router__temperature_end=1.0,
    )
    now = exploration_at(hyperparams(config), jnp.float32(progress), NEVER, schedule=schedule)
    np.testing.assert_allclose(now, (epsilon, temperature), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "epsilon", "temperature"),
    [
        # Half way from 4 to 1 is 2; epsilon stays at 0, and the temperature of values too.
        ({"router__temperature": 4.0, "router__temperature_end": 1.0}, 0.0, 2.0),
        (
            {
                "router__rule": "q_learning",
                "router__epsilon": 0.4,
                "router__epsilon_end": 0.1,
            },
            0.2,
            0.0,
        ),
    ],
)
def test_a_geometric_schedule_of_one_leaves_the_other_alone(
    tiny_config, changes, epsilon, temperature
):
    config = tiny_config(router__exploration_schedule="geometric", **changes)
    now = exploration_at(hyperparams(config), jnp.float32(0.5), NEVER, schedule="geometric")
    np.testing.assert_allclose(now, (epsilon, temperature), rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "epsilon", "temperature"), [("wpl", 0.0, 1.0), ("q_learning", 0.1, 0.0)]
)
def test_it_stays_at_the_rules_own_where_nothing_is_set(tiny_config, rule, epsilon, temperature):
    hyper = hyperparams(tiny_config(router__rule=rule))
    for progress in (0.0, 0.7):
        now = exploration_at(hyper, jnp.float32(progress), NEVER, schedule="linear")
        np.testing.assert_allclose(now, (epsilon, temperature), rtol=1e-6)


@pytest.mark.parametrize(
    ("updates", "temperature"),
    [
        (0, 50.0),
        (99, 5.0),  # 50 / sqrt(100)
        (9_999, 0.5),  # 50 / sqrt(10,000)
        (20_000, 0.5),  # 0.35 would be below the end
    ],
)
def test_an_inverse_square_root_counts_updates_and_never_goes_below_the_end(
    tiny_config, updates, temperature
):
    config = tiny_config(
        router__temperature=50.0,
        router__temperature_end=0.5,
        router__exploration_schedule="inverse_sqrt",
    )
    now = exploration_at(
        hyperparams(config), jnp.float32(0.3), jnp.float32(updates), schedule="inverse_sqrt"
    )
    np.testing.assert_allclose(now, (0.0, temperature), rtol=1e-5)
