"""Three sets as one: who is a task, what its classes are, what happens where one is missing."""

import numpy as np
import pytest

from routing_jax.data import loading
from routing_jax.errors import UserError

DIGITS = 3
"""Classes of the made-up digits and garments; the objects have four in two superclasses."""


def grey(seed, count):
    """28x28 images of `DIGITS` classes in turn; the corner tells the number of the image."""
    images = np.zeros((count, 28, 28, 1), np.uint8)
    images[:, :14, :14, 0] = (seed + np.arange(count))[:, None, None]
    return images, {"label": np.arange(count) % DIGITS}


@pytest.fixture
def prepare(tmp_path, prepare_tfds):
    def make(*names):
        for name in names:
            if name == "cifar100":
                labels = np.arange(40) % 4
                images = np.broadcast_to(labels[:, None, None, None], (40, 32, 32, 3))
                columns = {"label": labels, "coarse_label": labels // 2}
                splits = dict.fromkeys(("train", "test"), (images.astype(np.uint8), columns))
                names = {"label": ["a", "b", "c", "d"], "coarse_label": ["fish", "trees"]}
            else:
                seed = 100 if name == "mnist" else 200
                splits = {"train": grey(seed, 12), "test": grey(seed + 12, 6)}
                names = {"label": [f"{name[0]}{i}" for i in range(DIGITS)]}
            prepare_tfds(tmp_path / "tfds", name, splits, label_names=names)

    return make


def load(data_config, said=None):
    config = data_config(name="clusters", tasks="clusters")
    return loading.load(config, say=(said if said is not None else []).append)


def test_superclasses_and_left_out_classes(data_config, prepare):
    prepare("cifar100", "mnist", "fashion_mnist")
    tasks = load(data_config)
    assert tasks.name == "cifar100 + mnist + fashion_mnist"
    assert tasks.task_names == (
        *("fish", "trees"),
        *(f"mnist without m{i}" for i in range(3)),
        *(f"fashion_mnist without f{i}" for i in range(3)),
    )
    np.testing.assert_array_equal(tasks.train.sizes, [16, 16] + [8] * 6)  # 80 % of the objects
    np.testing.assert_array_equal(tasks.test.sizes, [20, 20] + [4] * 6)
    assert (tasks.num_classes, tasks.image_shape) == (2, (32, 32, 3))
    # The second task over digits: number i has class i % 3, and class 1 is left out.
    row = tasks.train.index[3, :8]
    numbers = tasks.train.images[row, 2, 2].astype(int)
    assert (numbers == numbers[:, :1]).all()  # the same in all colours
    classes = (numbers[:, 0] - 100) % 3
    assert set(classes) == {0, 2}
    np.testing.assert_array_equal(tasks.train.labels[3, :8], classes == 2)
    # Objects as they were.
    fish = tasks.train.images[tasks.train.index[0, :16], 0, 0, 0]
    np.testing.assert_array_equal(tasks.train.labels[0, :16], fish)


def test_without_garments_there_are_fewer_tasks_and_that_is_said(data_config, prepare):
    prepare("cifar100", "mnist")
    said = []
    tasks = load(data_config, said)
    assert tasks.num_tasks == 5
    assert tasks.name == "cifar100 + mnist (fashion_mnist is not prepared)"
    notice = next(line for line in said if line.startswith("NOTICE"))
    assert notice.startswith(
        "NOTICE: training without the ten tasks of fashion_mnist. The data set fashion_mnist is "
        "not prepared in any of: "
    )
    assert "scaling mnist train to 32x32: 12 images" in said


def test_without_digits_it_does_not_go(data_config, prepare):
    prepare("cifar100")
    with pytest.raises(UserError) as caught:
        load(data_config)
    assert str(caught.value).startswith("The data set mnist is not prepared in any of: ")
