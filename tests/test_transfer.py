"""Runs that start from a trained one: what they take, what is drawn anew, and what is refused."""

import re
import shutil
import signal

import jax
import numpy as np
import pytest
from tiny_runs import read, start, stop_after

from routing_jax.data import loading
from routing_jax.errors import UserError
from routing_jax.export.trained import read as read_trained
from routing_jax.sweep.cells_run import together
from routing_jax.training import transfer
from routing_jax.training.checkpointing import Checkpoints, judged_names
from routing_jax.training.run import make_run
from routing_jax.training.state import by_path
from routing_jax.training.step import variables_of
from routing_jax.workdir import Workdir

EXPERIMENT = "compositional_mtl.py"
SMALL = (
    "--config.data.name=digits",
    "--config.data.tasks=one_vs_rest",
    "--config.data.num_tasks=3",
    "--config.data.augment=none",
    "--config.model.resolution=2",
    "--config.model.width=4",
    "--config.model.depth=2",
    "--config.training.steps=4",
    "--config.training.eval_every=4",
    "--config.training.checkpoint_every=2",
    "--config.training.examples_per_task=4",
)
OWN = {
    "params.head.blocks.Dense_0.bias",
    "params.head.blocks.Dense_0.kernel",
    "params.router.logits",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A finished run of three tasks; tests leave it as it is."""
    workdir = tmp_path_factory.mktemp("transfer") / "source"
    with jax.numpy_dtype_promotion("standard"):
        assert start(workdir, *SMALL, experiment=EXPERIMENT) == 0
    return workdir


@pytest.fixture(scope="module")
def trained(source):
    return Checkpoints(Workdir(source).checkpoint_dir, dataset="").read_network()


def planned(source, **changed):
    """The source's configuration, started from it; fields are named with __ for the dot."""
    config = Workdir(source).read_config()
    config.training.init_from = str(source)
    for name, value in changed.items():
        group, leaf = name.split("__")
        config[group][leaf] = value
    return make_run(config, loading.load(config.data, say=lambda _: None))


def started(run):
    lines = []
    return transfer.start(run, run, say=lines.append), lines


def test_the_same_tasks_take_everything(source, trained):
    state, lines = started(planned(source, training__seed=7))
    found = by_path(variables_of(state))
    assert found.keys() == trained.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, trained[name], err_msg=name)
    assert "drawn anew" not in lines[0]
    # The run has begun nothing itself, and its first snapshot is of the weights it starts with.
    assert int(state.step) == 0
    weights = jax.nn.softmax(trained["params.router.logits"])
    np.testing.assert_allclose(state.snapshots.probabilities[0], weights, rtol=1e-6)


def test_a_network_is_read_for_the_tasks_of_its_run(source, trained, tmp_path):
    tasks = loading.load(Workdir(source).read_config().data, say=lambda _: None)
    found = read_trained(source, tasks)
    assert found.step == 4
    for name, array in by_path(found.variables).items():
        np.testing.assert_array_equal(array, trained[name], err_msg=name)
    told = f"workdir = {tmp_path / 'none'} holds no run"
    with pytest.raises(UserError, match=re.escape(told)):
        read_trained(tmp_path / "none", tasks)


@pytest.mark.parametrize("seed", [0, 7])  # the source's, and another
def test_other_tasks_draw_their_own_arrays_anew(source, trained, seed):
    assert Workdir(source).read_config().training.seed == 0
    run = planned(source, data__num_tasks=5, training__seed=seed)
    state, lines = started(run)
    for name, array in by_path(variables_of(state)).items():
        if name in OWN:
            assert array.shape[0] == 5
            # Four steps leave the source near what it drew.
            apart = np.linalg.norm(np.asarray(array[:3]) - trained[name])
            assert apart > 0.5 * np.linalg.norm(trained[name]), name
        else:
            np.testing.assert_array_equal(array, trained[name], err_msg=name)
    assert lines[0].endswith("drawn anew for these tasks: " + ", ".join(sorted(OWN)) + ".")
    told = "NOTICE: that run has learned 3 of these 5 tasks, so they are not new to its blocks: "
    assert lines[1:] == [told + ", ".join(run.tasks.task_names[:3]) + "."]


def test_other_tasks_may_start_from_the_mean_of_the_mixing_weights(source, trained):
    run = planned(source, data__num_tasks=5, router__mixing_start="source")
    state, lines = started(run)
    logits = by_path(variables_of(state))["params.router.logits"]
    mean = trained["params.router.logits"].mean(0)
    np.testing.assert_allclose(logits, np.stack(5 * [mean]), rtol=1e-6)
    anew = sorted(OWN - {"params.router.logits"})
    assert lines[1] == "New tasks start from the mean of its mixing weights."
    assert lines[0].endswith("drawn anew for these tasks: " + ", ".join(anew) + ".")


def test_the_cells_of_a_sweep_start_from_one_run(source, trained):
    runs = [planned(source, training__seed=seed) for seed in (1, 2)]
    state = transfer.start(together(runs, about=""), runs[0], say=lambda _: None)
    assert state.step.shape == ()
    for name, array in by_path(variables_of(state)).items():
        expected = np.broadcast_to(trained[name], array.shape)
        assert array.shape == (2, *trained[name].shape)
        np.testing.assert_array_equal(array, expected, err_msg=name)


def test_what_the_source_is_judged_by_is_taken():
    names = ["step", "params.head", "batch_stats.a", "optimizer.x.params.head"]
    assert judged_names(names) == {"params.head": "params.head", "batch_stats.a": "batch_stats.a"}
    best = ["best.params.head", "best.batch_stats.a", "best.score"]
    assert judged_names(names + best) == {
        "params.head": "best.params.head",
        "batch_stats.a": "best.batch_stats.a",
    }


def test_averages_of_tasks_are_their_own(source):
    run = planned(source, model__statistics="per_depth_and_task")
    own = set(transfer.owned_by_tasks(run))
    assert own - OWN and all(name.startswith("batch_stats.averages") for name in own - OWN)


def test_weights_that_all_tasks_share_belong_to_none(source):
    run = planned(source, router__agent="single")
    assert "params.router.logits" not in transfer.owned_by_tasks(run)


def test_mixing_weights_without_new_averages_keep_the_temperature_of_the_source(source):
    colder = {"router__temperature": 1.0, "router__temperature_end": 0.1}
    started(planned(source, **colder))  # all trains
    with pytest.raises(UserError) as error:
        started(planned(source, training__trainable="head,mixing", **colder))
    assert str(error.value) == (
        f"training.init_from = {source} ended at a temperature of 1 of its mixing weights: set "
        "router.temperature to 1 and router.temperature_end to None."
    )


def test_a_network_that_is_all_the_tasks_own_has_nothing_for_others(finished):
    # One block for each task at each depth.
    with pytest.raises(UserError, match="has nothing for this run: its tasks are other ones"):
        started(planned(finished, data__num_tasks=4))


def test_another_width_is_refused_with_the_first_array(source):
    with pytest.raises(UserError) as error:
        started(planned(source, model__width=8, data__num_tasks=5))
    assert str(error.value) == (
        f"training.init_from = {source} has another network: params.adapter.Dense_0.kernel is "
        "float32[4,128] there and float32[8,128] in this run. Fields of the network that differ: "
        "model.width (4 there, 8 here). Set them as they are there."
    )


def test_a_missing_array_is_refused(source):
    fixed = {"router__policy": "fixed", "router__routes": "0-1 0-1 0-1", "model__num_blocks": None}
    told = "params.router.logits is float32[3,2,2] there and missing in this run."
    with pytest.raises(UserError, match=re.escape(told)):
        started(planned(source, **fixed))


def test_sources_that_cannot_be_taken(source, tmp_path):
    run = planned(source)

    def message(place):
        run.program.config.training.init_from = str(place)
        with pytest.raises(UserError) as error:
            started(run)
        return str(error.value).removeprefix(f"training.init_from = {place} ")

    assert message(tmp_path / "none") == (
        f"holds no run: there is no {tmp_path / 'none' / 'config.json'}. Name the work directory "
        "of a finished run."
    )
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    (copy / "results.json").unlink()
    end = "train it to its end first, by the same command that began it."
    assert message(copy) == f"holds a run that is not finished: {end}"
    shutil.rmtree(copy / "checkpoints")
    assert message(copy) == f"holds a run that has saved nothing yet: {end}"
    (copy / "programs").mkdir()
    assert message(copy) == "holds a sweep: name the work directory of a single run."


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")
def test_a_run_that_started_from_another_is_resumed_without_it(
    source, tmp_path, monkeypatch, capsys
):
    copy, workdir = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(source, copy)
    command = (*SMALL, f"--config.training.init_from={copy}")
    whole = tmp_path / "whole"
    assert start(whole, *command, experiment=EXPERIMENT) == 0
    assert f"Starting from {copy}: " in capsys.readouterr().out.replace("\n", "")
    with monkeypatch.context() as patched:
        stop_after(patched, 2, signal.SIGTERM)
        assert start(workdir, *command, experiment=EXPERIMENT) == 0
    shutil.rmtree(copy)
    assert start(workdir, *command, experiment=EXPERIMENT) == 0
    assert read(workdir)["test"] == read(whole)["test"]
    # From another source it is another run.
    assert start(workdir, *SMALL, experiment=EXPERIMENT) == 2
    assert f"training.init_from: {str(copy)!r} there, '' now" in capsys.readouterr().err
