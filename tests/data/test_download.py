"""Downloads from a web server on this machine: cuts, faults, checksums, and a silent network."""

import hashlib
import socket
import threading
import time

import numpy as np
import pytest

from routing_jax.data import download
from routing_jax.data.download import Patience, RemoteFile, fetch, reachable
from routing_jax.errors import UserError

CONTENT = np.random.default_rng(0).bytes(700_001)
FILE = RemoteFile(
    "https://example.org/data/numbers.gz",
    len(CONTENT),
    "sha256",
    hashlib.sha256(CONTENT).hexdigest(),
)
PATH = "/mnist/numbers.gz"
HALF = len(CONTENT) // 2


@pytest.fixture
def get(tmp_path, server):
    """Downloads the file; all that it says is kept in `get.said`, its reports in `get.reports`."""
    server.files[PATH] = CONTENT

    def run(file=FILE, attempts=3):
        return fetch(
            file,
            tmp_path,
            set_name="mnist",
            say=run.said.append,
            report=lambda *numbers, unit: run.reports.append((*numbers, unit)),
            patience=Patience(attempts=attempts, first_wait=0.01, timeout=0.3),
        )

    run.said, run.reports = [], []
    return run


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_and_its_progress_told(get, server, tmp_path):
    path = get()
    assert (path, path.read_bytes()) == (tmp_path / "numbers.gz", CONTENT)
    assert listing(tmp_path) == ["numbers.gz"]
    assert server.requests == [("GET", PATH, None)]
    assert get.said == [f"downloading {server.address}{PATH} to {tmp_path}"]
    done = [report[1] for report in get.reports]
    assert done == sorted(done)
    assert get.reports[-1] == (
        "downloading numbers.gz",
        len(CONTENT),
        len(CONTENT),
        "bytes",
    )


def test_the_address_is_the_official_one_without_a_mirror(monkeypatch):
    monkeypatch.delenv(download.MIRROR_VARIABLE)
    assert FILE.address("mnist") == "https://example.org/data/numbers.gz"
    monkeypatch.setenv(download.MIRROR_VARIABLE, "http://mirror/of/data/")
    assert FILE.address("mnist") == "http://mirror/of/data/mnist/numbers.gz"


def test_a_file_that_is_there_is_not_downloaded_again(get, server):
    get()
    get()
    assert len(server.requests) == len(get.said) == 1


def test_another_file_under_its_name_is_replaced(get, tmp_path):
    (tmp_path / "numbers.gz").write_bytes(b"other")
    assert get().read_bytes() == CONTENT


def test_a_cut_download_goes_on_where_it_was_cut(get, server):
    server.faults = ["cut", "cut"]
    assert get().read_bytes() == CONTENT
    quarter = HALF + (len(CONTENT) - HALF) // 2
    ranges = [wanted for _, _, wanted in server.requests]
    assert ranges == [None, f"bytes={HALF}-", f"bytes={quarter}-"]
    cut = f"the connection was cut after {HALF:,} of {len(CONTENT):,} bytes"
    assert get.said[1] == f"{cut}; attempt 2 of 3 in 0.01 s"
    assert len(get.said) == 3


def test_what_an_earlier_download_left_is_used(get, server, tmp_path):
    (tmp_path / "numbers.gz.part").write_bytes(CONTENT[:1000])
    assert get().read_bytes() == CONTENT
    assert server.requests == [("GET", PATH, "bytes=1000-")]


def test_what_is_complete_is_not_asked_for(get, server, tmp_path):
    (tmp_path / "numbers.gz.part").write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT
    assert server.requests == []


def test_without_ranges_a_download_starts_over(get, server, tmp_path):
    server.ranges = False
    (tmp_path / "numbers.gz.part").write_bytes(b"x" * 1000)
    assert get().read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 1])
@pytest.mark.parametrize("known", [True, False])
def test_a_wrong_beginning_is_thrown_away(get, tmp_path, size, known):
    (tmp_path / "numbers.gz.part").write_bytes(b"x" * size)
    file = FILE if known else RemoteFile(FILE.url, None, "sha256", FILE.checksum)
    assert get(file).read_bytes() == CONTENT
    assert [text.partition(";")[0] for text in get.said[1:]] == [
        "what arrived does not have the published sha256 checksum"
    ]


def test_another_file_than_the_published_one_is_refused(get, server, tmp_path):
    server.files[PATH] = CONTENT[:-1] + b"!"
    with pytest.raises(UserError) as caught:
        get()
    assert str(caught.value) == (
        f"{server.address}{PATH} cannot be downloaded: what arrived does not have the published "
        "sha256 checksum (3 attempts). Starting again goes on from what has arrived."
    )
    assert len(server.requests) == 3
    assert listing(tmp_path) == []


def test_md5_is_understood(get):
    file = RemoteFile(FILE.url, None, "md5", hashlib.md5(CONTENT).hexdigest())
    assert get(file).read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [500, 503, 429, "hang"])
def test_a_passing_fault_is_retried(get, server, fault):
    server.faults = [fault]
    assert get().read_bytes() == CONTENT
    assert len(server.requests) == 2
    assert len(get.said) == 2


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_lasting_fault_is_told_at_once(get, server, status):
    server.faults = [status]
    with pytest.raises(UserError, match=f"cannot be downloaded: HTTP status {status} "):
        get()
    assert len(server.requests) == 1


def test_a_closed_port_is_told(get, tmp_path, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv(download.MIRROR_VARIABLE, address)
        with pytest.raises(UserError) as caught:
            get(attempts=2)
    assert str(caught.value).startswith(f"{address}{PATH} cannot be downloaded: [Errno ")
    assert "refused (2 attempts). " in str(caught.value)
    assert listing(tmp_path) == []


def test_a_mirror_that_is_no_address_is_told(get, monkeypatch):
    monkeypatch.setenv(download.MIRROR_VARIABLE, "nonsense")
    with pytest.raises(UserError, match="^nonsense/mnist/numbers.gz is no web address: "):
        get()


def test_a_full_disk_is_not_taken_for_the_network(get, server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_copy", full)
    with pytest.raises(OSError, match="No space left"):
        get()
    assert len(server.requests) == 1


# The probe.


def test_the_probe_asks_without_downloading(server):
    server.files[PATH] = CONTENT
    assert reachable(f"{server.address}{PATH}", seconds=3) == ""
    assert server.requests == [("HEAD", PATH, None)]


def test_the_probe_tells_why_not(server):
    assert reachable(f"{server.address}/nothing", seconds=3) == "HTTP status 404 Not Found"
    assert "nonsense" in reachable("nonsense", seconds=3)


def test_a_server_that_does_not_answer_costs_no_more_than_told():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        before = time.monotonic()
        assert reachable(address, seconds=0.2) != ""
        assert time.monotonic() - before < 1


def test_a_name_server_that_does_not_answer_costs_no_more_than_told(monkeypatch):
    answered = threading.Event()

    def wait(*_, **__):
        answered.wait(10)
        raise socket.gaierror("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    before = time.monotonic()
    assert reachable("http://example.org/file", seconds=0.2) == "no answer within 0.2 s"
    assert time.monotonic() - before < 1
    answered.set()
    for thread in threading.enumerate():
        if thread.name == "network probe":
            assert thread.daemon
            thread.join(5)
