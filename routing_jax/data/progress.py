"""How the preparation of a set tells how far it is: a bar on a terminal, lines elsewhere."""

import contextlib
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 2.0


class Report(Protocol):
    """Receives how far an activity is; called as often as one likes."""

    def __call__(self, activity: str, done: int, total: int, *, unit: str = "images") -> None:
        """Takes `done` of `total` in units of "images" or "bytes"."""


def lines(say: Callable[[str], None]) -> Report:
    """Says a line at most every two seconds, and one when an activity is done."""
    said: dict[str, float] = {}

    def report(activity: str, done: int, total: int, *, unit: str = "images") -> None:
        now = monotonic()
        due = now - said.setdefault(activity, now) >= SECONDS_BETWEEN_LINES
        if due or done == total:
            said[activity] = now
            say(f"{activity}: {_amount(done, total, unit)}")

    return report


@contextlib.contextmanager
def bars(console: Console) -> Iterator[Report]:
    """Draws a bar per activity on a terminal; says lines where there is none."""
    if not console.is_interactive:
        yield lines(lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def report(activity: str, done: int, total: int, *, unit: str = "images") -> None:
            if activity not in tasks:
                tasks[activity] = progress.add_task(activity, total=total, amount="")
            amount = _amount(done, total, unit)
            progress.update(tasks[activity], completed=done, total=total, amount=amount)

        yield report


def _amount(done: int, total: int, unit: str) -> str:
    if unit == "bytes":
        return f"{decimal(done)} of {decimal(total)}"
    return f"{done:,} of {total:,} {unit}"
