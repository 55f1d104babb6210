"""The roll call of processes, here threads of this one: who is missing is named."""

import re
import socket
import threading
import time

import pytest

from routing_jax.devices import Processes
from routing_jax.errors import UserError
from routing_jax.roll_call import call_roll


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def call(address, *processes, seconds=10):
    """What each of the processes, given as (number, of how many), is told; "" if all came."""
    told = {}

    def one(place, number, of):
        try:
            call_roll(Processes(address, of, number, seconds))
            told[place] = ""
        except UserError as error:
            told[place] = str(error)

    threads = [threading.Thread(target=one, args=(i, *p)) for i, p in enumerate(processes)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    return [told[place] for place in range(len(processes))]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_come_in_any_order_and_the_port_is_free_again(address, order):
    for _ in range(2):
        assert call(address, *((number, 3) for number in order)) == ["", "", ""]


def test_one_alone_need_not_wait(address):
    assert call(address, (0, 1)) == [""]


def test_a_coordinator_that_does_not_answer(address):
    began = time.monotonic()
    (told,) = call(address, (1, 2), seconds=1)
    assert 0.5 < time.monotonic() - began < 5
    assert told == (
        f"--coordinator_address={address}: process 0 does not answer there within 1 s (Connection "
        "refused). Start it, or name the right address; --join_seconds waits longer."
    )


def test_processes_that_do_not_come(address):
    told = call(address, (0, 4), (2, 4), seconds=1)
    assert told == 2 * [
        f"--coordinator_address={address}: process 1, 3 of 4 did not come within 1 s. Start all of "
        "them with the same command; --join_seconds waits longer."
    ]


def test_two_processes_with_one_number(address):
    told = call(address, (0, 3), (1, 3), (1, 3))
    assert told == 3 * [
        f"--coordinator_address={address}: two processes were started with --process_id=1. Give "
        "each its own, from 0 to 2."
    ]


def test_two_that_are_the_first(address):
    first, second = call(address, (0, 2), (0, 2), seconds=1)
    assert re.search("process 1 of 2 did not come within 1 s", first)
    assert second == (
        f"--coordinator_address={address}: process 0 cannot listen there (Address already in use). "
        "Is another process 0 running? Give each process its own --process_id, or name another "
        "port."
    )


def test_processes_that_expect_different_numbers(address):
    told = call(address, (0, 2), (1, 3))
    assert told == 2 * [
        f"--coordinator_address={address}: process 1 was started with --num_processes=3, process 0 "
        "with --num_processes=2. Start all of them alike."
    ]


def test_a_stranger_at_the_port_is_not_counted(address):
    host, port = address.split(":")

    def knock():
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")

    thread = threading.Timer(0.2, knock)
    thread.start()
    told = []
    late = threading.Timer(0.6, lambda: told.extend(call(address, (1, 2))))
    late.start()
    assert call(address, (0, 2)) == [""]
    late.join()
    assert told == [""]
