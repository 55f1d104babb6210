"""Adaptation to a domain without labels: what it takes over, what it changes, what it refuses."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_domains
from ml_collections import ConfigDict
from tiny_runs import ROOT, read, start

from routing_jax.alignment import Moments
from routing_jax.config import validate
from routing_jax.data import loading
from routing_jax.errors import UserError
from routing_jax.experiment import load_config
from routing_jax.models.network import Routed
from routing_jax.training import loop, transfer
from routing_jax.training.adaptation import adapt
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.optimizers import make_optimizer
from routing_jax.training.run import make_run
from routing_jax.training.state import by_path
from routing_jax.training.step import train_step, variables_of
from routing_jax.types import Batch
from routing_jax.workdir import Workdir

FIELDS = small_domains.FIELDS
EXPERIMENT = "compositional_adaptation.py"
SMALL = tuple(f"--config.{name}={value}" for name, value in FIELDS.items())
LOGITS = "params.router.logits"
AVERAGES = "batch_stats.averages.averages.BatchNorm_"
STEPS = 3

pytestmark = pytest.mark.usefixtures("_small_domains")


@pytest.fixture(scope="module")
def _small_domains():
    """Has runs of digit_domains read small sets."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loading, "_read_or_advise", small_domains.read)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory, _small_domains):
    """A finished run of the sources mnist and digits; tests leave it as it is."""
    workdir = tmp_path_factory.mktemp("adaptation") / "sources"
    with jax.numpy_dtype_promotion("standard"):
        assert start(workdir, *SMALL, experiment=f"{EXPERIMENT}:row=sources") == 0
    return workdir


def planned(source, argument="", **changed):
    """A run of a row from the source; fields are named with __ for the dot."""
    path = ROOT / "experiments" / EXPERIMENT
    config = load_config(f"{path}:{argument}" if argument else str(path), path.parent)
    fields = FIELDS | {"training.init_from": str(source), "training.steps": STEPS}
    changes = {name.replace("__", "."): value for name, value in changed.items()}
    config.update_from_flattened_dict(fields | changes)
    validate(config)
    return make_run(config, loading.load(config.data, say=lambda _: None))


def started(run):
    return transfer.start(run, run, say=lambda _: None)


# Compiling is most of the time of these tests. Adam of optax promotes types inside.
@jax.numpy_dtype_promotion("standard")
def stepped(run, state, steps=STEPS):
    config, program = run.program.config, run.program
    model = program.model(run.hyper)
    optimizer = make_optimizer(config, None, run.hyper, total_steps=steps)
    train = loop.to_device(run.tasks.train)

    def one_step(state):
        return train_step(
            *(config, model, optimizer, program.objective, run.hyper),
            *(state, train),
            total_steps=steps,
        )

    step = jax.jit(one_step, compiler_options={"xla_backend_optimization_level": 0})
    for _ in range(steps):
        state = step(state)
    return state


def changed_rows(before, after):
    """By path, the places along the axis of tasks in which an array has other bits."""
    before, after = by_path(variables_of(before)), by_path(variables_of(after))
    assert before.keys() == after.keys()
    found = {}
    for name in before:
        differs = np.asarray(before[name]) != np.asarray(after[name])
        axis = 1 if name.startswith(AVERAGES) else 0
        if differs.any():
            rows = np.moveaxis(np.atleast_1d(differs), min(axis, differs.ndim - 1), 0)
            found[name] = {row for row in range(len(rows)) if rows[row].any()}
    return found


def test_the_target_starts_as_a_source_and_the_sources_as_they_were(source):
    trained = Checkpoints(Workdir(source).checkpoint_dir, dataset="").read_network()
    run = planned(source, adaptation__start_from="digits")
    assert run.tasks.task_names == ("mnist", "digits", "usps")
    for name, array in by_path(variables_of(started(run))).items():
        axis = 1 if name.startswith(AVERAGES) else 0 if name == LOGITS else None
        expected = trained[name]
        if axis is not None:
            assert expected.shape[axis] == 2
            expected = np.take(expected, [0, 1, 1], axis)
        np.testing.assert_array_equal(array, expected, err_msg=name)
    logits = by_path(variables_of(started(planned(source))))[LOGITS]
    np.testing.assert_array_equal(logits, trained[LOGITS][np.array([0, 1, 0])])


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("row=source_only", set()),
        ("row=statistics", {"statistics"}),
        ("row=mixing", {"mixing"}),
        ("row=mixing,loss=adversarial", {"mixing"}),
        ("row=both,loss=discrepancy", {"mixing", "statistics"}),
    ],
)
def test_nothing_but_what_is_named_of_the_target_changes(source, argument, parts):
    run = planned(source, argument)
    before = started(run)
    after = stepped(run, before)
    changed = changed_rows(before, after)
    assert all(rows == {2} for rows in changed.values())
    assert {name for name in changed if not name.startswith(AVERAGES)} == (
        {LOGITS} if "mixing" in parts else set()
    )
    averages = {name for name in by_path(variables_of(before)) if name.startswith(AVERAGES)}
    assert {name for name in changed if name.startswith(AVERAGES)} == (
        averages if "statistics" in parts else set()
    )
    if before.opponent is not None:
        pairs = zip(*(jax.tree.leaves(s.opponent.params) for s in (before, after)), strict=True)
        assert all((old != new).any() for old, new in pairs)
    assert (before.opponent is None) == ("loss" not in argument)


def test_sources_that_keep_training_train_everything(source):
    run = planned(source, "sources=training")
    before = started(run)
    changed = changed_rows(before, stepped(run, before))
    assert changed[LOGITS] == {0, 1, 2}
    # All but the temperature, which is 1 throughout.
    assert by_path(variables_of(before)).keys() - changed.keys() == {
        "batch_stats.router.temperature"
    }


@pytest.mark.parametrize("train_sources", [False, True])
def test_each_part_learns_from_its_own_loss(train_sources):
    config = ConfigDict({"adaptation": {"train_sources": train_sources}})
    # Features are scale * logits: 2 and 4 of the sources, 8 of the target; label losses are too.
    params = {"router": {"logits": jnp.array([[1.0], [2.0], [4.0]])}, "scale": jnp.array(2.0)}
    averages = {"averages": jnp.zeros((1, 3, 1, 1)), "router": jnp.ones(())}
    state = SimpleNamespace(params=params, batch_stats=averages, opponent=None)
    moved = {"averages": jnp.ones((1, 3, 1, 1)), "router": jnp.full((), 2.0)}

    def loss_of(params):
        features = params["scale"] * params["router"]["logits"]
        routed = Routed(None, None, None, features=(features[:, None], None))
        return features[:2].sum(), (routed, moved)

    batch = Batch(None, None, jnp.array([[1.0], [1.0], [0.0]]))
    found = adapt(config, Moments(1.0), state, loss_of, batch, jax.random.key(0))
    # With one feature f of the target, a source at s gives (f - s) + (f^2 - s^2) 2f. At 8 that is
    # 6 + 60 * 16 and 4 + 48 * 16, in the mean 5 + 54 * 16 = 869; a logit moves it by 2.
    from_labels = [[2.0], [2.0]] if train_sources else [[0.0], [0.0]]
    expected = [*from_labels, [2 * 869.0]]
    np.testing.assert_allclose(found.gradients["router"]["logits"], expected)
    # Alignment does not reach what tasks share.
    np.testing.assert_allclose(found.gradients["scale"], 3.0 if train_sources else 0.0)
    rows = [1.0, 1.0, 1.0] if train_sources else [0.0, 0.0, 1.0]
    np.testing.assert_array_equal(found.batch_stats["averages"].ravel(), rows)
    assert found.batch_stats["router"] == (2 if train_sources else 1)


def test_the_labels_of_the_target_are_not_seen(source, monkeypatch):
    run = planned(source)
    train = run.tasks.train
    assert (train.labels[2] == -1).all() and (train.labels[0, : train.sizes[0]] >= 0).all()
    assert train.sizes.tolist() == [300, 1437, 300]
    from_domains = loading.domains.digit_domains

    def without_truth(*args, **kwargs):
        """The set with other labels of the target in its training part."""
        splits = from_domains(*args, **kwargs)
        labels = splits["train"].labels
        is_target = (labels >= 20) & (labels < 30)
        wrong = np.where(is_target, 20 + (labels + 1) % 10, labels).astype(np.int32)
        return splits | {"train": dataclasses.replace(splits["train"], labels=wrong)}

    monkeypatch.setattr(loading.domains, "digit_domains", without_truth)
    jax.tree.map(np.testing.assert_array_equal, train, planned(source).tasks.train)


@pytest.mark.slow
def test_a_target_that_is_like_its_sources_finds_their_order(source, monkeypatch):
    """The distance of moments is least where nothing differs but mixing weights gone astray."""

    def like_digits(name, **_):
        return {split: one for split, one in loading.sources.embedded_digits().items()}

    monkeypatch.setattr(loading, "_read_or_advise", like_digits)
    changed = {"data__domains": "mnist,digits", "router__learning_rate": 0.05}
    run = planned(source, "row=mixing", **changed, training__examples_per_task=64)
    state = started(run)
    logits, averages = state.params["router"]["logits"], state.batch_stats["averages"]
    # Both sources answer as the second one.
    alike = logits[1][None] * jnp.ones((3, 1, 1))
    state = state._replace(
        params=state.params | {"router": {"logits": alike.at[2].add(jnp.array([[1.0, -1.0]]))}},
        batch_stats=state.batch_stats
        | {"averages": jax.tree.map(lambda leaf: leaf.at[:].set(leaf[:, 1:2]), averages)},
    )

    def astray(state):
        weights = jax.nn.softmax(state.params["router"]["logits"])
        return float(jnp.abs(weights[2] - weights[1]).max())

    after = stepped(run, state, steps=60)
    assert astray(state) > 0.2 and astray(after) < 0.3 * astray(state)


def message(source, **changed):
    with pytest.raises(UserError) as error:
        started(planned(source, **changed))
    return str(error.value).removeprefix(f"training.init_from = {source} ")


def test_a_source_of_another_network_is_refused(source):
    assert message(source, model__width=8) == (
        "has another network: params.adapter.Dense_0.kernel is float32[4,128] there and "
        "float32[8,128] in this run. Fields of the network that differ: model.width (4 there, "
        "8 here). Set them as they are there."
    )


def test_a_source_of_other_domains_is_refused(source):
    assert message(source, data__domains="mnist,mnist rotated") == (
        "has learned mnist, digits of digit_domains, and the sources of this run are mnist, mnist "
        "rotated of digit_domains: train them first, or name them alike in data.domains."
    )
    assert message(source, data__domains="mnist,usps", data__target="digits") == (
        "has learned mnist, digits of digit_domains, and the sources of this run are mnist, usps "
        "of digit_domains: train them first, or name them alike in data.domains."
    )


def test_a_source_of_digits_of_another_size_is_refused(source):
    assert message(source, data__digit_frame="ink") == (
        "has learned with data.digit_frame = stored, and this run has ink: set it as it is there, "
        "or name a run with it."
    )


@pytest.mark.parametrize(
    ("learned", "target", "why"),
    [
        ("mnist digits usps", "usps", "is among them"),
        (
            "usps digits mnist_rotated",
            "mnist",
            "has the images of mnist rotated, which is among them",
        ),
    ],
)
def test_a_source_that_has_learned_the_target_is_refused(source, monkeypatch, learned, target, why):
    tasks = tuple(name.replace("_", " ") for name in learned.split())
    read_source = transfer._read
    monkeypatch.setattr(transfer, "_read", lambda place: read_source(place)._replace(tasks=tasks))
    assert message(source, data__domains=",".join(tasks[:2]), data__target=target) == (
        f"has learned {', '.join(tasks)}, and the target of this run, {target}, {why}: name a run "
        "without it in data.domains."
    )


def test_a_source_that_is_not_there(tmp_path):
    place = tmp_path / "none"
    assert message(place) == (
        f"holds no run: there is no {place / 'config.json'}. Name the work directory of a finished "
        "run."
    )


def test_mixing_weights_keep_their_temperature(source):
    changed = {"router__temperature": 1.0, "router__temperature_end": 0.1}
    assert message(source, **changed) == (
        "ended at a temperature of 1 of its mixing weights: set router.temperature to 1 and "
        "router.temperature_end to None."
    )


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")
def test_a_whole_run(source, tmp_path):
    command = (*SMALL, f"--config.training.init_from={source}")
    assert start(tmp_path, *command, experiment=f"{EXPERIMENT}:loss=discrepancy") == 0
    found = read(tmp_path)
    assert found["tasks"] == ["mnist", "digits", "usps"]
    # The mixing weights of the target: two depths, two templates.
    assert found["trained_parameters"] == 4
    assert found["parameters"] > 1000
    weights = np.array(found["mixing_weights"])
    there = np.array(read(source)["mixing_weights"])
    np.testing.assert_allclose(weights[:, :2], there, rtol=1e-5)
    # The same sources give the same answers, whatever the target has done.
    per_task = [read(place)["test"]["accuracy"]["per_task"] for place in (tmp_path, source)]
    np.testing.assert_allclose(per_task[0][:2], per_task[1], atol=0.01)
