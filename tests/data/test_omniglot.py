"""Omniglot as alphabets: joined, in a fixed order, split by drawing, bright on black, small."""

import numpy as np
import pytest

from routing_jax.data import loading, omniglot, resizing
from routing_jax.errors import UserError

ALPHABETS = ["Angelic", "Zulu", "Braille", "Sylheti"]
"""With 1, 3, 2 and 1 characters; the first two are in the stored training set."""
ALPHABET_OF_CHARACTER = np.array([0, 1, 1, 1, 2, 2, 3])


@pytest.fixture
def prepared(tmp_path, prepare_tfds):
    """A tiny Omniglot, twenty 8x8 drawings a character; drawing d of character c is distinct."""
    splits = {}
    for split, characters in (("train", range(4)), ("test", range(4, 7))):
        labels = np.repeat(np.array(characters), 20)
        ink = np.arange(labels.size) % 20
        images = np.full((labels.size, 8, 8, 3), 255, np.uint8)
        images[:, 0, 0] = (255 - labels * 20 - ink)[:, None]
        columns = {"label": labels, "alphabet": ALPHABET_OF_CHARACTER[labels]}
        splits[split] = images, columns
    names = {"label": [f"character {i}" for i in range(7)], "alphabet": ALPHABETS}
    return prepare_tfds(tmp_path / "tfds", "omniglot", splits, label_names=names)


def load(data_config, **values):
    config = data_config(name="omniglot", tasks="alphabet", **values)
    return loading.load(config, say=lambda text: None)


def test_alphabets_are_tasks_of_unequal_size_and_class_count(data_config, prepared):
    tasks = load(data_config)
    # Those of earlier work first, in its order; the others by name.
    assert tasks.task_names == ("Sylheti", "Angelic", "Braille", "Zulu")
    assert (tasks.num_classes, tasks.image_shape) == (3, (8, 8, 1))
    for split, each in ((tasks.train, 14), (tasks.test, 6)):
        np.testing.assert_array_equal(split.classes, [1, 1, 2, 3])
        np.testing.assert_array_equal(split.sizes, np.array([1, 1, 2, 3]) * each)
        assert split.images.shape == (7 * each, 8, 8, 1)


def test_each_drawing_is_in_one_split_with_its_own_character(data_config, prepared):
    tasks, seen = load(data_config), []
    characters = [[6], [0], [4, 5], [1, 2, 3]]  # of each task, by class
    for split in (tasks.train, tasks.test):
        for task, size in enumerate(split.sizes):
            for image, label in zip(split.index[task, :size], split.labels[task], strict=False):
                ink = int(split.images[image, 0, 0, 0])
                assert ink // 20 == characters[task][label]
                seen.append(ink)
    assert sorted(seen) == list(range(140))
    # The paper is black: it was white.
    assert (tasks.train.images[:, 1:] == 0).all()


def test_two_sevenths_held_out_leave_ten_and_four_drawings(data_config, prepared):
    tasks = load(data_config, validation_fraction=2 / 7)
    np.testing.assert_array_equal(tasks.train.sizes, np.array([1, 1, 2, 3]) * 10)
    np.testing.assert_array_equal(tasks.test.sizes, np.array([1, 1, 2, 3]) * 4)
    again = load(data_config, validation_fraction=2 / 7)
    np.testing.assert_array_equal(tasks.test.images, again.test.images)


def test_best_step_keeps_10_4_and_6_drawings_apart(data_config, prepared):
    tasks = load(data_config, validation_fraction=2 / 7, validation_use="best_step")
    assert (tasks.evaluated_on, tasks.watched_on) == ("test", "validation")
    seen = []
    for split, each in ((tasks.train, 10), (tasks.validation, 4), (tasks.test, 6)):
        np.testing.assert_array_equal(split.sizes, np.array([1, 1, 2, 3]) * each)
        for task, size in enumerate(split.sizes):
            for label in range(split.classes[task]):  # of each character as many
                assert (split.labels[task, :size] == label).sum() == each
        seen += split.images[:, 0, 0, 0].tolist()
    assert sorted(seen) == list(range(140))
    # The test set is the one of a run that holds out nothing.
    np.testing.assert_array_equal(tasks.test.images, load(data_config).test.images)
    assert tasks.watched is tasks.validation


def test_alphabets_by_name(data_config, prepared):
    tasks, whole = load(data_config, alphabets="Zulu,Sylheti"), load(data_config)
    assert tasks.task_names == ("Zulu", "Sylheti")
    np.testing.assert_array_equal(tasks.train.sizes, [42, 14])
    for ours, theirs in ((0, 3), (1, 0)):  # Sylheti comes first of all, Zulu last
        size = tasks.test.sizes[ours]
        np.testing.assert_array_equal(
            tasks.test.images[tasks.test.index[ours, :size]],
            whole.test.images[whole.test.index[theirs, :size]],
        )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            "Zulu,Brail",
            "data.alphabets: there is no alphabet 'Brail' (did you mean Braille?); those that "
            "exist: Sylheti, Angelic, Braille, Zulu.",
        ),
        (
            "Klingon",
            "data.alphabets: there is no alphabet 'Klingon'; those that exist: Sylheti, Angelic, "
            "Braille, Zulu.",
        ),
        ("Zulu,Zulu", "data.alphabets = Zulu,Zulu: name each alphabet once."),
    ],
)
def test_an_alphabet_that_does_not_exist(data_config, prepared, names, message):
    with pytest.raises(UserError) as caught:
        load(data_config, alphabets=names)
    assert str(caught.value) == message


def test_fewer_tasks_leave_the_images_of_the_others_out(data_config, prepared):
    tasks, whole = load(data_config, num_tasks=3), load(data_config)
    assert tasks.task_names == ("Sylheti", "Angelic", "Braille")
    assert (tasks.num_classes, tasks.train.images.shape[0]) == (2, 4 * 14)
    for task, size in enumerate(tasks.train.sizes):
        few, all_of_them = (
            data.images[data.index[task, :size]] for data in (tasks.train, whole.train)
        )
        np.testing.assert_array_equal(few, all_of_them)
        np.testing.assert_array_equal(
            tasks.train.labels[task, :size], whole.train.labels[task, :size]
        )


def test_images_are_scaled_down_once_and_kept(data_config, prepared, tmp_path):
    tasks = load(data_config, image_size=4)
    assert tasks.image_shape == (4, 4, 1)
    # A pixel is the mean of four, of which one has ink; it is rounded once in each direction.
    inks = np.sort(tasks.test.images[:, 0, 0, 0].astype(int))
    full = np.sort(load(data_config).test.images[:, 0, 0, 0] / 4)
    np.testing.assert_allclose(inks, full, atol=1)
    assert len(list((tmp_path / "cache").iterdir())) == 2  # one entry a size
    said = []
    config = data_config(name="omniglot", tasks="alphabet", image_size=4)
    again = loading.load(config, say=said.append)
    assert said == []
    np.testing.assert_array_equal(again.test.images, tasks.test.images)


def test_images_are_never_enlarged(data_config, prepared):
    with pytest.raises(UserError) as caught:
        load(data_config, image_size=9)
    assert str(caught.value) == (
        "data.image_size = 9 would enlarge images of 8x8: set it to at most 8, or to 0 for images "
        "as stored."
    )


def test_scaling_takes_means_of_areas_in_every_channel():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    expected = images.reshape(2, 2, 2, 2, 2, 3).mean((2, 4))
    np.testing.assert_allclose(resizing.downsized(images, 2), expected, atol=1)


@pytest.mark.slow
@pytest.mark.real_data("omniglot")
def test_the_real_omniglot(data_config, real_data_dir, real_cache_dir):
    config = data_config(name="omniglot", tasks="alphabet", image_size=28, dir="")
    config.cache_dir = str(real_cache_dir / "omniglot")
    tasks = loading.load(config, say=print)
    assert (tasks.num_tasks, tasks.num_classes) == (50, 55)
    assert tasks.task_names[:20] == omniglot.FIRST
    assert tasks.train.images.shape == (1623 * 14, 28, 28, 1)
    np.testing.assert_array_equal(tasks.train.sizes, 14 * np.asarray(tasks.train.classes))
    np.testing.assert_array_equal(tasks.test.sizes, 6 * np.asarray(tasks.test.classes))
    # Published numbers of characters: Gujarati 48, Sylheti 28, Arcadian 26, Tibetan 42.
    np.testing.assert_array_equal(tasks.train.classes[:4], [48, 28, 26, 42])
    # Ink is bright and covers little.
    assert 0.02 < tasks.train.images.mean() / 255 < 0.15
