"""Steps that learn from one task each: whose turn it is, what it draws, what it moves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.data.sampling import draw_batch, task_in_turn
from routing_jax.models.factory import make_model
from routing_jax.training import loop, step
from routing_jax.training.optimizers import make_optimizer
from routing_jax.training.run import make_run

TURNS = {"training__round_robin": True, "data__share_images": False}
GUMBEL = {
    "model__name": "gumbel_matrix",
    "model__head": "own",
    "router__rule": "gumbel_softmax",
    "router__temperature": 50.0,
    "router__temperature_end": 0.5,
    "router__exploration_schedule": "inverse_sqrt",
}
PLAIN = {"optimizer__momentum": 0.0}


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):  # Adam of optax promotes types inside
        yield


def taken(config, tasks, steps):
    """The state before training and after each of so many steps."""
    run = make_run(config, tasks)
    program, train = run.program, loop.to_device(tasks.train)
    model = make_model(config, program.shape, block_noise=1.0)
    optimizer = make_optimizer(
        config, model.learned_router, run.hyper, total_steps=program.total_steps
    )

    @jax.jit
    def one(state):
        return step.train_step(
            config,
            model,
            optimizer,
            program.objective,
            run.hyper,
            state,
            train,
            total_steps=program.total_steps,
        )

    states = [jax.jit(program.init)(run.hyper, train)]
    for _ in range(steps):
        states.append(one(states[-1]))
    return states


def test_every_round_goes_through_all_tasks_in_an_order_of_its_own():
    turn = jax.jit(jax.vmap(lambda s: task_in_turn(s, num_tasks=7, key=jax.random.key(3))))
    tasks, rounds = turn(jnp.arange(70, dtype=jnp.int32))
    orders = np.asarray(tasks).reshape(10, 7)
    np.testing.assert_array_equal(np.sort(orders), np.tile(np.arange(7), (10, 1)))
    assert len({tuple(order) for order in orders}) > 5
    np.testing.assert_array_equal(rounds, np.repeat(np.arange(10), 7))


def test_a_task_draws_the_same_alone_as_with_all(unequal_data):
    drawing = {"key": jax.random.key(1), "step": jnp.int32(3), "examples": 4, "shared": False}
    data = jax.tree.map(jnp.asarray, unequal_data._replace(classes=np.array([2, 1, 2])))
    whole = draw_batch(data, **drawing)
    alone = draw_batch(data, **drawing, tasks=jnp.array([2, 0]))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[jnp.array([2, 0])]), alone, whole)


@pytest.fixture
def updates(monkeypatch):
    """The numbers of updates that the temperature has counted, step by step."""
    counted, original = [], step.exploration_at

    def noted(hyper, progress, count, *, schedule):
        jax.debug.callback(lambda count: counted.append(float(count)), count)
        return original(hyper, progress, count, schedule=schedule)

    monkeypatch.setattr(step, "exploration_at", noted)
    return counted


def test_a_step_of_all_tasks_is_an_update_of_each(tiny_config, digits, updates):
    taken(tiny_config(**GUMBEL, **PLAIN), digits, 3)
    jax.effects_barrier()
    assert updates == [0, 10, 20]  # ten tasks


def test_a_step_moves_the_head_and_the_switches_of_one_task_only(tiny_config, digits, updates):
    states = taken(tiny_config(**TURNS, **GUMBEL, **PLAIN), digits, 12)

    def moved(part, number):
        before, after = (jax.tree.leaves(s.params[part]) for s in states[number : number + 2])
        pairs = zip(before, after, strict=True)
        return np.any([(a != b).reshape(10, -1).any(1) for a, b in pairs], axis=0)

    key = jax.random.split(jax.random.key(0), 3)[1]  # the run's stream of data
    for number in range(12):
        task, _ = task_in_turn(jnp.int32(number), num_tasks=10, key=key)
        expected = np.arange(10) == int(task[0])
        np.testing.assert_array_equal(moved("head", number), expected)
        np.testing.assert_array_equal(moved("router", number), expected)
    jax.effects_barrier()
    assert updates == list(range(12))


@pytest.mark.slow
def test_with_one_task_it_is_the_usual_training(tiny_config, digits):
    one = {"data__num_tasks": 1, "data__share_images": False}
    first = digits.train._replace(
        index=digits.train.index[:1], labels=digits.train.labels[:1], sizes=digits.train.sizes[:1]
    )
    tasks = dataclasses.replace(digits, task_names=digits.task_names[:1], train=first)
    turns = taken(tiny_config(**one, training__round_robin=True), tasks, 4)[-1]
    usual = taken(tiny_config(**one), tasks, 4)[-1]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), turns.params, usual.params
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"router__decision_per": "task"},
        {"router__agent": "dispatched", "router__rule": "reinforce_mean"},
        pytest.param(
            {"router__policy": "approximator", "router__rule": "actor_critic"},
            marks=pytest.mark.slow,
        ),
        pytest.param({"model__name": "soft_mixture"}, marks=pytest.mark.slow),
        pytest.param({"router__rule": "gumbel_softmax"}, marks=pytest.mark.slow),
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_other_systems_learn_in_turns(tiny_config, digits, changes):
    start, *_, state = taken(tiny_config(**TURNS, **changes), digits, 3)
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), s) for s in (start, state)]
    assert shapes[0] == shapes[1]
    assert float(state.tally.steps) == 3
    assert np.isfinite(state.tally.loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_an_epoch_is_as_many_examples_and_a_step_one_task(tiny_config, digits):
    config = tiny_config(**TURNS, training__steps=None, training__epochs=2)
    run = make_run(config, digits)
    # 1,437 examples in batches of 8: 360 rounds for two epochs, ten steps each.
    assert run.schedule.total == 3600
    assert run.task_examples == 8
    assert run.epochs(3600) == pytest.approx(2, abs=0.01)
