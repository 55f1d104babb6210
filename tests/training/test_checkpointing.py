"""Checkpoints: what is restored is what was saved, and refusals are clear."""

import re

import chex
import jax
import numpy as np
import pytest

from routing_jax.errors import UserError
from routing_jax.training import loop
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.pace import Elapsed
from routing_jax.training.run import make_run


@pytest.fixture
def run(tiny_config, digits):
    return make_run(tiny_config(), digits)


@pytest.fixture
def state(run):
    return jax.jit(run.program.init)(run.hyper, loop.to_device(run.tasks.train))


def test_what_is_restored_is_what_was_saved(tmp_path, run, state):
    elapsed = Elapsed(total=1.5, train=1.25)
    with Checkpoints(tmp_path, dataset="digits") as checkpoints:
        checkpoints.save(state, elapsed)
    with Checkpoints(tmp_path, dataset="digits") as checkpoints:
        assert checkpoints.latest_step() == 0
        restored, restored_elapsed = checkpoints.restore(loop.abstract_state(run))
    chex.assert_trees_all_equal(restored, state)
    chex.assert_trees_all_equal_dtypes(restored, state)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert restored_elapsed == elapsed


def test_only_the_newest_two_are_kept(tmp_path, state):
    with Checkpoints(tmp_path, dataset="digits") as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(state._replace(step=np.int32(step)), Elapsed())
        assert checkpoints.latest_step() == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


def test_nothing_saved_yet(tmp_path, run):
    with Checkpoints(tmp_path, dataset="digits") as checkpoints:
        assert checkpoints.latest_step() is None
        message = (
            f"There is no checkpoint in {tmp_path}: nothing was saved yet. "
            "Run --mode=train first, or name another --workdir."
        )
        with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
            checkpoints.restore(loop.abstract_state(run))


def test_a_checkpoint_of_another_data_set_is_refused(tmp_path, run, state):
    directory = tmp_path / "checkpoints"
    with Checkpoints(directory, dataset="mnist") as checkpoints:
        checkpoints.save(state, Elapsed())
    message = (
        f"The run in {tmp_path} was trained on mnist, but the data found now is digits. Name the "
        "directory of mnist with --config.data.dir, or choose another --workdir."
    )
    with (
        Checkpoints(directory, dataset="digits") as checkpoints,
        pytest.raises(UserError, match=f"^{re.escape(message)}$"),
    ):
        checkpoints.restore(loop.abstract_state(run))


def test_a_damaged_checkpoint_is_named(tmp_path, run, state):
    with Checkpoints(tmp_path, dataset="digits") as checkpoints:
        checkpoints.save(state, Elapsed())
        (tmp_path / "0" / "state" / "_METADATA").write_text("{")
        with pytest.raises(UserError, match=r"The checkpoint of step 0 in .* cannot be restored"):
            checkpoints.restore(loop.abstract_state(run))
