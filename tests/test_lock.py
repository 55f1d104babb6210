"""A lock that one process holds at a time."""

import os
import subprocess
import sys

import pytest

from routing_jax import lock
from routing_jax.errors import UserError


def test_the_holder_is_named_and_the_file_goes_with_the_lock(tmp_path):
    path = tmp_path / ".lock"
    with lock.held(path):
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(UserError, match=f"process {os.getpid()} is training"), lock.held(path):
            pass
    assert not path.exists()
    with lock.held(path):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    path = tmp_path / ".lock"
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom routing_jax import lock\n"
        f"with lock.held(Path({str(path)!r})):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert path.exists()
    with lock.held(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_whose_file_was_just_removed_is_taken_anew(tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    real_lock, calls = lock._lock, []

    def remove_after_opening(descriptor, of):
        real_lock(descriptor, of)
        calls.append(of)
        if len(calls) == 1:  # the holder before ended between the opening and the locking
            path.unlink()

    monkeypatch.setattr(lock, "_lock", remove_after_opening)
    with lock.held(path):
        assert path.exists()
    assert len(calls) == 2
