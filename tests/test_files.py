"""Atomic writing and valid JSON."""

import json
import os

import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax import files


def test_text_and_json_come_back(tmp_path):
    files.write_text(tmp_path / "a.txt", "räuber\n")
    files.write_json(tmp_path / "a.json", {"b": [1, 2.5, None, True, "ü"]})
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "räuber\n"
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, 2.5, None, True, "ü"]}


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    files.write_text(str(path), "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError, match="half way"), files.atomic_path(path) as passing:
        passing.write_text("ne")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "figure.png"
    with files.atomic_path(path) as passing:
        passing.write_bytes(b"half")
        assert not path.exists()
        assert (passing.parent, passing.suffix) == (tmp_path, ".png")
    assert path.read_bytes() == b"half"


def test_a_writer_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), files.atomic_path(tmp_path / "a.txt"):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "null"),
        ([float("inf"), -float("inf"), 1.0], "[null, null, 1.0]"),
        ({"a": (np.float32("nan"), np.int64(3))}, '{"a": [null, 3]}'),
        (np.array([[1.0, np.nan]]), "[[1.0, null]]"),
        (jnp.array([1, 2], jnp.int32), "[1, 2]"),
        ({1: np.bool_(True)}, '{"1": true}'),
    ],
)
def test_json_is_valid_whatever_the_numbers(value, text):
    assert files.to_json(value) == text


def test_paths_are_written_as_text(tmp_path):
    assert json.loads(files.to_json(tmp_path)) == str(tmp_path)


def test_what_json_has_no_word_for_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        files.write_json(tmp_path / "a.json", {"a": object()})
    assert os.listdir(tmp_path) == []


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    with files.atomic_path(tmp_path / "a.json") as passing:
        passing.write_text("half")
        left = passing.name
    names = [left, ".figure.0123abcd.tmp.png", ".config.0123abcd.tmp"]
    mine = ["a.tmp", ".a.tmp", ".hidden", ".b.0123.tmp.png"]
    for name in (*names, *mine):
        (tmp_path / name).write_text("")
    files.remove_passing(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*mine, "a.json"])
    files.remove_passing(tmp_path / "nowhere")


def test_an_error_names_the_file_it_is_about(tmp_path):
    with pytest.raises(OSError) as caught, files.naming(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")
