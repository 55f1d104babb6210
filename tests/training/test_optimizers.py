"""One optimizer, partitioned by path: blocks by gradient, router by trajectory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.routers.policies import TabularPolicy
from routing_jax.routers.router import Router
from routing_jax.training.optimizers import label_parameters, make_optimizer
from routing_jax.training.state import hyperparams
from routing_jax.types import Decisions, Trajectory

PARAMS = {
    "banks_0": {"blocks": {"kernel": jnp.ones((2, 3))}},
    "router": {"policy": {"table": jnp.array([[[0.5, 0.5]]])}},
}
ROUTER = Router((0,), TabularPolicy(1, 1, 2), ((True, True),))
TRAJECTORY = Trajectory(
    Decisions(jnp.array([[[1]]]), jnp.array([[0]])),
    rewards=jnp.zeros((1, 1, 1)),
    final_reward=jnp.array([[1.0]]),
    weights=jnp.ones((1, 1)),
)


def updates_of(config, *, steps=1):
    optimizer = make_optimizer(config, ROUTER, hyperparams(config), total_steps=10)
    state = optimizer.init(PARAMS)
    gradients = {
        "banks_0": {"blocks": {"kernel": jnp.full((2, 3), 2.0)}},
        "router": {"policy": {"table": jnp.zeros((1, 1, 2))}},
    }
    for _ in range(steps):
        updates, state = optimizer.update(gradients, state, PARAMS, trajectory=TRAJECTORY)
    return updates


def test_labels():
    labels = label_parameters(PARAMS)
    assert labels == {
        "banks_0": {"blocks": {"kernel": "blocks"}},
        "router": {"policy": {"table": "router"}},
    }


def test_blocks_take_a_gradient_step_and_the_router_a_wpl_step(tiny_config):
    config = tiny_config(
        optimizer__learning_rate=0.1, router__learning_rate=1.0, router__return_rate=0.5
    )
    updates = updates_of(config)
    # 0.1 * 2.
    np.testing.assert_allclose(updates["banks_0"]["blocks"]["kernel"], np.full((2, 3), -0.2))
    # R = 0.5, advantage 0.5, factor pi = 0.5: (0.5, 0.75) / 1.25 = (0.4, 0.6).
    np.testing.assert_allclose(updates["router"]["policy"]["table"], [[[-0.1, 0.1]]], rtol=1e-5)


# Adam of optax promotes types inside.
@jax.numpy_dtype_promotion("standard")
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_l2_draws_all_blocks_that_are_used_to_zero_but_no_biases(tiny_config, name):
    config = tiny_config(
        optimizer__name=name,
        optimizer__l2=0.5,
        optimizer__momentum=0.0,
        optimizer__learning_rate=0.1,
        optimizer__schedule="constant",
    )
    params = {
        "banks_0": {"blocks": {"kernel": jnp.array([[3.0], [3.0]]), "bias": jnp.ones((2, 1))}},
        "norms_0": {"scale": jnp.array([2.0])},
        "router": PARAMS["router"],
    }
    optimizer = make_optimizer(config, ROUTER, hyperparams(config), total_steps=10)
    gradients = jax.tree.map(jnp.zeros_like, params)
    gradients["banks_0"]["blocks"]["bias"] = jnp.array([[1.0], [0.0]])  # only block 0 is used
    updates, _ = optimizer.update(gradients, optimizer.init(params), params, trajectory=TRAJECTORY)
    # Plain steps: 0.1 x (0 + 0.5 x 3), 0.1 x 1, 0.1 x (0 + 0.5 x 2); Adam's first is its rate.
    kernel, bias, scale = (0.15, 0.1, 0.1) if name == "sgd" else (0.1, 0.1, 0.1)
    np.testing.assert_allclose(updates["banks_0"]["blocks"]["kernel"], [[-kernel], [0]], rtol=1e-5)
    np.testing.assert_allclose(updates["banks_0"]["blocks"]["bias"], [[-bias], [0]], rtol=1e-5)
    np.testing.assert_allclose(updates["norms_0"]["scale"], [-scale], rtol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("constant", 10, 1.0),
        ("step", 7, 1.0),  # 70 % of 10 steps at the full rate
        ("step", 8, 0.1),
        ("cosine", 6, 0.5),  # the sixth step is at half time: (1 + cos(pi / 2)) / 2
    ],
)
def test_schedules(tiny_config, schedule, step, factor):
    config = tiny_config(
        optimizer__schedule=schedule, optimizer__momentum=0.0, optimizer__learning_rate=1.0
    )
    updates = updates_of(config, steps=step)
    np.testing.assert_allclose(
        updates["banks_0"]["blocks"]["kernel"], np.full((2, 3), -2.0 * factor), rtol=1e-5
    )


def test_a_router_begins_to_learn_when_it_is_told_to(tiny_config):
    config = tiny_config(router__learns_from=0.25)
    optimizer = make_optimizer(config, ROUTER, hyperparams(config), total_steps=10)
    gradients = jax.tree.map(jnp.ones_like, PARAMS)
    for progress, learns in ((0.0, False), (0.2, False), (0.25, True), (0.9, True)):
        updates, _ = optimizer.update(
            gradients, optimizer.init(PARAMS), PARAMS, trajectory=TRAJECTORY, progress=progress
        )
        assert bool(updates["router"]["policy"]["table"].any()) == learns
        assert updates["banks_0"]["blocks"]["kernel"].all()
