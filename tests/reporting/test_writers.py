import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from routing_jax.reporting.writers import MetricsWriter, read_records
from routing_jax.workdir import Workdir


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    return Workdir(tmp_path)


def log_steps(workdir: Workdir, steps: range, *, resume_step: int | None = None) -> None:
    with MetricsWriter(workdir, resume_step=resume_step) as writer:
        for step in steps:
            writer.write(step, {"loss": step / 10})


def events(workdir: Workdir) -> list[Event]:
    """All events, file by file: a TFRecord is length, checksum, content, checksum."""
    found = []
    for path in sorted(workdir.tensorboard_dir.iterdir(), key=lambda path: len(path.name)):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def scalars(workdir: Workdir) -> list[tuple[str, int, float]]:
    return [
        (value.tag, event.step, round(value.simple_value, 6))
        for event in events(workdir)
        for value in event.summary.value
    ]


def test_a_record_is_one_line_of_valid_json_and_scalars(workdir):
    with MetricsWriter(workdir, resume_step=None) as writer:
        record = {"loss": np.float32(0.5), "used": [7, 6], "entropy": np.array([1.5, math.nan])}
        writer.write(20, record)
        lines = workdir.metrics_path.read_text().splitlines()  # flushed before the end
    assert lines == ['{"step": 20, "loss": 0.5, "used": [7, 6], "entropy": [1.5, null]}']
    assert scalars(workdir) == [
        ("loss", 20, 0.5),
        ("used/0", 20, 7.0),
        ("used/1", 20, 6.0),
        ("entropy/0", 20, 1.5),
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_what_is_not_finite_becomes_null_and_a_gap(workdir, value):
    with MetricsWriter(workdir, resume_step=None) as writer:
        writer.write(1, {"loss": value})
    assert read_records(workdir.metrics_path) == [{"step": 1, "loss": None}]
    assert scalars(workdir) == []


def test_a_fresh_start_forgets_what_was_there(workdir):
    log_steps(workdir, range(1, 4))
    log_steps(workdir, range(7, 8))
    assert read_records(workdir.metrics_path) == [{"step": 7, "loss": 0.7}]
    assert scalars(workdir) == [("loss", 7, 0.7)]


def test_resuming_keeps_the_records_up_to_the_checkpoint(workdir):
    log_steps(workdir, range(1, 5))
    log_steps(workdir, range(3, 6), resume_step=2)
    steps = [record["step"] for record in read_records(workdir.metrics_path)]
    assert steps == [1, 2, 3, 4, 5]


def test_resuming_tells_tensorboard_to_drop_later_events(workdir):
    log_steps(workdir, range(1, 5))
    log_steps(workdir, range(3, 4), resume_step=2)
    starts = [event.step for event in events(workdir) if event.session_log.status == 1]
    assert starts == [3]
    assert [step for _, step, _ in scalars(workdir)] == [1, 2, 3, 4, 3]


def test_a_torn_last_line_is_dropped(workdir):
    log_steps(workdir, range(1, 3))
    with workdir.metrics_path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert [record["step"] for record in read_records(workdir.metrics_path)] == [1, 2]
    log_steps(workdir, range(4, 5), resume_step=3)
    lines = workdir.metrics_path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 4]


def test_resuming_without_a_log_begins_one(workdir):
    log_steps(workdir, range(3, 4), resume_step=2)
    assert read_records(workdir.metrics_path) == [{"step": 3, "loss": 0.3}]
