"""Five yes-or-no questions about handwritten digits: the data of the other examples."""

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits

QUESTIONS = {
    "even": {0, 2, 4, 6, 8},
    "five or more": {5, 6, 7, 8, 9},
    "prime": {2, 3, 5, 7},
    "multiple of three": {0, 3, 6, 9},
    "has a loop": {0, 6, 8, 9},
}
"""The digits that each question is answered with yes for."""
TEST = 397
"""Images of the test set."""


def load() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images, float32 [M, 64], and answers, int32 [5, M], of the splits "train" and "test"."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(digits.target.size)
    images = (digits.data[order] / 16).astype(np.float32)
    answers = [np.isin(digits.target[order], list(yes)) for yes in QUESTIONS.values()]
    answers = np.stack(answers).astype(np.int32)
    return {
        "train": (images[TEST:], answers[:, TEST:]),
        "test": (images[:TEST], answers[:, :TEST]),
    }


def mixed_batches(steps: int, size: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of images [B, 64], tasks [B] and answers [B]: any example, any question."""
    images, answers = load()["train"]
    rng = np.random.default_rng(1)
    for _ in range(steps):
        rows, tasks = rng.integers(len(images), size=size), rng.integers(5, size=size)
        yield images[rows], tasks.astype(np.int32), answers[tasks, rows]


def batches_by_task(steps: int, size: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of images [5, n, 64] and answers [5, n]: a row for each question; no tasks."""
    images, answers = load()["train"]
    rng = np.random.default_rng(1)
    for _ in range(steps):
        rows = rng.integers(len(images), size=(5, size))
        yield images[rows], None, np.take_along_axis(answers, rows, axis=1)
