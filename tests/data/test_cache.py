"""Decoded arrays on disk: whole or decoded again, and never a reason to stop."""

import os

import numpy as np
import pytest

from routing_jax.data import cache

ARRAYS = {"images": np.arange(6000, dtype=np.uint8).reshape(60, 100), "labels": np.arange(60)}


def silent(text):
    raise AssertionError(f"said: {text}")


def test_arrays_come_back_memory_mapped(tmp_path):
    saved = cache.save(str(tmp_path), "key", ARRAYS, silent)
    for arrays in (saved, cache.load(str(tmp_path), "key")):
        assert arrays.keys() == ARRAYS.keys()
        for name, array in arrays.items():
            assert isinstance(array, np.memmap)
            assert not array.flags.writeable
            assert array.dtype == ARRAYS[name].dtype
            np.testing.assert_array_equal(array, ARRAYS[name])
    assert os.listdir(tmp_path) == ["key"]  # nothing half-written is left beside it


def test_there_is_nothing_under_another_key(tmp_path):
    cache.save(str(tmp_path), "key", ARRAYS, silent)
    assert cache.load(str(tmp_path), "other") is None
    assert cache.load(str(tmp_path / "nowhere"), "key") is None


@pytest.mark.parametrize("length", [0, 5, 60, 1000])
def test_a_cut_off_entry_is_not_read_and_is_replaced(tmp_path, length):
    cache.save(str(tmp_path), "key", ARRAYS, silent)
    os.truncate(tmp_path / "key" / "images.npy", length)
    assert cache.load(str(tmp_path), "key") is None
    cache.save(str(tmp_path), "key", ARRAYS, silent)
    np.testing.assert_array_equal(cache.load(str(tmp_path), "key")["images"], ARRAYS["images"])


def test_an_entry_of_something_else_is_not_read(tmp_path):
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "images.npy").write_text("not an array")
    assert cache.load(str(tmp_path), "key") is None
    (tmp_path / "empty").mkdir()
    assert cache.load(str(tmp_path), "empty") is None


def test_an_unwritable_cache_is_told_and_the_arrays_are_used_as_they_are(tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = []
    arrays = cache.save(str(tmp_path / "file"), "key", ARRAYS, said.append)
    assert arrays is ARRAYS
    assert len(said) == 1
    assert said[0].startswith("decoded images are not cached: ")
    assert str(tmp_path / "file") in said[0]


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    def full(path, array):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    said = []
    assert cache.save(str(tmp_path), "key", ARRAYS, said.append) is ARRAYS
    assert said == ["decoded images are not cached: [Errno 28] No space left on device"]
    assert os.listdir(tmp_path) == []


def test_the_default_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.user_cache_dir() == tmp_path / "routing_jax"
    cache.save("", "key", ARRAYS, silent)
    assert (tmp_path / "routing_jax" / "data" / "key").is_dir()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.user_cache_dir() == tmp_path / ".cache" / "routing_jax"


def test_the_fingerprint_changes_with_the_files(tmp_path):
    folder = tmp_path / "3.0.1"
    folder.mkdir()
    (folder / "a").write_text("one")
    first = cache.fingerprint("mnist", folder)
    assert first.startswith("mnist-3.0.1-")
    assert cache.fingerprint("mnist", folder) == first
    (folder / "a").write_text("three")
    longer = cache.fingerprint("mnist", folder)
    (folder / "b").write_text("")
    another = cache.fingerprint("mnist", folder)
    os.utime(folder / "b", (0, 0))
    touched = cache.fingerprint("mnist", folder)
    assert len({first, longer, another, touched}) == 4
