"""Learned allocation from the command line: what a run writes and shows."""

import jax
import numpy as np
from tiny_runs import read, start

from routing_jax.reporting.routing_file import read_routing

SMALL = (
    "--config.data.num_pairs=2",
    "--config.model.num_blocks=3",
    "--config.model.width=16",
    "--config.training.steps=60",
    "--config.training.eval_every=30",
)


# Adam of optax promotes types inside.
@jax.numpy_dtype_promotion("standard")
def test_a_small_run(tmp_path, capsys):
    assert start(tmp_path, *SMALL, experiment="gumbel_synthetic.py") == 0
    results, output = read(tmp_path), capsys.readouterr().out
    assert results["routing_map"] is None
    last = read_routing(tmp_path / "routing.npz").probabilities[0, -1]
    assert last.shape == (4, 2, 3)
    numbers = [[np.flatnonzero(blocks >= 0.5).tolist() for blocks in task] for task in last]
    assert results["allocation"] == [numbers]
    assert "blocks on" in output
    # Vectors of 10 to 16 units, then of 16 to 16.
    costs = results["multiply_adds"]
    assert costs["of_block"] == [[160] * 3, [256] * 3]
    first, second = (sum(len(task[depth]) for task in numbers) for depth in range(2))
    assert sum(costs["per_task"][0]) == 160 * first + 256 * second
    assert costs["all_blocks"] == 1248
    saved = 1 - (160 * first + 256 * second) / 4 / 1248
    np.testing.assert_allclose(costs["share_saved"], saved)
    assert results["selection"] is None
    # At the start all switches are even: log 2 each, three at each depth.
    entropy = results["curve"][0][0]["policy_entropy_per_depth"]
    assert all(0.9 * 3 * np.log(2) < value <= 3 * np.log(2) + 1e-6 for value in entropy)
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert figures == {
        "learning_curves.png",
        "policy_entropy.png",
        "routing_map.png",
        "task_similarity.png",
        "multiply_adds.png",
        "switch_probabilities.png",
    }
