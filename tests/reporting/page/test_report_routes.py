"""The routing that a page holds: packed without loss that shows, thinned where it is too much."""

import base64
import gzip
from pathlib import Path

import numpy as np
import pytest

from routing_jax.reporting.page.lines import Line
from routing_jax.reporting.page.routes import kind_of, pack_routes, similarity
from routing_jax.reporting.page.trained import Source, checked
from routing_jax.reporting.routing_file import read_routing, write_routing


def unpack(array: dict) -> np.ndarray:
    content = gzip.decompress(base64.b64decode(array["gzip"]))
    levels = np.frombuffer(content, np.uint8).reshape(array["shape"])
    return array["low"] + (array["high"] - array["low"]) * levels / 255


@pytest.fixture
def make_line(make_results, tmp_path):
    def make(label: str = "a", scale: float = 1.0, **about) -> Line:
        results, routing = make_results(**about)
        path = tmp_path / f"{label}.npz"
        write_routing(path, scale * routing.probabilities, routing.steps, routing.tasks)
        results = checked(results, Path("results.json"))
        sources = tuple(Source(path, row) for row in range(len(results["seeds"])))
        return Line(label, results, sources, (results,))

    return make


def test_probabilities_come_back_to_half_a_level(make_line):
    line = make_line(seeds=2, seed=7)
    ((entry,), problems) = pack_routes([line])
    assert problems == []
    true = read_routing(line.sources[0].path)
    assert [one["seed"] for one in entry["seeds"]] == [7, 8]
    for row, one in enumerate(entry["seeds"]):
        assert one["steps"] == [0, 50, 100]
        found = unpack(one["probabilities"])
        np.testing.assert_allclose(found, true.probabilities[row], atol=0.5001 / 255)


def test_weights_beyond_0_and_1_keep_their_range(make_line):
    line = make_line(scale=-3.0, kind="weights")
    ((entry,), _) = pack_routes([line])
    true = read_routing(line.sources[0].path).probabilities[0]
    assert true.min() < -1
    packed = entry["seeds"][0]["probabilities"]
    assert (packed["low"], packed["high"]) == (pytest.approx(true.min()), 1.0)
    np.testing.assert_allclose(unpack(packed), true, atol=0.51 * (1 - true.min()) / 255)


@pytest.mark.parametrize(("most_bytes", "steps"), [(10**6, [0, 50, 100]), (1, [100])])
def test_snapshots_are_thinned_to_what_fits_and_the_last_stays(make_line, most_bytes, steps):
    ((entry,), problems) = pack_routes([make_line()], most_bytes=most_bytes)
    assert entry["seeds"][0]["steps"] == steps
    expected = (
        [] if len(steps) > 1 else [("routing maps", "at most 1 snapshots each fit on this page")]
    )
    assert problems == expected


def test_the_kind_follows_from_the_results(make_line):
    kinds = ("routes", "switches", "weights")
    lines = [make_line(kind, kind=kind) for kind in kinds]
    assert tuple(kind_of(line.results) for line in lines) == kinds
    entries, _ = pack_routes(lines)
    titles = [entry["kind"]["title"] for entry in entries]
    assert titles == ["Routing map", "Allocation matrix", "Mixing weights"]


def test_the_last_action_is_pass_only_where_agents_may_pass(make_line):
    lines = [make_line("a", pass_action=True), make_line("b", rho=0.5)]
    assert [entry["pass"] for entry in pack_routes(lines)[0]] == [True, False]


def test_similarity_of_tasks_by_hand():
    # Tasks 0 and 1 have one of two depths in common, 0 and 2 none.
    routes = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.6, 0.4], [0.7, 0.3]], [[0, 1], [1, 0]]])
    found = similarity(routes, "routes")
    np.testing.assert_allclose(found, [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]])
    # On for tasks: both blocks, the first, none: cosines 1 / sqrt 2 and 0.
    switches = np.array([[[0.9, 0.5]], [[0.6, 0.4]], [[0.1, 0.2]]])
    root = 0.5**0.5
    expected = [[1, root, 0], [root, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(similarity(switches, "switches"), expected)
    # Weights (3, 4) and (4, 3): 24 of 25.
    weights = np.array([[[0.3, 0.4]], [[0.4, 0.3]]])
    np.testing.assert_allclose(similarity(weights, "weights"), [[1, 0.96], [0.96, 1]])


def test_a_cell_of_a_sweep_gets_its_own_routing(make_sweep, make_report, make_results):
    page, _ = make_report(make_sweep("grid"))
    _, routing = make_results()
    # The fixture shifts the blocks of cell i by i; the file has the cells in reverse.
    shifts = iter(range(4))
    for entry in page.data["routes"]:
        for seed in entry["seeds"]:
            expected = np.roll(routing.probabilities[0], next(shifts), axis=-1)
            np.testing.assert_allclose(unpack(seed["probabilities"]), expected, atol=0.5001 / 255)
