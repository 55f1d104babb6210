"""TensorBoard's event files, written at once.

tensorboardX's own writer works in a thread: events would wait in its queue behind the back of a
checkpoint, and a full disk would stop the thread and then, once the queue is full, the run.
"""

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from routing_jax.files import naming


class EventsFile:
    """A new event file in a directory.

    Args:
        directory: of the event files; made if it is not there.
        resume_step: readers drop what earlier files hold behind this step; None for a first file.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(self, directory: Path, *, resume_step: int | None) -> None:
        directory.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
        if resume_step is not None:
            # Two files may be begun in one second, and readers take them in the order of names.
            name += f".after-{resume_step}"
        self._path = directory / name
        self._file = self._path.open("wb")
        self._append(Event(file_version="brain.Event:2"))
        if resume_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._append(Event(step=resume_step + 1, session_log=start))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Hands the scalars of a step to the system; raises OSError if it does not take them."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._append(Event(step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Closes the file."""
        with naming(self._path):
            self._file.close()

    def _append(self, event: Event) -> None:
        event.wall_time = time.time()
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        with naming(self._path):
            self._file.write(length + _checksum(length) + content + _checksum(content))
            self._file.flush()


def _checksum(content: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(content))
