"""Steps and evaluation on tasks of unequal size, class count and labels."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.data.loading import TaskSet
from routing_jax.errors import UserError
from routing_jax.training import loop
from routing_jax.training.run import make_run
from routing_jax.types import MultiTaskData


def uneven_tasks(*, shared: bool) -> TaskSet:
    """Three tasks of 2, 4 and 3 classes over 40 images; task 2 has no label at all."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 4, 4, 1)).astype(np.uint8)
    classes = np.int32([2, 4, 3])
    sizes = np.int32([40, 40, 40] if shared else [40, 25, 7])
    labels = rng.integers(0, classes[:, None], (3, 40)).astype(np.int32)
    labels[rng.random((3, 40)) < 0.5] = -1
    labels[2] = -1
    index = np.broadcast_to(np.arange(40, dtype=np.int32), (3, 40))
    train = MultiTaskData(images, index, labels, sizes, classes)
    test = train._replace(labels=rng.integers(0, classes[:, None], (3, 40)).astype(np.int32))
    return TaskSet("made_up", False, "test", ("a", "b", "c"), 4, train, test)


class Machine:
    """A compiled run on such tasks, which may learn from other labels."""

    def __init__(self, config, *, shared):
        self.tasks = uneven_tasks(shared=shared)
        self.run = make_run(config, self.tasks)
        self.train, self.test = loop.to_device(self.tasks.train), loop.to_device(self.tasks.test)
        self.segment = jax.jit(self.run.program.segment)

    def start(self):
        return self.run.init(self.run.hyper, self.train)

    def advance(self, state, steps, train=None):
        data = (train or self.train, self.test)
        return self.segment(state, self.run.hyper, *data, jnp.int32(steps), jnp.asarray(True))


@pytest.fixture(scope="module")
def machines(tiny_config):
    """With images that the tasks share, and without."""
    return [
        Machine(
            tiny_config(data__share_images=shared, reward__final="negative_loss"), shared=shared
        )
        for shared in (False, True)
    ]


@pytest.mark.parametrize("shared", [True, False])
def test_a_task_without_a_label_learns_nothing_and_harms_nobody(machines, shared):
    before = machines[shared].start()
    after, report = machines[shared].advance(before, 6)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(after))
    assert int(report.bad_step) == 0
    policies = [np.asarray(state.params["router"]["policy"]["table"]) for state in (before, after)]
    moved = (policies[0] != policies[1]).any((1, 2))
    np.testing.assert_array_equal(moved, [True, True, False])
    # The loss is told per task that had a label: near log 2 and log 4 nats, not two thirds of it.
    assert 0.8 < float(report.train_loss) < 2
    for values in report.evaluation.metrics.values():
        assert bool(jnp.isfinite(values).all())


@pytest.mark.slow
@pytest.mark.parametrize(
    "router",
    [
        {"router__rule": "relax"},
        {"router__rule": "gumbel_softmax"},
        {"router__rule": "reinforce_learned", "router__policy": "approximator"},
        {"router__agent": "dispatched"},
    ],
    ids=lambda router: "-".join(router.values()),
)
def test_other_routers_learn_nothing_from_it_either(tiny_config, router):
    machine = Machine(tiny_config(**router), shared=False)
    before = machine.start()
    after, report = machine.advance(before, 4)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(after))
    assert int(report.bad_step) == 0
    if "router__agent" in router:  # any agent may be picked for any task
        return
    for name in ("policy", "critic"):
        if name not in before.params["router"]:
            continue
        moved = jax.tree.map(
            lambda a, b: np.asarray(a != b).reshape(3, -1).any(1),
            before.params["router"][name],
            after.params["router"][name],
        )
        of_agents = np.stack(jax.tree.leaves(moved)).any(0)
        np.testing.assert_array_equal(of_agents, [True, True, False])


def test_what_stands_in_for_a_missing_label_changes_nothing(machines):
    machine = machines[True]
    labels = machine.train.labels
    after, _ = machine.advance(machine.start(), 4)
    other = machine.train._replace(labels=jnp.where(labels < 0, -7, labels))
    again, _ = machine.advance(machine.start(), 4, other)
    chex.assert_trees_all_equal(after, again)


def test_tasks_over_different_images_cannot_share_them(tiny_config):
    tasks = uneven_tasks(shared=False)
    rows = tasks.train.index[:, ::-1].copy()
    rows[0] = tasks.train.index[0]
    tasks = dataclasses.replace(tasks, train=tasks.train._replace(index=rows))
    with pytest.raises(UserError) as caught:
        make_run(tiny_config(data__share_images=True), tasks)
    assert str(caught.value) == (
        "data.share_images = True needs tasks over the same images, and the training examples of "
        "these tasks are different ones: set data.share_images to false."
    )


def test_classes_that_a_task_does_not_have_are_never_its_answer(machines):
    machine = machines[True]
    state, labels = machine.start(), machine.tasks.test.labels
    # Every block votes for class 3, then for 1: task 1 has four classes, the others have fewer.
    last = state.params["banks_1"]["blocks"]["Dense_0"]
    last |= {
        "kernel": jnp.zeros_like(last["kernel"]),
        "bias": jnp.tile(jnp.array([1.0, 2.0, 0.0, 3.0]), (4, 1)),
    }
    metrics = machine.advance(state, 0)[1].evaluation.metrics
    expected = [np.mean(labels[task] == answer) for task, answer in enumerate([1, 3, 1])]
    np.testing.assert_allclose(metrics["accuracy"], expected, rtol=1e-6)
    recalls = [1 / len(set(row)) for row in labels.tolist()]
    np.testing.assert_allclose(metrics["balanced_accuracy"], recalls, rtol=1e-6)
