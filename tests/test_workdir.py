"""Who may write a work directory, and what is said to those who may not."""

import json
import os

import pytest

from routing_jax import config as config_lib
from routing_jax import workdir as workdir_lib
from routing_jax.errors import UserError
from routing_jax.workdir import Workdir

WAY_OUT = (
    "Nothing was changed. Choose another --workdir, or train anew in this one with --overwrite."
)
NAMES = {
    "config_path": "config.json",
    "metrics_path": "metrics.jsonl",
    "tensorboard_dir": "tensorboard",
    "checkpoint_dir": "checkpoints",
    "results_path": "results.json",
    "routing_path": "routing.npz",
    "figures_dir": "figures",
    "plan_path": "plan.json",
    "programs_dir": "programs",
    "jobs_dir": "jobs",
    "sweep_path": "sweep.json",
}


@pytest.fixture
def config():
    return config_lib.base_config()


@pytest.fixture
def workdir(tmp_path):
    return Workdir(tmp_path / "runs" / "a")


def fill(workdir):
    """Writes what a run writes, and a file of the user's own beside it."""
    workdir.metrics_path.write_text("{}\n")
    workdir.results_path.write_text("{}")
    workdir.routing_path.write_bytes(b"")
    for directory in (workdir.tensorboard_dir, workdir.checkpoint_dir, workdir.figures_dir):
        directory.mkdir()
        (directory / "x").write_text("x")
    (workdir.path / "notes.txt").write_text("mine")


def contents(workdir):
    """Every file below the directory with what it holds."""
    paths = sorted(path for path in workdir.path.rglob("*") if path.is_file())
    return {str(path.relative_to(workdir.path)): path.read_bytes() for path in paths}


def message_of(call, *args, **kwargs):
    with pytest.raises(UserError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_the_names_of_a_run(workdir):
    assert {name: getattr(workdir, name).name for name in NAMES} == NAMES
    assert {getattr(workdir, name).parent for name in NAMES} == {workdir.path}


def test_a_new_directory_gets_the_configuration(workdir, config):
    config.training.steps = None
    config.training.epochs = 3
    workdir.claim(config)
    assert os.listdir(workdir.path) == ["config.json"]
    assert json.loads(workdir.config_path.read_text()) == config.to_dict()
    assert config_lib.flatten(workdir.read_config()) == config_lib.flatten(config)


def test_a_directory_with_files_of_the_user_can_be_used(workdir, config):
    workdir.path.mkdir(parents=True)
    (workdir.path / "notes.txt").write_text("mine")
    workdir.claim(config)
    assert sorted(os.listdir(workdir.path)) == ["config.json", "notes.txt"]


def test_the_same_configuration_finds_its_run_untouched(workdir, config):
    workdir.claim(config)
    fill(workdir)
    before = contents(workdir)
    workdir.claim(config)
    workdir.verify(config)
    assert contents(workdir) == before


@pytest.mark.parametrize("name", workdir_lib.FIELDS_WITHOUT_EFFECT)
def test_a_field_without_effect_may_differ(workdir, config, name):
    workdir.claim(config)
    group, leaf = name.split(".")
    config[group][leaf] = 7 if leaf == "checkpoint_every" else "elsewhere"
    workdir.claim(config)
    workdir.verify(config)


def test_another_configuration_is_refused_with_its_differences(workdir, config):
    workdir.claim(config)
    fill(workdir)
    before = contents(workdir)
    config.reward.rho = 0.3
    config.training.seed = 1
    config.model.num_blocks = 4
    difference = (
        f"--workdir={workdir.path} holds a run of another configuration:\n"
        "  model.num_blocks: None there, 4 now\n"
        "  reward.rho: 0.0 there, 0.3 now\n"
        "  training.seed: 0 there, 1 now\n"
    )
    assert message_of(workdir.claim, config) == difference + WAY_OUT
    assert message_of(workdir.verify, config) == (
        difference + "Without --config the run's own configuration is used."
    )
    assert contents(workdir) == before


@pytest.mark.parametrize("seed", [0, 1])
def test_overwrite_removes_the_run_and_nothing_else(workdir, config, seed):
    workdir.claim(config)
    fill(workdir)
    config.training.seed = seed
    workdir.claim(config, overwrite=True)
    assert sorted(os.listdir(workdir.path)) == ["config.json", "notes.txt"]
    assert workdir.read_config().training.seed == seed


def test_overwrite_follows_no_link_out_of_the_directory(workdir, config, tmp_path):
    workdir.claim(config)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x").write_text("x")
    workdir.checkpoint_dir.symlink_to(elsewhere, target_is_directory=True)
    workdir.claim(config, overwrite=True)
    assert os.listdir(workdir.path) == ["config.json"]
    assert os.listdir(elsewhere) == ["x"]


def test_files_of_a_run_without_configuration_are_not_overwritten(workdir, config):
    workdir.claim(config)
    fill(workdir)
    workdir.config_path.unlink()
    before = contents(workdir)
    assert message_of(workdir.claim, config) == (
        f"--workdir={workdir.path} holds metrics.jsonl, tensorboard, checkpoints, results.json, "
        "routing.npz, figures but no config.json, so it is not known which run they are of.\n"
        f"{WAY_OUT}"
    )
    assert contents(workdir) == before


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[1]", "it holds no JSON object"),
        (
            '{"reward": {"roh": 1}}',
            "The configuration is wrong in 1 place:\n"
            "  reward.roh: there is no such field; did you mean reward.rho?",
        ),
    ],
)
def test_an_unreadable_configuration_is_told(workdir, config, text, reason):
    workdir.claim(config)
    workdir.config_path.write_text(text)
    expected = f"{workdir.config_path} cannot be read: {reason}\n{WAY_OUT}"
    assert message_of(workdir.claim, config) == expected
    assert message_of(workdir.read_config) == expected
    assert workdir.config_path.read_text() == text
    workdir.claim(config, overwrite=True)
    workdir.verify(config)


def test_a_directory_without_a_run_cannot_be_verified(workdir, config):
    expected = f"--workdir={workdir.path} holds no run: there is no {workdir.config_path}."
    assert message_of(workdir.verify, config) == expected
    assert not workdir.path.exists()


def test_a_file_is_no_directory(tmp_path, config):
    path = tmp_path / "file"
    path.write_text("mine")
    assert message_of(Workdir(path).claim, config) == (
        f"--workdir={path} is a file; name a directory."
    )
    assert message_of(Workdir(path / "a").claim, config) == (
        f"--workdir={path}/a cannot be used: Not a directory."
    )
    assert path.read_text() == "mine"


def test_a_directory_that_cannot_be_written_is_told(workdir, config, monkeypatch):
    workdir.claim(config)
    # Permissions do not hold root back, so the answer of the system is played.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert message_of(workdir.claim, config) == (
        f"--workdir={workdir.path} cannot be used: Permission denied."
    )
