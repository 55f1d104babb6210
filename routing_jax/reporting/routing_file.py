"""routing.npz: how the routing probabilities moved while training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from routing_jax.errors import UserError
from routing_jax.files import atomic_path

MOST_SNAPSHOTS = 40


@dataclass(frozen=True)
class Routing:
    """Routing probabilities over training.

    Attributes:
        probabilities: [S, snapshot, T, D, A] float32; where the router can PASS, that is the last
            action.
        steps: [snapshot] training steps done at each snapshot.
        tasks: the T names.
    """

    probabilities: np.ndarray
    steps: np.ndarray
    tasks: tuple[str, ...]


def write_routing(
    path: Path, probabilities: np.ndarray, steps: np.ndarray, task_names: Sequence[str]
) -> None:
    """Writes routing.npz at once or not at all.

    More than 40 snapshots are thinned evenly to 40; the first and the last always stay.

    Args:
        path: of the file.
        probabilities: [S, snapshot, T, D, A].
        steps: [snapshot].
        task_names: the T names.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    probabilities, steps = np.asarray(probabilities, np.float32), np.asarray(steps, np.int64)
    shape = probabilities.shape
    if len(shape) != 5 or shape[1:3] != (len(steps), len(task_names)):
        raise ValueError(f"{shape} is not [S, {len(steps)}, {len(task_names)}, D, A]")
    kept = _thinned(len(steps))
    with atomic_path(path) as unfinished:
        np.savez_compressed(
            unfinished,
            probabilities=probabilities[:, kept],
            steps=steps[kept],
            tasks=np.array(list(task_names), dtype=np.str_),
        )


def read_routing(path: Path) -> Routing:
    """The contents of a routing.npz.

    Raises:
        UserError: there is none, or it is not a whole routing.npz.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            tasks = tuple(arrays["tasks"].tolist())
            return Routing(arrays["probabilities"], arrays["steps"], tasks)
    except FileNotFoundError:
        raise UserError(f"there is no {path}: has the run finished?") from None
    except (ValueError, TypeError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise UserError(f"{path} is cut off or not a routing file ({error})") from None


def _thinned(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, MOST_SNAPSHOTS)).round().astype(int)
