"""Where training halts, and how long its segments are."""

import time

import pytest

from routing_jax.training.pace import Elapsed, Pace, Schedule, Stopwatch


def test_a_run_halts_at_evaluations_checkpoints_and_its_end():
    schedule, step, halts = Schedule(total=23, eval_every=10, checkpoint_every=7), 0, []
    while step < 23:
        step += schedule.steps_to_halt(step)
        halts.append((step, schedule.evaluates(step), schedule.saves(step)))
    assert halts == [
        (7, False, True),
        (10, True, False),
        (14, False, True),
        (20, True, False),
        (21, False, True),
        (23, True, True),
    ]


@pytest.mark.parametrize(("step", "left"), [(0, 3), (9, 3), (10, 2), (20, 1), (22, 1)])
def test_evaluations_to_come(step, left):
    assert Schedule(total=23, eval_every=10, checkpoint_every=7).evaluations_after(step) == left


def test_segments_grow_to_about_a_second():
    pace = Pace()
    assert pace.next_length(100) == 1
    pace.stepped(1, 0.05)  # the first step warms up and does not count
    assert pace.next_length(100) == 10
    pace.stepped(10, 0.2)
    assert pace.next_length(100) == 50  # 20 ms a step
    assert pace.next_length(7) == 7
    pace.stepped(50, 3.0)  # 60 ms a step: the pace is now (20 + 60) / 2 = 40 ms
    assert pace.next_length(100) == 25


def test_a_slow_first_step_keeps_the_second_segment_short():
    pace = Pace()
    pace.stepped(1, 0.4)
    assert pace.next_length(100) == 2
    pace = Pace()
    pace.stepped(1, 5.0)
    assert pace.next_length(100) == 1


def test_time_left_counts_steps_and_evaluations():
    pace = Pace()
    pace.stepped(1, 5.0)
    pace.stepped(10, 1.0)
    pace.evaluated(2.0)
    # 13 steps of 0.1 s, and the evaluations after steps 20 and 23.
    left = pace.seconds_left(10, Schedule(total=23, eval_every=10, checkpoint_every=7))
    assert left == pytest.approx(1.3 + 2 * 2.0)


def test_a_stopwatch_goes_on_from_earlier_starts():
    before = Elapsed(
        total=100.0, compile=5.0, first_step=8.0, train=80.0, evaluation=10.0, save=1.0
    )
    watch = Stopwatch(time.monotonic() - 1.0, before)
    watch.compiled(2.0)
    watch.stepped(3.0)
    watch.evaluated(4.0)
    watch.saved(0.5)
    watch.waited(0.25)
    elapsed = watch.read()
    assert elapsed.total == pytest.approx(101.0, abs=0.5)
    assert elapsed[1:] == (7.0, 8.0, 87.0, 14.0, 1.5, 0.25)


def test_segments_take_the_seconds_that_are_asked_for():
    pace = Pace(segment_seconds=5.0)
    pace.stepped(pace.next_length(1000), 0.1)
    pace.stepped(10, 1.0)
    assert pace.next_length(1000) == 50
