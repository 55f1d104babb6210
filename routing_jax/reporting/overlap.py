"""What routing maps have in common: with each other, with chance, and with what tasks mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from routing_jax.reporting.similarity import inside_and_across


@dataclass(frozen=True)
class Compared:
    """A number that was measured, and the same of maps that mean nothing.

    Attributes:
        value: measured.
        chance: of random maps, one number each.
    """

    value: float
    chance: np.ndarray

    @property
    def p_value(self) -> float:
        """The share of random maps that reach the value, which counts as one of them itself."""
        return float((1 + (self.chance >= self.value).sum()) / (1 + self.chance.size))


def routing_overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The share of tasks with the same block in two maps, once blocks are renamed at best.

    Blocks of two runs have no common names, so at each depth the blocks of the second map are
    renamed, one to one, so that as many tasks as possible agree (an assignment problem).

    Args:
        one: int [T, D], PASS = -1.
        other: the same of another run.

    Returns:
        float64 [D], in (0, 1].
    """
    return np.array([_agreement(a, b) for a, b in zip(one.T, other.T, strict=True)])


def overlap_of_seeds(maps: np.ndarray, *, draws: int, seed: int = 0) -> list[Compared]:
    """The mean overlap of each two of several maps, depth by depth, against chance.

    By chance: the tasks of every map are shuffled, each depth by itself, which keeps how many
    blocks are used and how often.

    Args:
        maps: int [S, T, D] with S > 1.
        draws: how many times all maps are shuffled.
        seed: of the shuffles.

    Returns:
        D numbers.
    """
    rng = np.random.default_rng(seed)
    found = _mean_overlap(maps)
    chance = np.array([_mean_overlap(rng.permuted(maps, axis=1)) for _ in range(draws)])
    return [Compared(float(value), random) for value, random in zip(found, chance.T, strict=True)]


def shared_depths(routing_map: np.ndarray) -> np.ndarray:
    """float64 [T, T]: the share of depths at which two tasks of a map [T, D] have one block."""
    return (routing_map[:, None] == routing_map[None]).mean(-1)


def sharing_within_groups(
    maps: np.ndarray, groups: Sequence[str], *, draws: int, seed: int = 0
) -> Compared:
    """How much more tasks of one group share with each other than tasks of different groups.

    The mean of `shared_depths` over pairs of tasks within a group, minus that over all other
    pairs, mean over the maps. By chance: the names of the groups are shuffled among the tasks.

    Args:
        maps: int [S, T, D].
        groups: T names.
        draws: how many times the names are shuffled.
        seed: of the shuffles.
    """
    sharing = np.mean([shared_depths(routing_map) for routing_map in maps], axis=0)
    rng, names = np.random.default_rng(seed), np.array(groups)
    chance = np.array([_within_minus_across(sharing, rng.permutation(names)) for _ in range(draws)])
    return Compared(_within_minus_across(sharing, names), chance)


def blocks_used(maps: np.ndarray) -> np.ndarray:
    """int [S, D]: how many blocks the tasks of each map [S, T, D] use; PASS is none."""
    return np.array([[np.unique(d[d >= 0]).size for d in one.T] for one in maps])


def _agreement(one: np.ndarray, other: np.ndarray) -> float:
    _, rows = np.unique(one, return_inverse=True)
    _, columns = np.unique(other, return_inverse=True)
    together = np.zeros((rows.max() + 1, columns.max() + 1), int)
    np.add.at(together, (rows, columns), 1)
    best = linear_sum_assignment(together, maximize=True)
    return together[best].sum() / one.size


def _mean_overlap(maps: np.ndarray) -> np.ndarray:
    """[D], over each two maps."""
    above = zip(*np.triu_indices(len(maps), 1), strict=True)
    return np.mean([routing_overlap(maps[i], maps[j]) for i, j in above], axis=0)


def _within_minus_across(sharing: np.ndarray, names: np.ndarray) -> float:
    inside, across = inside_and_across(sharing, names)
    return inside - across
