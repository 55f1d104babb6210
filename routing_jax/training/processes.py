"""What one of several processes that run the same program has to agree on with the others.

All compute the same steps, each on its own devices. The first one writes what a run leaves. What
may differ between processes (pace, signals) is agreed on before it decides about a computation.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils

from routing_jax.training.stopping import Stops


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def several() -> bool:
    """Whether there are other processes."""
    return jax.process_count() > 1


def wait_for_all(place: str) -> None:
    """Waits until every process has come to this place."""
    if several():
        multihost_utils.sync_global_devices(place)


def agree(length: int, stops: Stops) -> tuple[int, bool]:
    """The length that the first process gives the next segment, and whether to stop instead.

    A signal that any process got becomes known to all here, and nowhere else: one that comes while
    they agree has to wait for the next time, or they would not stop at the same step.
    """
    received = 0 if stops.received is None else int(stops.received)
    if several():
        told = multihost_utils.process_allgather(np.array([length, received], np.int32))
        length, received = int(told[0, 0]), int(told[:, 1].max())
        stops.record(received)
    return length, received > 0


def smallest(size: int) -> int:
    """The smallest of the sizes in bytes that the processes give, to the MiB if there are several.

    All give one, or this waits for ever.
    """
    if not several():
        return size
    return int(multihost_utils.process_allgather(np.int32(size >> 20)).min()) << 20
