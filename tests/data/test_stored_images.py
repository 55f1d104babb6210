"""Images that are read when somebody needs them, and stand for an array until then."""

import numpy as np

from routing_jax.data.stored_images import StoredImages


class Numbers:
    """Image number i is the number i; remembers what was read."""

    shape = (1, 1, 1)

    def __init__(self):
        self.asked = []

    def read(self, numbers):
        self.asked.append(numbers.tolist())
        return numbers.astype(np.uint8)[:, None, None, None]


def test_rows_are_taken_as_of_an_array_and_nothing_is_read():
    store = Numbers()
    images = StoredImages(store, np.arange(10))
    kept = images[np.array([7, 3, 5, 1])][np.array([True, True, False, True])]
    assert (kept.shape, kept.dtype, kept.nbytes, len(kept)) == ((3, 1, 1, 1), np.uint8, 3, 3)
    assert store.asked == []
    np.testing.assert_array_equal(np.asarray(kept).ravel(), [7, 3, 1])


def test_an_image_that_is_wanted_twice_is_read_once():
    store = Numbers()
    images = StoredImages(store, np.arange(10)[::-1])
    found = images.read(np.array([[0, 2, 0], [9, 2, 2]]))
    np.testing.assert_array_equal(found[..., 0, 0, 0], [[9, 7, 9], [0, 7, 7]])
    assert store.asked == [[0, 7, 9]]
    assert images.read(np.empty((2, 0), int)).shape == (2, 0, 1, 1, 1)


def test_all_are_read_some_at_a_time():
    told = []
    found = StoredImages(Numbers(), np.arange(2500) % 256).read_all(lambda *done: told.append(done))
    np.testing.assert_array_equal(found.ravel(), np.arange(2500) % 256)
    assert told == [(1000, 2500), (2000, 2500), (2500, 2500)]
