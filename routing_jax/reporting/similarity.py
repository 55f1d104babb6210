"""How alike tasks are in the blocks that are on for them, or in how they mix them."""

from collections.abc import Hashable, Sequence

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage


def task_similarity(patterns: np.ndarray) -> np.ndarray:
    """The cosine of the patterns of each two tasks, as Maziarz et al. (2019) compare them.

    Args:
        patterns: [T, ...], which blocks are on, or mixing weights.

    Returns:
        float64 [T, T]; 0 beside a task without any block, but 1 with itself.
    """
    rows = patterns.reshape(len(patterns), -1).astype(float)
    lengths = np.maximum(np.linalg.norm(rows, axis=1), np.finfo(float).tiny)
    similarity = (rows / lengths[:, None]) @ (rows / lengths[:, None]).T
    np.fill_diagonal(similarity, 1)
    return similarity


def inside_and_across(similarity: np.ndarray, families: Sequence[Hashable]) -> tuple[float, float]:
    """The mean similarity [T, T] of two tasks of one family, and of two of different ones.

    A mean over no pairs is nan.
    """
    pairs, names = np.triu_indices(len(similarity), 1), np.asarray(families)
    of_pairs, same = similarity[pairs], (names[:, None] == names)[pairs]
    inside, across = (
        float(v.mean()) if v.size else np.nan for v in (of_pairs[same], of_pairs[~same])
    )
    return inside, across


def alike_side_by_side(similarity: np.ndarray) -> np.ndarray:
    """An order of the tasks in which those that are alike stand together: int [T].

    The leaves of average-linkage clustering.
    """
    if len(similarity) < 2:
        return np.arange(len(similarity))
    above = np.triu_indices(len(similarity), 1)
    distance = np.maximum(1 - similarity[above], 0)  # a cosine may be rounded to above 1
    return leaves_list(linkage(distance, "average", optimal_ordering=True))
