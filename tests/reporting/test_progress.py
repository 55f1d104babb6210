import dataclasses
import io
import math

import pytest
from rich.console import Console

from routing_jax.reporting import progress
from routing_jax.reporting.progress import Progress
from routing_jax.reporting.progress_line import Line, ProgressReport, log_line

REPORT = ProgressReport(
    step=100,
    loss=0.5234,
    metrics={"accuracy": 0.941},
    test_metrics={},
    policy_entropy=1.92,
    blocks_used=(7, 6, 7),
    examples_per_second=12_345.0,
    seconds_left=83.0,
)


def at(step: int, **changes) -> ProgressReport:
    return dataclasses.replace(REPORT, step=step, **changes)


def log_console() -> Console:
    return Console(file=io.StringIO(), width=40)


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds that the display believes in, to be changed in place."""
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def test_a_log_explains_itself_line_by_line(clock):
    console = log_console()
    with Progress(1000, console=console) as shown:
        shown.phase("compiling the training step")
        shown.update(REPORT)
        shown.say("MNIST was not found")
        shown.update(at(1000, test_metrics={"accuracy": 0.93}, seconds_left=0.0))
    assert console.file.getvalue().splitlines() == [
        "compiling the training step",
        "step 100 of 1,000 (10 %): loss 0.5234, accuracy 94.1 %, policy entropy 1.92 nats, "
        "blocks used 7-6-7, 12,345 examples/s, 1:23 left",
        "MNIST was not found",
        "step 1,000 of 1,000 (100 %): loss 0.5234, accuracy 94.1 %, test accuracy 93.0 %, "
        "policy entropy 1.92 nats, blocks used 7-6-7, 12,345 examples/s, 0:00 left",
    ]


def test_a_log_gets_the_first_line_then_one_per_five_seconds_and_the_last(clock):
    console = log_console()
    with Progress(1000, console=console) as shown:
        for second in range(12):
            clock[0] = float(second)
            shown.update(at(second))
    # Logged at 0 s, 5 s and 10 s; the report of 11 s is the newest when the run ends early.
    logged = [line.split()[1] for line in console.file.getvalue().splitlines()]
    assert logged == ["0", "5", "10", "11"]


def test_the_last_step_is_logged_once_however_early_it_comes(clock):
    console = log_console()
    with Progress(2, console=console) as shown:
        shown.update(at(1))
        shown.update(at(2))
    assert [line.split()[1] for line in console.file.getvalue().splitlines()] == ["1", "2"]


def test_a_resumed_run_says_where_it_goes_on():
    console = log_console()
    with Progress(1000, start_step=400, console=console):
        pass
    assert console.file.getvalue() == "resuming after step 400 of 1,000\n"


def live_line(report: ProgressReport, width: int) -> str:
    console = terminal(width)
    console.print(Line(report, total_steps=1000), end="")
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("blocks_used", [(7,), (10,) * 3, (20,) * 12])
def test_the_live_line_is_one_line_of_any_terminal(width, blocks_used):
    report = at(
        333, test_metrics={"accuracy": 0.93}, blocks_used=blocks_used, seconds_left=90_000.0
    )
    assert len(live_line(report, width)) <= width


def test_eighty_columns_hold_every_field():
    line = live_line(at(500), 80)
    for field in (" 500/1000", "━━━", "1:23 left", "loss 0.523", "acc 94.1%", "H 1.92"):
        assert field in line
    assert line.endswith("blocks 7-6-7 12.3k ex/s")


def test_a_wide_terminal_gets_full_words():
    line = live_line(at(100, test_metrics={"accuracy": 0.93}), 160)
    assert "accuracy 94.1 % (test 93.0 %)  entropy 1.92 nats  blocks 7-6-7" in line
    assert line.endswith("12,345 examples/s")


def test_regression_shows_its_loss_and_the_error_of_the_test():
    before, after = at(1, metrics={}), at(2, metrics={}, test_metrics={"mse": 0.0375})
    assert "left  loss 0.523  entropy 1.92 nats" in live_line(before, 160)
    assert "loss 0.523  test mse 0.0375  entropy 1.92 nats" in live_line(after, 160)
    assert "loss 0.523 test 0.0375 entropy 1.92" in live_line(after, 90)
    assert "loss 0.5234, test mse 0.0375, policy" in log_line(after, total_steps=9)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("width", [80, 200])
def test_numbers_that_are_not_finite_are_shown_as_they_are(value, width):
    names = ("loss", "policy_entropy", "examples_per_second", "seconds_left")
    values = dict.fromkeys(names, value) | {"metrics": {"accuracy": value}}
    line = live_line(at(100, **values), width)
    assert f"loss {value}" in line
    assert "nan left" in line


def test_a_terminal_shows_phases_notices_and_the_newest_report():
    console = terminal(80)
    with Progress(1000, console=console) as shown:
        shown.phase("compiling the training step")
        shown.update(REPORT)
        shown.say("a notice")
        shown.phase("drawing the figures")
    text = console.file.getvalue()
    assert "compiling the training step (0 s)" in text
    assert "a notice\n" in text
    assert "drawing the figures (0 s)" in text
    # What stays on the screen is the line of the newest report.
    assert text.rstrip("\n\r\x1b[?25h").endswith("blocks 7-6-7 12.3k ex/s")
