"""Omniglot's alphabets from the command line: tasks of unequal size and class count, for real."""

import numpy as np
import pytest
from tiny_runs import read, start

ALPHABETS = (
    "--config.data.name=omniglot",
    "--config.data.tasks=alphabet",
    "--config.data.num_tasks=5",
    "--config.data.image_size=28",
    "--config.data.share_images=False",
    "--config.data.validation_fraction=0.2857",
    "--config.data.label_fraction=0.8",
    "--config.model.num_blocks=3",
    "--config.model.encoder=flatten",
    "--config.optimizer.learning_rate=0.1",
    "--config.training.steps=400",
    "--config.training.eval_every=200",
)


@pytest.mark.slow
@pytest.mark.real_data("omniglot")
def test_five_alphabets(tmp_path, real_data_dir):
    assert start(tmp_path, *ALPHABETS, f"--config.data.dir={real_data_dir}") == 0
    results = read(tmp_path)
    assert results["tasks"] == [
        *("Gujarati", "Sylheti", "Arcadian", "Tibetan"),
        "Old_Church_Slavonic_(Cyrillic)",
    ]
    characters = np.array([48, 28, 26, 42, 45])
    assert results["dataset"]["num_test"] == 4 * characters.sum()
    assert results["dataset"]["evaluated_on"] == "validation"
    # Of ten drawings of each character about eight have a label; those without are left out.
    assert abs(results["dataset"]["num_train"] - 8 * characters.sum()) < 100
    accuracies = np.array(results["test"]["accuracy"]["per_task"])
    assert (accuracies > 3 / characters).all(), accuracies  # far better than guessing
