"""Gumbel-Matrix routing over alphabets from the command line, on the real drawings."""

import jax
import numpy as np
import pytest
from tiny_runs import read, start

from routing_jax.reporting.routing_file import read_routing

SMALL = (
    "--config.data.num_tasks=None",
    "--config.data.alphabets=Korean,Sylheti,Gujarati",
    "--config.model.components=conv3_twice identity max_pool",
    "--config.model.depth=2",
    "--config.model.strides=2-2",
    "--config.model.width=8",
    "--config.training.steps=150",
    "--config.training.eval_every=50",
)


# Adam of optax promotes types inside.
@jax.numpy_dtype_promotion("standard")
@pytest.mark.slow
@pytest.mark.real_data("omniglot")
def test_three_alphabets_of_unlike_components(tmp_path, real_data_dir):
    data = f"--config.data.dir={real_data_dir}"
    assert start(tmp_path, *SMALL, data, experiment="gumbel_omniglot.py:size=small") == 0
    results = read(tmp_path)
    assert results["tasks"] == ["Korean", "Sylheti", "Gujarati"]
    characters = np.array([40, 28, 48])
    dataset = results["dataset"]
    assert (dataset["num_train"], dataset["num_test"]) == (
        10 * characters.sum(),
        6 * characters.sum(),
    )
    assert dataset["evaluated_on"] == "test"
    assert results["selection"]["step"][0] in (50, 100, 150)
    accuracies = np.array(results["test"]["accuracy"]["per_task"])
    assert (accuracies > 4 / characters).all(), accuracies  # far better than guessing
    last = read_routing(tmp_path / "routing.npz").probabilities[0, -1]
    assert last.shape == (3, 2, 3)
    # 28x28 to 14x14 to 7x7 with 8 channels: the identity is a 1x1 convolution there.
    assert [blocks[1] for blocks in results["multiply_adds"]["of_block"]] == [12544, 3136]
    assert (tmp_path / "figures" / "multiply_adds.png").exists()
