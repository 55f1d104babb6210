"""Tasks added to a network: old answers keep their bits in every system, and what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from saved_runs import save_as_finished
from small_compositional import SMALL_COMPOSITIONAL

from routing_jax.added_tasks import config_asked_for
from routing_jax.data import loading
from routing_jax.errors import UserError
from routing_jax.training import loop, transfer
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.optimizers import make_optimizer
from routing_jax.training.run import make_run
from routing_jax.training.state import by_path
from routing_jax.training.step import train_step, variables_of
from routing_jax.workdir import Workdir

OLD = {"data__num_tasks": 3, "data__share_images": False, "optimizer__l2": 0.1}
SYSTEMS = {
    "routing_network": {"model__head": "own", "model__num_blocks": None},
    "gumbel_matrix": {
        "model__name": "gumbel_matrix",
        "model__head": "own",
        "router__rule": "gumbel_softmax",
        "router__optimizer": "sgd",
    },
    "compositional": SMALL_COMPOSITIONAL
    | {"model__statistics": "per_depth_and_task", "router__temperature_end": 0.5},
}
ROUTE = {
    "routing_network": "params.router.policy.table",
    "gumbel_matrix": "params.router.logits",
    "compositional": "params.router.logits",
}
HEAD = ["params.head.blocks.Dense_0.bias", "params.head.blocks.Dense_0.kernel"]


def load(config):
    return loading.load(config.data, say=lambda _: None)


@pytest.fixture(scope="module")
def sources(tiny_config, tmp_path_factory):
    """The work directory of a network of each system, made when it is asked for."""
    made = {}

    def source(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("sources") / name
            config = tiny_config(**OLD, **SYSTEMS[name])
            save_as_finished(made[name], config, load(config))
        return made[name]

    return source


def adding(source, **changed):
    """The run that adds tasks to it; fields are named with __ for the dot."""
    workdir = Workdir(source.with_name(f"more_than_{source.name}"))
    config = config_asked_for(str(source), source=None, workdir=workdir)
    for name, value in changed.items():
        group, leaf = name.split("__")
        config[group][leaf] = value
    return make_run(config, load(config))


def logits(run, arrays, count):
    """Of the first test images of the first tasks, [count, n, C], one task after the other.

    A program of all tasks would do too, but the compiler may round one of more tasks otherwise.

    Args:
      run: the run.
      arrays: of its network, by path.
      count: of tasks.
    """
    model, test = run.program.model(run.hyper), run.tasks.test
    variables = unflatten_dict({tuple(name.split(".")): arrays[name] for name in arrays})

    @jax.jit
    def answer(variables, images, task):
        x = model.apply(variables, images, train=False, method="encode")[None]
        return model.apply(variables, x, None, task[None], method="route").logits[0]

    images = [jnp.asarray(test.images[test.index[task, :60]]) for task in range(count)]
    return np.stack([answer(variables, of, jnp.int32(task)) for task, of in enumerate(images)])


def stepping(run):
    """A step of the run, compiled."""
    program, config = run.program, run.program.config
    model, total = program.model(run.hyper), program.total_steps
    router = model.learned_router
    optimizer = make_optimizer(config, router, run.hyper, total_steps=total)
    train, num_old = loop.to_device(run.tasks.train), run.tasks.num_old
    fixed = (config, model, optimizer, program.objective, run.hyper)
    return jax.jit(
        lambda state: train_step(*fixed, state, train, total_steps=total, num_old=num_old)
    )


def arrays_of(state):
    return by_path(jax.device_get(variables_of(state)))


@pytest.mark.parametrize("name", SYSTEMS)
def test_old_tasks_are_answered_bit_for_bit_as_before(name, sources):
    source = sources(name)
    old_config = Workdir(source).read_config()
    old_run = make_run(old_config, load(old_config))
    given = Checkpoints(source / "checkpoints", dataset="").read_network()
    run = adding(source, data__first_task=6, data__num_tasks=2)
    state = transfer.start(run, run, say=lambda _: None)
    start, step = arrays_of(state), stepping(run)
    for _ in range(3):
        state = step(state)
    found = arrays_of(state)
    longer = {key for key in found if found[key].shape != given[key].shape}
    averages = {key for key in longer if key.startswith("batch_stats.")}
    assert longer - averages == {ROUTE[name], *HEAD}
    assert bool(averages) == (name == "compositional")
    for key in found.keys() - averages:
        kept = found[key][:3] if key in longer else found[key]
        np.testing.assert_array_equal(kept, given[key], err_msg=key)
    for key in longer - averages:  # the new rows have left their start
        assert (found[key][3:] != start[key][3:]).any(), key
    for key in averages:  # [depth, task, template, F]: new tasks have the mean of the old ones'
        np.testing.assert_array_equal(found[key][:, :3], given[key], err_msg=key)
        mean = np.repeat(given[key].mean(1, keepdims=True), 2, axis=1)
        np.testing.assert_allclose(found[key][:, 3:], mean, rtol=1e-5, err_msg=key)
    before = logits(old_run, given, 3)
    assert before.shape == (3, 60, 2)
    np.testing.assert_array_equal(logits(run, found, 3), before)


def test_new_tasks_may_start_from_the_mean_of_the_mixing_weights(sources):
    source = sources("compositional")
    run = adding(source, data__first_task=6, data__num_tasks=2, router__mixing_start="source")
    found = arrays_of(transfer.start(run, run, say=lambda _: None))[ROUTE["compositional"]]
    old = Checkpoints(source / "checkpoints", dataset="").read_network()[ROUTE["compositional"]]
    np.testing.assert_array_equal(found[:3], old)
    np.testing.assert_allclose(found[3:], np.stack(2 * [old.mean(0)]), rtol=1e-6)


def test_tasks_are_added_to_a_network_that_took_some_before(sources, tmp_path):
    first = adding(sources("routing_network"), data__first_task=6, data__num_tasks=2)
    state = transfer.start(first, first, say=lambda _: None)
    save_as_finished(tmp_path / "second", first.program.config, first.tasks, state)
    second = adding(tmp_path / "second", data__first_task=9, data__num_tasks=1)
    assert second.tasks.task_names == tuple(f"{digit} or not" for digit in (0, 1, 2, 6, 7, 9))
    config = second.program.config
    stages = json.loads(config.data.old_tasks)
    assert [(stage.get("first_task", 0), stage["num_tasks"]) for stage in stages] == [
        (0, 3),
        (6, 2),
    ]
    assert config.model.num_blocks == 3  # as many as tasks at first
    lines = []
    more = transfer.start(second, second, say=lines.append)
    before, after = logits(first, arrays_of(state), 5), logits(second, arrays_of(more), 5)
    np.testing.assert_array_equal(after, before)
    assert lines[0].endswith(
        f"; rows for 1 new tasks in: {', '.join([*HEAD, ROUTE['routing_network']])}."
    )


def test_a_task_in_turn_is_one_of_the_new(sources):
    turns = {"data__first_task": 6, "data__num_tasks": 2, "training__round_robin": True}
    run = adding(sources("gumbel_matrix"), **turns)
    state = transfer.start(run, run, say=lambda _: None)
    start, step = arrays_of(state)[HEAD[1]], stepping(run)
    for count in (1, 2):  # one in the first step, both in a round of two
        state = step(state)
        moved = (arrays_of(state)[HEAD[1]] != start).any((1, 2))
        assert moved.sum() == count and not moved[:3].any()


def refusal(source, **changed):
    run = adding(source, **changed)
    with pytest.raises(UserError) as error:
        transfer.start(run, run, say=lambda _: None)
    return str(error.value)


def test_what_would_change_old_answers_is_refused(sources):
    source, new = sources("routing_network"), {"data__first_task": 6, "data__num_tasks": 2}
    changed = {"model__dtype": "bfloat16", "router__rule": "q_learning"}
    assert refusal(source, **new, **changed) == (
        f"training.init_from = {source} keeps its answers for the old tasks, and these fields "
        "would change them: model.dtype ('float32' there, 'bfloat16' here), router.rule ('wpl' "
        "there, 'q_learning' here). Set them as they are there."
    )
    other = json.dumps([{"name": "digits", "num_tasks": 3, "first_task": 3}])
    assert refusal(source, **new, data__old_tasks=other) == (
        f"training.init_from = {source} has other tasks than those that data.old_tasks names: 3 (0 "
        "or not, 1 or not, 2 or not) of digits there, 3 (3 or not, 4 or not, 5 or not) of digits "
        "found now. Name the directory of its data with data.dir, or the run whose tasks they are "
        "with training.init_from."
    )
