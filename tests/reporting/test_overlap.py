"""Routing overlap by hand, and against maps whose answer is known."""

import json

import numpy as np
import pytest

from routing_jax.data.cifar_groups import (
    GROUP_OF_SUPERCLASS,
    GROUPS,
    SUPERCLASSES,
    clustered_routes,
)
from routing_jax.reporting import maps
from routing_jax.reporting.overlap import (
    Compared,
    blocks_used,
    overlap_of_seeds,
    routing_overlap,
    shared_depths,
    sharing_within_groups,
)

ONE = np.array([[0, 0], [0, 1], [1, 2], [1, 3]])
OTHER = np.array([[5, -1], [5, -1], [2, -1], [5, 0]])


def test_the_overlap_by_hand():
    # Depth 1: 5 stands for 0 (two tasks) and 2 for 1 (one task): 3 of 4. Depth 2: of the three
    # tasks that pass in the other map one can agree, and the fourth's block is free: 2 of 4.
    np.testing.assert_allclose(routing_overlap(ONE, OTHER), [0.75, 0.5])
    np.testing.assert_allclose(routing_overlap(OTHER, ONE), [0.75, 0.5])


def test_the_overlap_is_the_best_of_all_renamings():
    from itertools import permutations

    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.integers(0, 4, (2, 7, 1))
        best = max(
            (np.array(names)[other[:, 0]] == one[:, 0]).mean() for names in permutations(range(4))
        )
        assert routing_overlap(one, other)[0] == pytest.approx(best)


def test_renamed_blocks_are_the_same_map_and_shuffled_tasks_are_not():
    rng = np.random.default_rng(1)
    first = rng.integers(0, 5, (20, 2))
    renamed = np.stack([first, rng.permutation(5)[first], rng.permutation(5)[first]])
    for depth in overlap_of_seeds(renamed, draws=200):
        assert depth.value == 1 and depth.p_value < 0.01
    shuffled = rng.permuted(np.stack([first] * 3), axis=1)
    for depth in overlap_of_seeds(shuffled, draws=200):
        assert depth.p_value > 0.01
        assert abs(depth.value - np.median(depth.chance)) < 0.2


def test_sharing_within_groups_by_hand():
    found = sharing_within_groups(ONE[None], ["a", "a", "b", "b"], draws=50)
    # Within: tasks 1 and 2 share depth 1 of two, so do 3 and 4: 0.5 on average. Across: nothing.
    assert found.value == pytest.approx(0.5)
    np.testing.assert_allclose(shared_depths(ONE)[0], [1, 0.5, 0, 0])


def test_a_p_value_counts_the_found_map_as_one_of_the_random_ones():
    # 1 of 4 random maps reaches 0.5: (1 + 1) / (1 + 4).
    assert Compared(0.5, np.array([0.1, 0.2, 0.5, 0.4])).p_value == pytest.approx(0.4)


def test_pass_is_no_block():
    np.testing.assert_array_equal(blocks_used(np.stack([ONE, OTHER])), [[2, 4], [2, 1]])


@pytest.fixture
def results():
    """Two seeds that route CIFAR-MTL's tasks by the groups of their meaning, with other names."""
    routes = [[int(block) for block in route.split("-")] for route in clustered_routes().split()]
    return {
        "experiment": "cifar_mtl",
        "seeds": [0, 1],
        "tasks": list(SUPERCLASSES),
        "dataset": {"name": "cifar100", "embedded_fallback": False},
        "routing_map": [routes, [[19 - block for block in route] for route in routes]],
    }


def test_maps_by_meaning_are_found_to_be_so(results, tmp_path, capsys):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    files = tmp_path / "maps.json", tmp_path / "maps.png"
    assert maps.main([str(path), f"--output={files[0]}", f"--figure={files[1]}"]) == 0
    # The last layer has a block for each task in all maps, so that chance does as well there.
    verdict = (
        "The maps of 2 seeds agree more than random ones at depth 1, 2. Tasks that are alike in "
        "meaning share more blocks than others (p = 0.001)."
    )
    assert capsys.readouterr().out == verdict + "\n"
    found = json.loads(files[0].read_text())
    assert found["verdict"] == verdict
    assert found["blocks_used_per_depth"] == [[8, 8, 20]] * 2
    assert files[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"routing_map": None}, "cifar_mtl: routes are mixtures, so there are no maps"),
        ({"routing_map": [[[0]]]}, "cifar_mtl: maps of two seeds at least are compared"),
    ],
)
def test_results_without_maps_to_compare_are_refused(results, tmp_path, capsys, change, message):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results | change))
    assert maps.main([str(path)]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_every_superclass_is_in_one_group():
    assert sum(map(len, GROUPS.values())) == len(GROUP_OF_SUPERCLASS) == len(SUPERCLASSES) == 20


@pytest.mark.real_data("cifar100")
def test_the_superclasses_are_those_of_cifar_in_its_order(real_data_dir):
    (names,) = real_data_dir.glob("cifar100/*/coarse_label.labels.txt")
    assert tuple(names.read_text().split()) == SUPERCLASSES
