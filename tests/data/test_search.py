"""Where prepared sets are looked for, in which version, and what is said of closed directories."""

import os
from pathlib import Path

import pytest
from privileges import open_to_all, unprivileged

from routing_jax.data import search
from routing_jax.data.preparation import SETS
from routing_jax.data.versions import VERSIONS
from routing_jax.errors import UserError


def pretend(folder, version="3.0.1", name="mnist"):
    """A directory that looks like a prepared set."""
    path = folder / name / version
    path.mkdir(parents=True)
    (path / "dataset_info.json").touch()
    return path


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The three directories of the search, none of which is there."""
    folders = [tmp_path / name for name in ("given", "variable", "default")]
    monkeypatch.setenv("ROUTING_JAX_DATA_DIR", str(folders[1]))
    monkeypatch.setenv("TFDS_DATA_DIR", str(folders[2]))
    return folders


def refused(data_dir, name="mnist"):
    with pytest.raises(UserError) as caught:
        search.find_prepared(name, str(data_dir))
    return str(caught.value)


def test_the_order_of_the_search(places):
    given, variable, default = places
    given.mkdir()
    assert search.search_path(str(given)) == places
    assert search.find_prepared("mnist", str(given)) is None
    for folder in (default, variable, given):  # each one comes before those already there
        newest = pretend(folder)
        assert search.find_prepared("mnist", str(given)) == newest
    assert search.find_prepared("mnist", "") == variable / "mnist" / "3.0.1"


def test_the_default_of_tfds_is_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert search.search_path("") == [tmp_path / "tensorflow_datasets"]
    assert search.search_path("~/mine")[0] == tmp_path / "mine"
    assert search.search_path("~no such user/mine")[0] == Path("~no such user/mine")


def test_the_versions_are_those_of_tfds():
    import tensorflow_datasets as tfds

    assert {name: original.version for name, original in SETS.items()} == VERSIONS
    for name in ("mnist", "fashion_mnist", "cifar100", "omniglot"):
        assert str(tfds.builder_cls(name).VERSION) == VERSIONS[name]


# Versions.


def test_the_version_needed_is_taken_whatever_others_there_are(tmp_path):
    for version in ("1.0.0", "3.0.0", "9.9.9", "10.0.0"):
        pretend(tmp_path, version)
    needed = pretend(tmp_path, "3.0.1")
    assert search.find_prepared("mnist", str(tmp_path)) == needed


def test_the_version_needed_is_found_behind_a_directory_with_another(places):
    given, variable, _ = places
    pretend(given, "9.9.9")
    needed = pretend(variable, "3.0.1")
    assert search.find_prepared("mnist", str(given)) == needed


def test_other_versions_are_found_in_the_order_of_the_search(places):
    given, variable, default = places
    found = [pretend(given, "9.9.9"), pretend(default, "1.0.0"), pretend(default, "3.0.0")]
    pretend(variable, "3.0.2", name="cifar100")
    (given / "mnist" / "12.0.0").mkdir()  # nothing prepared in it
    pretend(given, "incomplete.AB12CD_3.0.1")  # what TFDS leaves of a preparation cut short
    assert search.find_prepared("mnist", str(given)) is None
    assert search.other_versions("mnist", str(given)) == found


def test_what_tfds_left_half_prepared_is_no_set(tmp_path):
    pretend(tmp_path, "incomplete.AB12CD_3.0.1")
    assert search.find_prepared("mnist", str(tmp_path)) is None
    assert search.other_versions("mnist", str(tmp_path)) == []


# Directories that are not there or cannot be read.


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_named_directory_that_is_not_there_is_not_passed_over(places, elsewhere):
    given, variable, _ = places
    if elsewhere:
        pretend(variable)
    assert refused(given) == (
        f"--config.data.dir={given}: there is no such directory. Name the one that holds "
        "mnist/3.0.1, or leave data.dir out to look in $ROUTING_JAX_DATA_DIR and TFDS's default. "
        f"To prepare the set in {given}, run: python -m routing_jax.data.prepare mnist "
        f"--data_dir={given}"
    )
    given.symlink_to("nowhere")
    assert refused(given).startswith(f"--config.data.dir={given}: there is no such directory.")


def closed_message(folder, path, reason):
    return (
        f"The data directory {folder} cannot be searched for mnist: {path}: {reason}. Mend that, "
        "or name another one with --config.data.dir=DIR or ROUTING_JAX_DATA_DIR=DIR."
    )


@pytest.mark.parametrize("inside", ["", "mnist", "mnist/3.0.1"])
def test_a_file_in_the_place_of_a_directory_is_named(places, inside):
    given, variable, default = places
    pretend(default)
    for folder, data_dir in ((given, given), (variable, "")):
        path = folder / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("in the way")
        assert refused(data_dir) == closed_message(folder, path, "Not a directory")


def test_a_path_through_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "data"
    assert refused(path) == closed_message(path, path, "Not a directory")


def test_links_that_lead_in_a_circle_are_told(places):
    given = places[0]
    given.symlink_to(given)
    assert refused(given) == closed_message(given, given, "Too many levels of symbolic links")


def test_a_name_that_is_too_long_is_told():
    path = "/" + "a" * 300
    assert refused(path) == closed_message(path, path, "File name too long")


@pytest.mark.parametrize("inside", ["", "mnist", "mnist/3.0.1"])
def test_a_directory_that_may_not_be_read_is_named(monkeypatch, inside):
    with open_to_all() as folder:
        monkeypatch.setenv("TFDS_DATA_DIR", str(folder / "default"))
        pretend(folder / "default")
        given = folder / "given"
        pretend(given)
        (given / inside).chmod(0o000)
        with unprivileged():
            told = refused(given)
            monkeypatch.setenv("ROUTING_JAX_DATA_DIR", str(given))
            assert refused("") == told
        (given / inside).chmod(0o755)
        with unprivileged():
            assert search.find_prepared("mnist", str(given)) == given / "mnist" / "3.0.1"
    assert told == closed_message(given, given / inside, "Permission denied")


def test_a_directory_that_lists_nothing_but_lets_in_is_used():
    with open_to_all() as folder:
        needed = pretend(folder / "given")
        (folder / "given").chmod(0o711)
        with unprivileged():
            assert search.find_prepared("mnist", str(folder / "given")) == needed


def test_a_closed_home_directory_stops_nobody_and_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("TFDS_DATA_DIR")
    with open_to_all() as folder:
        home, given = folder / "home", folder / "given"
        given.mkdir()
        home.mkdir(mode=0o000)
        monkeypatch.setenv("HOME", str(home))
        with unprivileged():
            assert search.find_prepared("mnist", str(given)) is None
            assert search.other_versions("mnist", str(given)) == []
            told = search.searched("mnist", str(given))
    default = os.path.join(home, "tensorflow_datasets")
    assert told == f"{given}, {default} (which cannot be read: Permission denied)"
