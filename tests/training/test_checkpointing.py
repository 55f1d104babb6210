"""Checkpoints: what is restored is what was saved, and refusals are clear."""

import gc
import os
import pickle
import re
import shutil
import sys
import time
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from routing_jax.errors import RunError, UserError
from routing_jax.reporting.provenance import git_commit, program_version
from routing_jax.training import loop
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.manifest import read_manifest, write_manifest
from routing_jax.training.pace import Elapsed
from routing_jax.training.quiet import quiet_libraries
from routing_jax.training.run import make_run


@pytest.fixture(scope="module")
def run(tiny_config, digits):
    return make_run(tiny_config(), digits)


@pytest.fixture(scope="module")
def state(run):
    return run.init(run.hyper, loop.to_device(run.tasks.train))


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", dataset="digits")


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory, state):
    """A directory with the checkpoints of steps 1 and 2."""
    directory = tmp_path_factory.mktemp("two") / "checkpoints"
    checkpoints = Checkpoints(directory, dataset="digits")
    for step in (1, 2):
        save(checkpoints, at(state, step), Elapsed(total=float(step)))
    return directory


@pytest.fixture
def two(two_saved, tmp_path):
    """A copy of it to spoil."""
    return Path(shutil.copytree(two_saved, tmp_path / "checkpoints"))


def save(checkpoints, state, elapsed=Elapsed()):  # noqa: B008 - immutable
    with checkpoints:
        checkpoints.save(state, elapsed)


def at(state, step):
    return state._replace(step=np.int32(step))


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_restored_is_what_was_saved(checkpoints, run, state):
    elapsed = Elapsed(total=1.5, train=1.25, save=0.1)
    save(checkpoints, state, elapsed)
    assert checkpoints.latest_step() == 0
    restored = checkpoints.restore(loop.abstract_state(run))
    chex.assert_trees_all_equal(restored.state, state)
    chex.assert_trees_all_equal_dtypes(restored.state, state)
    assert jax.tree.structure(restored.state) == jax.tree.structure(state)
    assert (restored.elapsed, restored.step, restored.damaged) == (elapsed, 0, ())


def test_only_the_newest_two_are_kept(checkpoints, tmp_path, state):
    for step in (1, 2, 3):
        save(checkpoints, at(state, step))
    assert checkpoints.latest_step() == 3
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"2", "3"}


def test_what_is_saved_is_the_state_of_that_moment(checkpoints, run):
    """The buffers of a state are given to the next segment while its copy is being written."""
    state = run.init(run.hyper, loop.to_device(run.tasks.train))
    expected = jax.tree.map(np.array, jax.device_get(state))
    overwrite = jax.jit(lambda s: jax.tree.map(lambda leaf: leaf * 0 + 7, s), donate_argnums=0)
    with checkpoints:
        checkpoints.save(state, Elapsed())
        jax.block_until_ready(overwrite(state))
    chex.assert_trees_all_equal(checkpoints.restore(loop.abstract_state(run)).state, expected)


def test_a_failure_is_told_by_the_next_call_and_the_end_of_the_block(checkpoints, tmp_path, state):
    (tmp_path / "checkpoints").write_text("in the way")
    message = f"The checkpoint of step 1 cannot be written to {tmp_path}/checkpoints: "
    for call in (checkpoints.check, checkpoints.finish):
        checkpoints.save(at(state, 1), Elapsed())
        with pytest.raises(RunError, match=message):
            while call() is None and call == checkpoints.check:
                time.sleep(0.01)
    with pytest.raises(RunError, match=message), checkpoints:
        checkpoints.save(at(state, 1), Elapsed())
    with pytest.raises(ZeroDivisionError), checkpoints:
        checkpoints.save(at(state, 1), Elapsed())
        raise ZeroDivisionError


def test_the_commit_is_asked_for_before_the_first_step(run):
    """Afterwards the checkout may hold other code than the one that trains."""
    git_commit.cache_clear()
    loop.compile_segments(run, None, waited=lambda seconds: None)
    assert git_commit.cache_info().currsize == 1


def test_nothing_saved_yet(checkpoints, tmp_path, run):
    assert checkpoints.latest_step() is None
    message = (
        f"There is no checkpoint in {tmp_path}/checkpoints: nothing was saved yet. "
        "Run --mode=train first, or name another --workdir."
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        checkpoints.restore(loop.abstract_state(run))
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_of_another_data_set_is_refused(tmp_path, run, state):
    directory = tmp_path / "checkpoints"
    save(Checkpoints(directory, dataset="mnist"), state)
    message = (
        f"The run in {tmp_path} was trained on mnist, but the data found now is digits. Name the "
        "directory of mnist with --config.data.dir, or choose another --workdir."
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        Checkpoints(directory, dataset="digits").restore(loop.abstract_state(run))


def test_a_checkpoint_of_another_network_is_refused_with_the_shapes(two, tiny_config, digits):
    other = make_run(tiny_config(model__width=8, optimizer__name="adam"), digits)
    with pytest.raises(UserError) as caught:
        Checkpoints(two, dataset="digits").restore(loop.abstract_state(other))
    header, *lines, advice = str(caught.value).split("\n")
    assert header == f"The checkpoint of step 2 in {two} is of another network:"
    kernel = "params.banks_0.blocks.Dense_0.kernel: float32[4,64,16] there, float32[4,64,8] now"
    assert f"  {kernel}" in lines
    moment = "optimizer.inner_states.blocks.inner_state.0.mu.banks_0.blocks.Dense_0.bias"
    assert f"  {moment}: nothing there, float32[4,8] now" in lines
    assert not any("router.policy" in line and "params" in line for line in lines)
    assert "--overwrite" in advice


def test_a_checkpoint_of_another_kind_of_state_is_not_called_damaged(
    checkpoints, tmp_path, run, state
):
    save(checkpoints, state._replace(batch_stats={"kept_by_another_version": {}}))
    folder = tmp_path / "checkpoints" / "0"
    content = read_manifest(folder)
    (folder / "manifest.json").unlink()
    write_manifest(folder, content | {"version": "0.0.7"})
    with pytest.raises(UserError) as caught:
        checkpoints.restore(loop.abstract_state(run))
    assert str(caught.value) == (
        f"The checkpoint of step 0 in {tmp_path}/checkpoints is of another version of the program, "
        "which kept other things in it.\nIt was saved by routing_jax 0.0.7, and this is "
        f"routing_jax {program_version()}. Use the program and the configuration it was trained "
        "with, choose another --workdir, or start again with --overwrite."
    )


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


class _Payload:
    """Creates the file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self):
        return (Path.touch, (self._path,))


def replace_by_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Payload(path.parent / "executed")))


@pytest.mark.parametrize("damage", [Path.unlink, cut_off, flip_a_byte, replace_by_pickle])
def test_any_damage_is_seen_and_the_checkpoint_before_is_taken(two, run, state, damage):
    checkpoints = Checkpoints(two, dataset="digits")
    for path in files_of(two / "2"):
        content = path.read_bytes()
        damage(path)
        restored = checkpoints.restore(loop.abstract_state(run))
        assert (restored.step, restored.elapsed.total) == (1, 1.0)
        assert path.name in restored.damaged[0]
        path.write_bytes(content)
    assert checkpoints.restore(loop.abstract_state(run)).step == 2
    assert not list(two.rglob("executed"))


def test_the_kinds_of_damage_are_told_apart(two, run):
    checkpoints = Checkpoints(two, dataset="digits")
    metadata = two / "2" / "state" / "_METADATA"
    size = metadata.stat().st_size
    told = {}
    for damage in (flip_a_byte, cut_off, Path.unlink):
        damage(metadata)
        told[damage] = checkpoints.restore(loop.abstract_state(run)).damaged
    start = "The checkpoint of step 2 is damaged (state/_METADATA"
    assert told == {
        flip_a_byte: (f"{start} was changed).",),
        cut_off: (f"{start} has {size - 1:,} bytes of {size:,}).",),
        Path.unlink: (f"{start} is missing).",),
    }


def test_none_is_whole(two, run):
    for step in ("1", "2"):
        cut_off(two / step / "manifest.json")
    with pytest.raises(UserError) as caught:
        Checkpoints(two, dataset="digits").restore(loop.abstract_state(run))
    assert str(caught.value) == (
        f"There is no whole checkpoint in {two}. The checkpoint of step 2 is damaged "
        "(manifest.json was cut off or changed). The checkpoint of step 1 is damaged "
        "(manifest.json was cut off or changed). Start again with --overwrite, or choose another "
        "--workdir."
    )
    assert {path.name for path in two.iterdir()} == {"1", "2"}


# What Orbax leaves behind may be collected later, when nothing of ours listens.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("_METADATA", Path.unlink),
        ("_METADATA", cut_off),
        ("manifest.ocdbt", Path.unlink),
        ("manifest.ocdbt", cut_off),
        ("ocdbt.process_0/d/*", Path.unlink),  # a missing last byte it would not notice
    ],
)
def test_what_only_orbax_notices_is_damage_too(two, run, pattern, damage, capfd):
    folder = two / "2"
    content = read_manifest(folder)
    damage(max(folder.glob(f"state/{pattern}"), key=lambda path: path.stat().st_size))
    write_manifest(folder, content)
    quiet_libraries()
    restored = Checkpoints(two, dataset="digits").restore(loop.abstract_state(run))
    gc.collect()
    assert restored.step == 1
    assert capfd.readouterr() == ("", "")


def test_what_a_killed_run_left_is_removed_before_the_next_save(two, state):
    checkpoints = Checkpoints(two, dataset="digits")
    half = two / "unfinished" / "3"
    half.mkdir(parents=True)
    (half / "x").write_text("x")
    assert checkpoints.latest_step() == 2
    save(checkpoints, at(state, 3))
    assert {path.name for path in two.iterdir()} == {"2", "3"}


def test_steps_behind_the_one_restored_make_way(two, state):
    checkpoints = Checkpoints(two, dataset="digits")
    checkpoints.remove_after(1)
    assert checkpoints.latest_step() == 1
    save(checkpoints, at(state, 2))
    assert checkpoints.latest_step() == 2


def test_loading_unpickles_nothing(two, run):
    """Python tells an audit hook of every name that a pickle looks up; there must be none."""
    seen, listening = set(), True

    def hear(event: str, _: object) -> None:
        if listening:
            seen.add(event)

    sys.addaudithook(hear)  # for good: it cannot be taken back
    Checkpoints(two, dataset="digits").restore(loop.abstract_state(run))
    heard = seen.copy()
    pickle.loads(pickle.dumps(_Payload(two / "executed")))
    listening = False
    assert "open" in heard
    assert "pickle.find_class" in seen - heard
