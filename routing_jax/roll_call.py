"""A roll call before processes that were started by hand join each other. Imports no JAX.

JAX's own runtime does the work from then on, but it ends a process with a stack trace where the
address is wrong, a process is missing, or two have the same number. Here each gets one message.
"""

import contextlib
import os
import socket
import time

from routing_jax.devices import Processes
from routing_jax.errors import UserError

_SECONDS_BETWEEN_TRIES = 0.2
_SECONDS_TO_SPEAK = 5.0
"""For whoever has connected; else it was none of ours."""
_LONGEST = 4096
_ALL_HERE = "all here"


def call_roll(asked: Processes) -> None:
    """Returns when all processes are there.

    Raises:
        UserError: Process 0 does not answer, others do not come, two have the same number, or they
            expect different numbers of processes. All that are there get to know.
    """
    deadline = time.monotonic() + asked.join_seconds
    outcome = _call(asked, deadline) if asked.process_id == 0 else _answer(asked, deadline)
    if outcome != _ALL_HERE:
        raise UserError(f"--coordinator_address={asked.coordinator_address}: {outcome}")


def _call(asked: Processes, deadline: float) -> str:
    """Process 0: hears every other one, and tells all of them what comes of it."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(_listen(asked))
        except OSError as error:
            return (
                f"process 0 cannot listen there ({os.strerror(error.errno)}). Is another process 0 "
                "running? Give each process its own --process_id, or name another port."
            )
        heard: list[socket.socket] = []
        outcome = _hear_all(asked, server, heard, stack, deadline)
        for connection in heard:
            with contextlib.suppress(OSError):  # it has gone; its own output says why
                connection.sendall(f"{outcome}\n".encode())
                connection.recv(1)  # so that it closes first, and the port is free at once
    return outcome


def _hear_all(
    asked: Processes,
    server: socket.socket,
    heard: list[socket.socket],
    stack: contextlib.ExitStack,
    deadline: float,
) -> str:
    """What comes of the roll call; `heard` gets the connections to tell it to."""
    missing = set(range(1, asked.num_processes))
    while missing:
        server.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            connection = stack.enter_context(server.accept()[0])
        except TimeoutError:
            return (
                f"process {', '.join(map(str, sorted(missing)))} of {asked.num_processes} did not "
                f"come within {asked.join_seconds} s. Start all of them with the same command; "
                "--join_seconds waits longer."
            )
        spoken = _hear(connection)
        if spoken is None:
            continue
        heard.append(connection)
        number, processes = spoken
        if processes != asked.num_processes:
            return (
                f"process {number} was started with --num_processes={processes}, process 0 with "
                f"--num_processes={asked.num_processes}. Start all of them alike."
            )
        if number not in missing:
            return (
                f"two processes were started with --process_id={number}. Give each its own, from 0 "
                f"to {asked.num_processes - 1}."
            )
        missing.remove(number)
    return _ALL_HERE


def _hear(connection: socket.socket) -> tuple[int, int] | None:
    """The number of a process and of all it expects; None from a stranger."""
    try:
        words = _read_line(connection, _SECONDS_TO_SPEAK).split()
        name, number, processes = words
        return (int(number), int(processes)) if name == "process" else None
    except (OSError, ValueError):
        return None


def _answer(asked: Processes, deadline: float) -> str:
    """Any other process: tells process 0 its number, and hears what comes of it."""
    try:
        with _connect(asked, deadline) as connection:
            hello = f"process {asked.process_id} {asked.num_processes}\n"
            connection.sendall(hello.encode())
            return _read_line(connection, asked.join_seconds)
    except OSError as error:
        return (
            f"process 0 does not answer there within {asked.join_seconds} s "
            f"({error.strerror or error}). Start it, or name the right address; --join_seconds "
            "waits longer."
        )
    except ValueError:
        return "process 0 has ended, and its own output says why."


def _connect(asked: Processes, deadline: float) -> socket.socket:
    while True:
        try:
            left = max(deadline - time.monotonic(), 0.001)
            return socket.create_connection(host_and_port(asked), timeout=left)
        except OSError:
            if time.monotonic() + _SECONDS_BETWEEN_TRIES > deadline:
                raise
            time.sleep(_SECONDS_BETWEEN_TRIES)


def _listen(asked: Processes) -> socket.socket:
    """A server at the port, as JAX's own: on all addresses of this machine."""
    _, port = host_and_port(asked)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def host_and_port(asked: Processes) -> tuple[str, int]:
    """Where process 0 listens."""
    host, _, port = asked.coordinator_address.rpartition(":")
    return host.strip("[]"), int(port)


def _read_line(connection: socket.socket, seconds: float) -> str:
    """A line without its end; raises ValueError where the other side has hung up before it."""
    connection.settimeout(seconds)
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST:
        received = connection.recv(_LONGEST)
        if not received:
            raise ValueError("hung up")
        line += received
    return line.decode().rstrip("\n")
