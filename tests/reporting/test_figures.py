import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from routing_jax.reporting import (
    cost_figure,
    curve_figures,
    figures,
    mixing_figure,
    routing_figure,
    similarity_figure,
    trajectory_figure,
)
from routing_jax.reporting.mixing_figure import entropy_share
from routing_jax.reporting.results import CostRecord, SelectionRecord, build_results, write_results

NAMES = ["learning_curves.png", "routing_map.png", "policy_entropy.png"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Figures by file name, caught instead of written."""
    caught = {}

    def catch(figure: Figure, path: Path) -> Path:
        caught[path.name] = figure
        return path

    drawing = (cost_figure, curve_figures, mixing_figure, routing_figure, similarity_figure)
    for module in (*drawing, trajectory_figure):
        monkeypatch.setattr(module, "save", catch)
    return caught


def draw(make_run, figures_dir: Path, **sizes) -> tuple[dict, list[Path]]:
    record, routing = make_run(**sizes)
    results = build_results(record)
    return results, figures.draw_all(results, routing, figures_dir)


def legend(figure: Figure) -> list[str]:
    legends = [axes.get_legend() for axes in figure.axes] + figure.legends
    return [text.get_text() for found in legends if found for text in found.get_texts()]


@pytest.mark.parametrize(
    "sizes",
    [
        {"tasks": 10, "depth": 3, "blocks": 10},
        {"tasks": 2, "depth": 1, "blocks": 1, "seeds": 2},
        {"tasks": 2, "depth": 5, "blocks": 3, "pass_action": True},
    ],
)
def test_three_pictures_with_something_in_them(make_run, tmp_path, sizes):
    _, paths = draw(make_run, tmp_path / "figures", **sizes)
    assert paths == [tmp_path / "figures" / name for name in NAMES]
    assert sorted(tmp_path.joinpath("figures").iterdir()) == sorted(paths)
    for path in paths:
        pixels = image.imread(path)
        assert min(pixels.shape[:2]) > 300
        assert pixels.std() > 0.05


@pytest.mark.parametrize(
    ("embedded_fallback", "where"),
    [(False, "mnist_mtl on mnist,"), (True, "mnist_mtl on embedded digits (MNIST not found),")],
)
def test_titles_name_experiment_and_data_set(make_run, drawn, tmp_path, embedded_fallback, where):
    draw(make_run, tmp_path, embedded_fallback=embedded_fallback)
    for name in NAMES:
        assert where in drawn[name].get_suptitle()


def test_units_and_legends(make_run, drawn, tmp_path):
    draw(make_run, tmp_path, blocks=4, depth=2)
    curves, entropy = drawn["learning_curves.png"], drawn["policy_entropy.png"]
    assert [axes.get_ylabel() for axes in curves.axes] == [
        "cross-entropy (nats, mean over tasks)",
        "test accuracy (%, mean over tasks)",
    ]
    # At step 100: 0.8 + 0.15 and 0.5 + 0.4.
    assert legend(curves)[1:] == [
        "accuracy, 95.0 % at the end",
        "balanced accuracy, 90.0 % at the end",
    ]
    assert entropy.axes[0].get_ylabel() == "policy entropy (nats, mean over tasks)"
    assert legend(entropy) == ["depth 1", "depth 2", "highest possible:\nlog 4 = 1.39 nats"]


def test_regression_is_drawn_as_plain_errors(make_run, drawn, tmp_path):
    record, routing = make_run()
    results = build_results(dataclasses.replace(record, test={"mse": np.full((1, 3), 0.25)}))
    for entry, error in zip(results["curve"][0], (4.0, 1.0, 0.25), strict=True):
        entry["test_mse"] = error
    figures.draw_all(results, routing, tmp_path)
    curves = drawn["learning_curves.png"]
    assert [axes.get_ylabel() for axes in curves.axes] == [
        "mse (mean over tasks)",
        "test mse (mean over tasks)",
    ]
    assert legend(curves)[1:] == ["mse, 0.25 at the end"]
    assert curves.axes[1].get_lines()[0].get_ydata().tolist() == [4.0, 1.0, 0.25]


def test_entropy_starts_at_its_maximum_for_uniform_policies(make_run, drawn, tmp_path):
    draw(make_run, tmp_path, blocks=4, depth=2, pass_action=True)
    lines = drawn["policy_entropy.png"].axes[0].get_lines()
    assert lines[0].get_ydata()[0] == pytest.approx(math.log(5))
    assert lines[-1].get_ydata()[0] == pytest.approx(math.log(5))


def test_seeds_are_a_mean_line_and_a_band(make_run, drawn, tmp_path):
    draw(make_run, tmp_path, seeds=3)
    axes = drawn["learning_curves.png"].axes[1]
    # Accuracy at step 0 is 0.80, 0.81 and 0.82 for the three seeds.
    assert axes.get_lines()[0].get_ydata()[0] == pytest.approx(81.0)
    assert axes.collections[0].get_datalim(axes.transData).y0 == pytest.approx(80.0)
    assert "3 seeds" in drawn["learning_curves.png"].get_supxlabel()
    assert "seed 0 (first of 3)" in drawn["routing_map.png"].get_suptitle()


def test_the_map_shows_probabilities_and_marks_greedy_choices(make_run, drawn, tmp_path):
    record, routing = make_run(tasks=3, depth=2, blocks=4, pass_action=True)
    results = build_results(record)
    results["routing_map"][0] = [[0, -1], [1, 2], [3, 3]]
    figures.draw_all(results, routing, tmp_path)
    panels = drawn["routing_map.png"].axes[:2]
    shown = panels[1].images[0].get_array()
    np.testing.assert_allclose(shown, routing.probabilities[0, -1, :, 1])
    assert panels[1].images[0].get_clim() == (0, 1)
    # PASS is the last of the five columns.
    assert panels[1].get_lines()[0].get_xdata().tolist() == [4, 2, 3]
    assert [text.get_text() for text in panels[1].get_xticklabels()] == ["0", "1", "2", "3", "PASS"]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == list(routing.tasks)
    assert legend(drawn["routing_map.png"]) == ["greedy choice"]


def test_the_allocation_matrix_marks_the_blocks_that_were_tested(make_run, drawn, tmp_path):
    record, routing = make_run(tasks=3, depth=2, blocks=4)
    results = build_results(record) | {"routing_map": None}
    # Of each task at both depths; the second task has a depth without a block.
    results["allocation"] = [[[[0, 2], [1]], [[3], []], [[1], [0, 1, 2]]]]
    figures.draw_all(results, routing, tmp_path)
    figure = drawn["routing_map.png"]
    assert figure.get_suptitle().startswith("Allocation matrix after")
    marks = [list(zip(*axes.get_lines()[0].get_data(), strict=True)) for axes in figure.axes[:2]]
    assert marks == [[(0, 0), (2, 0), (3, 1), (1, 2)], [(1, 0), (0, 2), (1, 2), (2, 2)]]
    assert legend(figure) == ["on at the test"]


def test_losses_that_are_not_finite_are_gaps(make_run, drawn, tmp_path):
    record, routing = make_run()
    results = build_results(record)
    for entry, loss in zip(results["curve"][0], (math.inf, None, math.nan), strict=True):
        entry["train_loss"] = loss
    for path in figures.draw_all(results, routing, tmp_path):
        drawn[path.name].savefig(tmp_path / path.name)
    assert np.isnan(drawn["learning_curves.png"].axes[0].get_lines()[0].get_ydata()).all()


def test_the_similarity_of_tasks_is_drawn_from_a_results_file(make_run, drawn, tmp_path, capsys):
    record, _ = make_run(tasks=2, depth=1, blocks=2)
    on = np.array([[[[True, True]], [[True, False]]]])
    for name, allocation in (("on.json", on), ("routed.json", None)):
        results = build_results(dataclasses.replace(record, allocation=allocation))
        write_results(tmp_path / name, results)
    picture = tmp_path / "alike.png"
    assert similarity_figure.main([str(picture), str(tmp_path / "on.json")]) == 0
    alike = drawn["alike.png"].axes[0].images[0].get_array()
    np.testing.assert_allclose(alike, [[1, 2**-0.5], [2**-0.5, 1]])
    assert similarity_figure.main([str(picture), str(tmp_path / "routed.json")]) == 2
    assert capsys.readouterr().err.startswith(
        "error: mnist_mtl neither switches blocks nor mixes them; name results of learned"
    )


def test_tasks_that_share_blocks_stand_side_by_side(make_run, drawn, tmp_path):
    record, routing = make_run(tasks=4, depth=1, blocks=2)
    # Tasks 0 and 2 have both blocks, 1 and 3 the second one: the cosine across is 1 / sqrt(2).
    last = np.array([[0.9, 0.8], [0.2, 0.9], [0.5, 0.7], [0.1, 0.6]])
    probabilities = np.broadcast_to(last[None, None, :, None], (1, 3, 4, 1, 2))
    routing = dataclasses.replace(routing, probabilities=probabilities)
    on = probabilities[:, -1] >= 0.5
    results = build_results(dataclasses.replace(record, routing_map=None, allocation=on))
    written = figures.draw_all(results, routing, tmp_path)
    assert written[-2].name == "task_similarity.png"
    axes = drawn["task_similarity.png"].axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert {frozenset(names[:2]), frozenset(names[2:])} == {
        frozenset({"digit 0", "digit 2"}),
        frozenset({"digit 1", "digit 3"}),
    }
    across = 2**-0.5
    expected = np.kron([[1, across], [across, 1]], np.ones((2, 2)))
    np.testing.assert_allclose(axes.images[0].get_array(), expected)
    # Two switches of a depth have at most 2 log 2 nats together.
    assert "2 log 2 = 1.39 nats" in " ".join(legend(drawn["policy_entropy.png"]))


def test_mixing_weights_as_depth_by_block_with_the_path_of_the_largest(make_run, drawn, tmp_path):
    record, routing = make_run(tasks=2, depth=3, blocks=2)
    weights = np.array([[[[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]], [[0.2, 0.8]] * 3]])
    results = build_results(dataclasses.replace(record, routing_map=None, mixing_weights=weights))
    names = [path.name for path in figures.draw_all(results, routing, tmp_path)]
    assert names[-3:] == ["mixing_weights.png", "mixing_entropy.png", "task_similarity.png"]
    panels = drawn["mixing_weights.png"].axes[:2]
    for task, axes in enumerate(panels):
        np.testing.assert_array_equal(axes.images[0].get_array(), weights[0, task])
        assert axes.get_title() == f"digit {task}"
    assert panels[0].get_lines()[0].get_xdata().tolist() == [0, 0, 1]
    assert panels[1].get_lines()[0].get_xdata().tolist() == [1, 1, 1]
    shown = drawn["mixing_entropy.png"].axes[0].images[0].get_array()
    # In bits, as there are two blocks: -0.9 log2 0.9 - 0.1 log2 0.1 = 0.4690, and 0.7219 for 0.2.
    np.testing.assert_allclose(shown, [[0.4690, 1, 0], [0.7219] * 3], atol=1e-4)
    # (0.9 x 0.2 + 0.1 x 0.8 + 0.5 + 0.8) / sqrt((0.82 + 0.5 + 1) x 3 x 0.68) = 1.56 / 2.17550
    alike = drawn["task_similarity.png"].axes[0].images[0].get_array()
    np.testing.assert_allclose(alike, [[1, 0.717076], [0.717076, 1]], atol=1e-5)


def test_a_single_task_is_like_no_other(make_run, tmp_path):
    record, routing = make_run(tasks=1, depth=1, blocks=2)
    weights = np.array([[[[0.9, 0.1]]]])
    results = build_results(dataclasses.replace(record, routing_map=None, mixing_weights=weights))
    names = [path.name for path in figures.draw_all(results, routing, tmp_path)]
    assert names[-1] == "mixing_entropy.png"


def test_families_of_meanings_are_compared_where_tasks_have_them(make_run, drawn, tmp_path):
    record, routing = make_run(tasks=3, depth=1, blocks=2)
    names = ["fish", "aquatic_mammals", "vehicles_1"]
    weights = np.array([[[[1.0, 0.0]], [[1.0, 0.0]], [[0.6, 0.8]]]])
    results = build_results(dataclasses.replace(record, routing_map=None, mixing_weights=weights))
    figures.draw_all(results | {"tasks": names}, routing, tmp_path)
    title = drawn["task_similarity.png"].get_suptitle()
    assert "\n1.000 inside families of meanings, 0.600 across\n" in title


def test_entropies_are_means_over_seeds_and_weights_are_of_the_first(make_run, drawn, tmp_path):
    record, routing = make_run(seeds=2, tasks=7, depth=1, blocks=2)
    weights = np.stack([np.full((7, 1, 2), 0.5), np.tile([1.0, 0.0], (7, 1, 1))])
    results = build_results(dataclasses.replace(record, mixing_weights=weights))
    figures.draw_all(results, routing, tmp_path)
    shown = drawn["mixing_entropy.png"].axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, np.full((7, 1), 0.5))
    panels = [axes for axes in drawn["mixing_weights.png"].axes if axes.images]
    assert len(panels) == 7
    assert "seed 0 (first of 2)" in drawn["mixing_weights.png"].get_suptitle()
    assert "mean of 2 seeds" in drawn["mixing_entropy.png"].get_suptitle()


def test_a_single_block_has_no_entropy():
    assert entropy_share(np.ones((2, 3, 1))).tolist() == [[0, 0, 0]] * 2


def test_costs_stand_beside_that_of_all_blocks(make_run, drawn, tmp_path):
    record, routing = make_run(tasks=3, depth=1, blocks=2)
    costs = CostRecord([[30, 10]], np.array([[40, 10, 30]]))
    results = build_results(dataclasses.replace(record, multiply_adds=costs))
    figures.draw_all(results, routing, tmp_path)
    axes = drawn["multiply_adds.png"].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [40, 10, 30]
    assert axes.get_lines()[0].get_xdata()[0] == 40  # all blocks
    # (0 + 30 + 10) / 3 of 40.
    assert "33.3 % of all blocks saved" in drawn["multiply_adds.png"].get_suptitle()


def test_equal_costs_are_not_drawn(make_run, drawn, tmp_path):
    record, routing = make_run(tasks=3, depth=1, blocks=2)
    costs = CostRecord([[30, 30]], np.full((1, 3), 30))
    results = build_results(dataclasses.replace(record, multiply_adds=costs))
    figures.draw_all(results, routing, tmp_path)
    assert "multiply_adds.png" not in drawn


def test_every_switch_has_a_line_in_the_panel_of_its_task(make_run, drawn, tmp_path):
    record, routing = make_run(tasks=6, depth=2, blocks=3)
    on = routing.probabilities[:, -1] >= 0.5
    results = build_results(dataclasses.replace(record, routing_map=None, allocation=on))
    figures.draw_all(results, routing, tmp_path)
    panels = drawn["switch_probabilities.png"].axes
    assert [axes.get_title() for axes in panels] == list(routing.tasks)
    lines = panels[4].get_lines()[:6]
    found = np.array([line.get_ydata() for line in lines])
    expected = routing.probabilities[0, :, 4].reshape(3, 6).T
    np.testing.assert_allclose(found, expected)
    assert legend(drawn["switch_probabilities.png"]) == ["depth 1", "depth 2"]


def test_the_chosen_step_is_marked_and_the_curve_named_after_its_set(make_run, drawn, tmp_path):
    record, routing = make_run()
    chosen = SelectionRecord("validation", "accuracy", [50], [0.9])
    results = build_results(dataclasses.replace(record, selection=chosen))
    figures.draw_all(results, routing, tmp_path)
    axes = drawn["learning_curves.png"].axes[1]
    assert axes.get_ylabel() == "validation accuracy (%, mean over tasks)"
    assert "judged at the best step" in legend(drawn["learning_curves.png"])
    assert 50 in [line.get_xdata()[0] for line in axes.get_lines()]


def test_unlike_blocks_are_called_by_their_names(make_run, drawn, tmp_path):
    record, routing = make_run(blocks=3)
    config = record.config | {"model": {"components": "2xconv3 identity"}}
    results = build_results(dataclasses.replace(record, config=config))
    figures.draw_all(results, routing, tmp_path)
    labels = drawn["routing_map.png"].axes[0].get_xticklabels()
    assert [text.get_text() for text in labels] == ["conv3", "conv3", "identity"]
