"""The synthetic regression set: fixed, of unit variance, related as asked for."""

import numpy as np
import pytest

from routing_jax.data import loading, synthetic


def targets(**settings) -> np.ndarray:
    splits = synthetic.generate(**{"num_pairs": 3, "relatedness": 0.5} | settings)
    return np.concatenate([split.targets for split in splits.values()]).astype(np.float64)


def test_shapes_and_names():
    splits = synthetic.generate(num_pairs=2, relatedness=0.5)
    for split, count in (("train", 8000), ("test", 2000)):
        found = splits[split]
        assert found.images.shape == (count, 10)
        assert found.targets.shape == (count, 4)
        assert found.images.dtype == found.targets.dtype == np.float32
    names = ("pair 0 task a", "pair 0 task b", "pair 1 task a", "pair 1 task b")
    assert splits["train"].class_names == names


def test_it_is_the_same_at_every_call():
    np.testing.assert_array_equal(targets(), targets())


def test_targets_have_about_mean_zero_and_mean_square_one():
    # The mean square is 1 in expectation over phases: 200 of 100 pairs estimate it well.
    many = targets(num_pairs=100)
    assert abs(many.mean()) < 0.1
    assert abs(np.square(many).mean() - 1) < 0.05


@pytest.mark.parametrize("relatedness", [0.0, 0.5, 1.0])
def test_relatedness_is_the_share_in_common_of_a_pair_and_of_no_others(relatedness):
    many = targets(num_pairs=100, relatedness=relatedness)
    products = many.T @ many / len(many)
    inside = np.diag(products, 1)[::2]
    assert abs(inside.mean() - relatedness) < 0.05
    between = np.diag(products, 1)[1::2]
    assert abs(between.mean()) < 0.05


def test_wholly_related_tasks_differ_in_their_noise_only():
    of_pair = targets(relatedness=1.0).reshape(-1, 3, 2)
    difference = of_pair[..., 0] - of_pair[..., 1]
    np.testing.assert_allclose(difference.std(), synthetic.NOISE * np.sqrt(2), rtol=0.05)


def test_the_inputs_do_not_depend_on_the_relatedness():
    first, second = (
        synthetic.generate(num_pairs=2, relatedness=r)["test"].images for r in (0.0, 1.0)
    )
    np.testing.assert_array_equal(first, second)


def test_it_becomes_regression_tasks(data_config):
    config = data_config(name="synthetic", tasks="related_pairs", num_tasks=3)
    config.validation_fraction = 0.25
    tasks = loading.load(config, say=print)
    assert (tasks.objective, tasks.num_classes, tasks.num_tasks) == ("regression", 1, 3)
    assert (tasks.name, tasks.evaluated_on, tasks.image_shape) == ("synthetic", "validation", (10,))
    assert tasks.train.images.shape == (6000, 10)
    assert tasks.test.labels.shape == (3, 2000)
    assert tasks.train.labels.dtype == np.float32
    assert tasks.train.classes is None
