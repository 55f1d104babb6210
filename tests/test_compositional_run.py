"""A compositional network from the command line: what a run writes and shows."""

import jax
import numpy as np
from tiny_runs import read, start

from routing_jax.reporting.routing_file import read_routing

SMALL = (
    "--config.data.name=digits",
    "--config.data.tasks=one_vs_rest",
    "--config.data.num_tasks=3",
    "--config.data.augment=none",
    "--config.model.resolution=4",
    "--config.model.width=4",
    "--config.model.depth=2",
    "--config.training.steps=8",
    "--config.training.eval_every=4",
    "--config.training.examples_per_task=8",
)


# Adam of optax promotes types inside.
@jax.numpy_dtype_promotion("standard")
def test_a_small_run(tmp_path):
    assert start(tmp_path, *SMALL, experiment="compositional_mtl.py:order=pure") == 0
    results = read(tmp_path)
    weights = np.array(results["mixing_weights"])
    assert weights.shape == (1, 3, 2, 2)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    last = read_routing(tmp_path / "routing.npz").probabilities[:, -1]
    np.testing.assert_allclose(weights, last, rtol=1e-5)
    assert results["routing_map"] is None and results["allocation"] is None
    # The temperature has fallen to a twentieth or so: orders are nearly pure.
    entropy = [sum(entry["policy_entropy_per_depth"]) for entry in results["curve"][0]]
    assert entropy[-1] < 0.5 * entropy[0]
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"mixing_weights.png", "mixing_entropy.png"} < figures
