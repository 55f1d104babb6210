"""The one live line of a training run, or plain log lines where nobody watches."""

from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from routing_jax.reporting import progress_line
from routing_jax.reporting.progress_line import ProgressReport

SECONDS_BETWEEN_LOG_LINES = 5.0
REFRESHES_PER_SECOND = 8


@dataclass
class _Shown:
    """What the live display holds: the newest report, and the phase under way, if any."""

    report: ProgressReport | None = None
    phase: progress_line.Phase | None = None


class Progress:
    """Shows how training goes; a context manager.

    On an interactive terminal one line is redrawn in place. Elsewhere (a pipe, a log file, a dumb
    terminal) plain lines appear: the first report, then at most one every five seconds, and the
    last one.
    """

    def __init__(
        self, total_steps: int, *, start_step: int = 0, console: Console | None = None
    ) -> None:
        """Prepares the display; nothing is shown before the `with` block.

        Args:
            total_steps: training steps of the whole run.
            start_step: steps already done by a run that is resumed here.
            console: where to show; the standard output if None.
        """
        self._total = total_steps
        self._start = start_step
        self._console = console or Console()
        self._shown = _Shown()
        self._live: Live | None = None
        self._logged_at: float | None = None
        self._unlogged: ProgressReport | None = None

    def __enter__(self) -> Self:
        if self._console.is_interactive:
            self._live = Live(
                Group(), console=self._console, refresh_per_second=REFRESHES_PER_SECOND
            )
            self._live.start()
        if self._start:
            self.say(f"resuming after step {self._start:,} of {self._total:,}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shown.phase = None
        self._redraw()
        if self._live is not None:
            self._live.stop()
        if self._unlogged is not None:  # stopped early: the log still ends with the newest state
            self._log(self._unlogged)

    def phase(self, text: str) -> None:
        """Names what happens before or after the steps, as in "compiling the training step".

        It stays on the terminal, with a spinner and its seconds, until the next phase or report.
        """
        if self._live is None:
            self.say(text)
            return
        self._shown.phase = progress_line.Phase(text, since=monotonic())
        self._redraw()

    def update(self, report: ProgressReport) -> None:
        """Shows the newest state of the training."""
        self._shown = _Shown(report=report)
        if self._live is not None:
            self._redraw()
        elif self._log_is_due(report):
            self._log(report)
        else:
            self._unlogged = report

    def say(self, text: str) -> None:
        """Prints a notice of its own, above the live line where there is one."""
        # Soft wrap: a log line stays one line however narrow the console claims to be.
        self._console.print(Text(text), soft_wrap=self._live is None)

    def _redraw(self) -> None:
        if self._live is None:
            return
        parts: list[progress_line.Line | progress_line.Phase] = []
        if self._shown.report is not None:
            parts.append(progress_line.Line(self._shown.report, total_steps=self._total))
        if self._shown.phase is not None:
            parts.append(self._shown.phase)
        self._live.update(Group(*parts), refresh=True)

    def _log_is_due(self, report: ProgressReport) -> bool:
        if self._logged_at is None or report.step >= self._total:
            return True
        return monotonic() - self._logged_at >= SECONDS_BETWEEN_LOG_LINES

    def _log(self, report: ProgressReport) -> None:
        self.say(progress_line.log_line(report, total_steps=self._total))
        self._logged_at = monotonic()
        self._unlogged = None
