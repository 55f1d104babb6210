"""Runs that are judged by the step that answers held-out examples best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.data import loading
from routing_jax.training import loop
from routing_jax.training.run import make_run
from routing_jax.training.state import judged

CHOOSING = {"data__validation_fraction": 0.2, "data__validation_use": "best_step"}


@pytest.fixture(scope="module")
def tasks():
    from conftest import tiny_config

    return loading.load(tiny_config(**CHOOSING).data, say=print)


def test_the_parameters_of_the_best_evaluation_are_kept(tiny_config, tasks):
    # So large a rate that accuracy goes up and down.
    config = tiny_config(**CHOOSING, optimizer__learning_rate=0.5, training__examples_per_task=32)
    run = make_run(config, tasks)
    train, watched = loop.to_device(tasks.train), loop.to_device(tasks.watched)
    segment, evaluate = jax.jit(run.program.segment), jax.jit(run.program.evaluate)
    state = jax.jit(run.program.init)(run.hyper, train)
    scores = []
    for steps, evaluated in ((2, True), (1, True), (1, False), (2, True), (2, True), (3, False)):
        state, report = segment(
            state, run.hyper, train, watched, jnp.int32(steps), jnp.asarray(evaluated)
        )
        if evaluated:
            scores.append(float(report.evaluation.metrics["accuracy"].mean()))
    best = int(np.argmax(scores))
    assert len(set(scores)) > 1
    assert int(state.best.step) == [2, 3, 6, 8][best]
    assert float(state.best.score) == pytest.approx(scores[best])
    found = evaluate(judged(state), run.hyper, watched).metrics["accuracy"].mean()
    assert float(found) == pytest.approx(scores[best])


@pytest.mark.slow
def test_an_error_is_best_where_it_is_smallest(tiny_config):
    config = tiny_config(
        **CHOOSING,
        data__name="synthetic",
        data__tasks="related_pairs",
        data__num_pairs=1,
        reward__final="negative_loss",
    )
    tasks = loading.load(config.data, say=print)
    run = make_run(config, tasks)
    train, watched = loop.to_device(tasks.train), loop.to_device(tasks.watched)
    segment = jax.jit(run.program.segment)
    state, errors = jax.jit(run.program.init)(run.hyper, train), []
    for _ in range(3):
        state, report = segment(state, run.hyper, train, watched, jnp.int32(3), jnp.asarray(True))
        errors.append(float(report.evaluation.metrics["mse"].mean()))
    assert float(state.best.score) == pytest.approx(-min(errors))
