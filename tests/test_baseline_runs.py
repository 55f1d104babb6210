"""Whole runs of the baselines from the command line."""

import numpy as np
import pytest
from tiny_runs import TINY, read, start

CROSS_STITCH = "--config.model.name=cross_stitch"
ROUTES = "--config.router.routes=" + " ".join(f"0-0-{task}" for task in range(10))


def test_a_mixture_has_no_routes_to_tell(tmp_path, capsys):
    assert start(tmp_path / "run", *TINY, CROSS_STITCH) == 0
    results = read(tmp_path / "run")
    assert results["routing_map"] is None
    assert "route" not in capsys.readouterr().out.split("run/config.json")[0].replace("routes", "")
    with np.load(tmp_path / "run" / "routing.npz") as routing:
        assert routing["probabilities"].shape[2:] == (10, 3, 10)
    assert start(tmp_path / "run", "--mode=evaluate", CROSS_STITCH, *TINY) == 0


def test_given_routes_are_the_routing_map(tmp_path):
    assert start(tmp_path / "run", *TINY, "--config.router.policy=fixed", ROUTES) == 0
    results = read(tmp_path / "run")
    assert results["routing_map"] == [[[0, 0, task] for task in range(10)]]
    assert results["curve"][0][-1]["blocks_used_per_depth"] == [1, 1, 10]
    assert results["curve"][0][-1]["policy_entropy_per_depth"] == pytest.approx([0, 0, 0])
