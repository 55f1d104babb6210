"""Images read ahead of their use, by Grain: threads, prefetching, and a state to go on from.

What is read for a number (of a step, or of a part of an evaluation) is a function of that number,
so that order, shuffling and the part of each process need no state of their own; see
`data.host_sampling`.
"""

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from routing_jax.data.stored_images import StoredImages

_MOST_THREADS = 16

Item = TypeVar("Item")


class Reader(Generic[Item]):
    """The images of successive numbers, some at a time.

    Args:
      images: where they are.
      rows: of the images of a number, int [T, n].
      start: the first number.
      stop: behind the last one; the last item is filled up with zeros.
      at_once: numbers in an item.
      make: makes an item of its first number and its images, uint8 [at_once, T, n, ...]. A thread
        calls it while the item before is in use, so it may as well move them to a device.
      state: of an earlier reader of the same numbers, to go on where it was.
    """

    def __init__(
        self,
        images: StoredImages,
        rows: Callable[[int], np.ndarray],
        *,
        start: int,
        stop: int,
        at_once: int,
        make: Callable[[int, np.ndarray], Item],
        state: dict[str, Any] | None = None,
    ) -> None:
        import grain

        def read(number: int) -> dict[str, np.ndarray]:
            wanted = rows(min(number, stop - 1))
            found = images.read(wanted if number < stop else wanted[:, :0])
            if number >= stop:
                found = np.zeros((*wanted.shape, *found.shape[2:]), found.dtype)
            return {"number": np.int64(number), "images": found}

        def item(read: dict[str, np.ndarray]) -> Item:
            return make(int(read["number"][0]), read["images"])

        threads = min(os.cpu_count() or 1, _MOST_THREADS)
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, at_once))
        filled = start + -(-(stop - start) // at_once) * at_once
        numbers = grain.MapDataset.range(start, filled).map(read).to_iter_dataset(options)
        items = numbers.batch(at_once).map(item)
        ahead = grain.experimental.ThreadPrefetchIterDataset(items, prefetch_buffer_size=1)
        self._iterator = iter(ahead)
        if state is not None:
            self._iterator.set_state(state)

    def __next__(self) -> Item:
        return next(self._iterator)

    @property
    def state(self) -> dict[str, Any]:
        """What another reader goes on from with the item that comes next; JSON can hold it."""
        return self._iterator.get_state()

    def close(self) -> None:
        """Ends its threads."""
        self._iterator.close()
