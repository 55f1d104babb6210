"""How one state of the training is written: a live line that fits the terminal, or a log line."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from routing_jax.reporting.formats import clock, joined, measured, rate, short_rate

SHORTEST_BAR = 5
LONGEST_BAR = 40


@dataclass(frozen=True)
class ProgressReport:
    """The state of a training run after some step.

    Attributes:
        step: steps done, counted from the beginning of the run.
        loss: training loss, mean over tasks.
        metrics: of the training batches by name, means over tasks; the first one is shown.
        test_metrics: the newest on the set that is evaluated on, likewise; empty before the first
            evaluation.
        policy_entropy: in nats, mean over tasks and depths.
        blocks_used: how many different blocks the greedy routes use, per depth.
        examples_per_second: training examples of all tasks together.
        seconds_left: estimated.
        note: what else there is to say, such as of how many cells these are the medians.
        watched_on: the name of the set that is evaluated on.
    """

    step: int
    loss: float
    metrics: Mapping[str, float]
    test_metrics: Mapping[str, float]
    policy_entropy: float
    blocks_used: tuple[int, ...]
    examples_per_second: float
    seconds_left: float
    note: str = ""
    watched_on: str = "test"


@dataclass(frozen=True)
class Line:
    """A rich renderable: the report on exactly one line, worded as the width allows."""

    report: ProgressReport
    total_steps: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        text = _widest_that_fits(self.report, self.total_steps, width - SHORTEST_BAR - 1)
        room = width - cell_len(text[0]) - cell_len(text[1]) - 2
        yield Text(text[0] + " ", end="")
        yield from self._bar(console, options, min(room, LONGEST_BAR))
        yield Text(" " + text[1], end="", no_wrap=True, overflow="crop")
        yield Segment.line()

    def _bar(self, console: Console, options: ConsoleOptions, width: int) -> Iterable[Segment]:
        done = min(self.report.step, self.total_steps)
        bar = ProgressBar(total=max(self.total_steps, 1), completed=done, width=max(width, 0))
        return console.render(bar, options)


@dataclass(frozen=True)
class Phase:
    """A rich renderable: a spinner, what is going on, and for how long already.

    Attributes:
        text: what is going on.
        since: `time.monotonic()` when it began.
    """

    text: str
    since: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        elapsed = monotonic() - self.since
        text = Text(f"{self.text} ({elapsed:.0f} s)", no_wrap=True, overflow="ellipsis")
        spinner = Spinner("dots", text)
        spinner.start_time = 0.0  # every redraw is a new spinner: its turn comes from the clock
        yield spinner.render(elapsed)


def log_line(report: ProgressReport, *, total_steps: int) -> str:
    """The report as a line of a log that explains itself."""
    done = 100 * report.step / max(total_steps, 1)
    fields = [
        f"loss {report.loss:z.4f}",
        *(f"{name} {value}" for name, value in _first(report.metrics)),
        *(f"{report.watched_on} {name} {value}" for name, value in _first(report.test_metrics)),
        f"policy entropy {report.policy_entropy:z.2f} nats",
        f"blocks used {joined(report.blocks_used)}",
        f"{rate(report.examples_per_second)} examples/s",
        f"{clock(report.seconds_left)} left",
        *_note(report),
    ]
    return f"step {report.step:,} of {total_steps:,} ({done:.0f} %): {', '.join(fields)}"


def _widest_that_fits(report: ProgressReport, total_steps: int, width: int) -> tuple[str, str]:
    """The texts left and right of the bar: full words, else short ones, else fewer fields."""
    count = _count(f"{report.step:,}", f"{total_steps:,}")
    line = "  ".join(_worded(report))
    if cell_len(count) + cell_len(line) + 1 <= width:
        return count, line
    count = _count(str(report.step), str(total_steps))
    for fields in _ever_shorter(report):
        line = " ".join(fields)
        if cell_len(count) + cell_len(line) + 1 <= width:
            break
    return count, line


def _count(step: str, total: str) -> str:
    return f"{step.rjust(len(total))}/{total}"


def _worded(report: ProgressReport) -> list[str]:
    return [
        f"{clock(report.seconds_left)} left",
        f"loss {report.loss:z.3f}",
        *_worded_metric(report),
        f"entropy {report.policy_entropy:z.2f} nats",
        f"blocks {joined(report.blocks_used)}",
        f"{rate(report.examples_per_second)} examples/s",
        *_note(report),
    ]


def _worded_metric(report: ProgressReport) -> list[str]:
    """The first metric as "accuracy 94.1 % (test 93.0 %)", or as much of it as there is."""
    trained, tested = _first(report.metrics), _first(report.test_metrics)
    if not trained:
        return [f"{report.watched_on} {name} {value}" for name, value in tested]
    behind = "".join(f" ({report.watched_on} {value})" for _, value in tested)
    return [f"{name} {value}{behind}" for name, value in trained]


def _first(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """The first metric, if there is any, and its value in words."""
    return [(name, measured(name, value)) for name, value in list(metrics.items())[:1]]


def _note(report: ProgressReport) -> list[str]:
    return [report.note] if report.note else []


def _ever_shorter(report: ProgressReport) -> Iterator[list[str]]:
    """The fields in short words, then without what can be spared, then with fewer and fewer."""
    test = [f"{report.watched_on} {_short(value)}" for _, value in _first(report.test_metrics)]
    entropy = f"{report.policy_entropy:z.2f}"
    first = [f"{clock(report.seconds_left)} left", f"loss {report.loss:z.3f}"]
    first += [f"{name[:3]} {_short(value)}" for name, value in _first(report.metrics)]
    last = [
        f"blocks {joined(report.blocks_used)}",
        f"{short_rate(report.examples_per_second)} ex/s",
    ]
    yield [*first, *test, f"entropy {entropy}", *last, *_note(report)]
    if report.note:
        yield [*first, *test, report.note]
        yield [first[0], first[-1], report.note]
    yield [*first, *test, f"entropy {entropy}", *last]
    fields = [*first, f"H {entropy}", *last]
    for kept in range(len(fields), 0, -1):
        yield fields[:kept]


def _short(value: str) -> str:
    return value.replace(" %", "%")
