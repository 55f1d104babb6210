"""Work on many items with a few threads, in order and without holding all results."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_WAITING_PER_THREAD = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Like `map`, a little ahead of who takes the results.

    Threads suffice for work that Pillow does, which lets go of the interpreter meanwhile.
    """
    threads = os.cpu_count() or 1
    rest = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        running = deque(
            pool.submit(function, item)
            for item in itertools.islice(rest, threads * _WAITING_PER_THREAD)
        )
        try:
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(function, item) for item in itertools.islice(rest, 1))
                yield result
        finally:
            for future in running:
                future.cancel()
