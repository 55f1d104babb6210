"""Runs that are killed at random moments end as if nothing had happened."""

import pytest

from benchmarks.kill_and_resume import kill_and_resume


@pytest.mark.slow
@pytest.mark.alone
def test_killed_runs_end_like_one_that_was_not(tmp_path):
    report = kill_and_resume(5, seed=1, scratch=tmp_path)
    assert report["kills"] == report["exact"] == 5
    assert report["differing"] == []
