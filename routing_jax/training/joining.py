"""Starting as one of several processes: finding the others, and comparing what was asked for."""

import contextlib
import json
import os
import re
import socket
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint.multihost import get_barrier_sync_fn

from routing_jax import config as config_lib
from routing_jax.cli import Command
from routing_jax.devices import Processes
from routing_jax.errors import RunError, UserError
from routing_jax.roll_call import host_and_port
from routing_jax.training import processes

_HEARTBEAT_SECONDS = 20
"""After so long without a sign of life a process counts as lost, and the others end."""
_SHUTDOWN_SECONDS = 120
"""For the first process to write results and figures while the others wait to end."""
_SECONDS_TO_ANSWER = 5
_OWN_FIELDS = ("data.dir", "data.cache_dir")
"""Each machine may have its data elsewhere."""


@contextlib.contextmanager
def joined(command: Command) -> Iterator[None]:
    """Makes this process one of those that the command names, during the block.

    The first process holds the work directory meanwhile.

    Raises:
      UserError: the others cannot be found, were started otherwise, or the work directory cannot be
        used.
      RunError: one of the others has gone.
    """
    asked = command.devices.processes
    _join(asked)
    try:
        _require_same(_asked(command))
        with _settled_workdir(command):
            yield
    except UserError as error:
        # A checkpoint that all write fails as what is told below does, and its message says so.
        if _needs_all(error.__cause__):
            if lost := _lost(asked):
                _leave(_loss(lost))
        elif _missing():  # it is this process's own trouble
            _leave(error)
        jax.distributed.shutdown()
        raise
    except (jax.errors.JaxRuntimeError, ValueError):  # of compiled programs, and of Gloo
        lost = _lost(asked)
        if not lost:
            raise
        _leave(_loss(lost))
    jax.distributed.shutdown()


def _join(asked: Processes) -> None:
    # Signals are ours; JAX would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    by_hand = asked.coordinator_address is not None
    try:
        jax.distributed.initialize(
            asked.coordinator_address,
            asked.num_processes,
            asked.process_id,
            cluster_detection_method="deactivate" if by_hand else None,
            initialization_timeout=asked.join_seconds,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
        )
    except ValueError as error:
        raise UserError(
            "--distributed: neither SLURM nor a TPU pod is found here; name "
            "--coordinator_address=HOST:PORT, --num_processes=N and --process_id=I instead."
        ) from error


def _needs_all(cause: BaseException | None) -> bool:
    """Whether what failed takes all processes, and so fails where one of them has gone."""
    return isinstance(cause, jax.errors.JaxRuntimeError) or "Gloo" in str(cause)


def _lost(asked: Processes) -> str:
    """Who does not answer any more, such as "1, 3"; empty where all do.

    A computation that hangs, where another one fails, is ended by JAX itself: after
    `_HEARTBEAT_SECONDS` and in its own words, which name the process too.
    """
    if asked.coordinator_address is not None:
        try:
            socket.create_connection(host_and_port(asked), timeout=_SECONDS_TO_ANSWER).close()
        except OSError:
            return "0"
    return _missing()


def _missing() -> str:
    """The processes that do not come here within a few seconds, such as "1, 3"."""
    try:
        get_barrier_sync_fn()(key="who is there", timeout_ms=1000 * _SECONDS_TO_ANSWER)
    except jax.errors.JaxRuntimeError as error:
        _, _, names = str(error).partition("timed out task names:")
        return ", ".join(re.findall(r"^[0-9]+$", names, re.MULTILINE))
    return ""


def _loss(lost: str) -> RunError:
    return RunError(
        f"Process {lost} of {jax.process_count()} is lost: it was killed, or cannot be reached any "
        "more. The same command, in all processes, goes on from the last whole checkpoint."
    )


def _leave(error: UserError) -> NoReturn:
    """Ends this process at once: the usual end would wait for the others, which wait for it."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_status)


def _asked(command: Command) -> dict[str, object]:
    """What has to be the same for all processes, by name."""
    values = config_lib.flatten(command.config)
    return {
        "--mode": command.mode,
        "--mesh": command.devices.mesh,
        "--workdir": str(command.workdir.path.absolute()),
        "--overwrite": command.overwrite,
        **{name: value for name, value in values.items() if name not in _OWN_FIELDS},
    }


def _require_same(asked: Mapping[str, object]) -> None:
    """Raises UserError where another process was asked for something else than the first."""
    text = json.dumps(asked).encode()
    told = multihost_utils.process_allgather(np.array([len(text), zlib.crc32(text)], np.uint32))
    if (told == told[0]).all():
        return
    padded = np.frombuffer(text.ljust(int(told[:, 0].max())), np.uint8)
    first, *others = [
        json.loads(row.tobytes()) for row in multihost_utils.process_allgather(padded)
    ]
    lines = [
        f"\n  {name}: {other.get(name)!r} in process {number}, {value!r} in process 0"
        for number, other in enumerate(others, start=1)
        for name, value in first.items()
        if other.get(name) != value
    ]
    raise UserError(
        f"The processes were not started alike:{''.join(lines)}\nStart all of them with the same "
        "command, but for --process_id."
    )


@contextlib.contextmanager
def _settled_workdir(command: Command) -> Iterator[None]:
    """`command.settled_workdir` in the first process, for which the others wait."""
    problem = None
    with contextlib.ExitStack() as stack:
        if processes.is_first():
            try:
                stack.enter_context(command.settled_workdir())
            except UserError as error:
                problem = error
        if multihost_utils.process_allgather(np.array(problem is not None)).any():
            raise problem or UserError("Process 0 cannot use its work directory and says why.")
        yield
