"""Downloads of original files: resumed where they were cut, retried, and bound to checksums."""

import hashlib
import http.client
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from routing_jax.data.progress import Report
from routing_jax.errors import UserError

MIRROR_VARIABLE = "ROUTING_JAX_MIRROR"
"""Names a web address that has the original files as <address>/<set>/<file>; for closed networks,
and for tests. Checksums bind what comes from there like anything else."""

_AT_ONCE = 1 << 18
_NETWORK_FAULTS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)
_WORTH_RETRYING = (408, 425, 429, 500, 502, 503, 504)
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web, and how to tell that it came through whole."""

    url: str
    size: int | None
    """In bytes, where it is published."""
    algorithm: str
    """Of the checksum: "sha256" or "md5", as published."""
    checksum: str

    @property
    def name(self) -> str:
        """What it is called on disk."""
        return self.url.rpartition("/")[2]

    def address(self, set_name: str) -> str:
        """Where to get it: from the mirror if one is named, else from its authors."""
        mirror = os.environ.get(MIRROR_VARIABLE, "").rstrip("/")
        return f"{mirror}/{set_name}/{self.name}" if mirror else self.url


@dataclass(frozen=True)
class Patience:
    """How long to keep trying."""

    attempts: int = 5
    first_wait: float = 1.0
    """Seconds before the second attempt; they double from one to the next."""
    timeout: float = 30.0
    """Seconds without a byte after which an attempt counts as failed."""


PATIENT = Patience()


class _Failed(Exception):
    """An attempt failed; another one may not."""


def fetch(
    file: RemoteFile,
    folder: Path,
    *,
    set_name: str,
    say: Callable[[str], None],
    report: Report,
    patience: Patience = PATIENT,
) -> Path:
    """Downloads a file unless it is there already.

    What has arrived stays in `<name>.part` until it is complete, so that a later call goes on from
    there, after a fault as well as after a kill.

    Args:
        file: What to download.
        folder: Where to put it; it exists.
        set_name: The set it belongs to.
        say: Receives that a download begins, and why another attempt is made.
        report: Receives the bytes done.
        patience: How long to keep trying.

    Raises:
        UserError: It cannot be had, or is not the published file.
        OSError: It cannot be written.
    """
    target = folder / file.name
    if target.exists() and _has_checksum(target, file):
        return target
    part = folder / f"{file.name}.part"
    address = file.address(set_name)
    say(f"downloading {address} to {folder}")
    failure = ""
    for attempt in range(patience.attempts):
        if attempt:
            wait = patience.first_wait * 2 ** (attempt - 1)
            say(f"{failure}; attempt {attempt + 1} of {patience.attempts} in {wait:g} s")
            time.sleep(wait)
        try:
            _download_rest(address, part, file.size, patience.timeout, report)
            _verify(part, file)
        except _Failed as error:
            failure = str(error)
        else:
            os.replace(part, target)
            return target
    raise UserError(
        f"{address} cannot be downloaded: {failure} ({patience.attempts} attempts). Starting again "
        "goes on from what has arrived."
    )


def reachable(address: str, *, seconds: float) -> str:
    """Asks whether an address answers. Returns "" if so, else why not; takes no longer than told.

    A thread asks, because a name server that does not answer holds its caller for minutes, whatever
    timeout was set. The thread is left behind then; it ends by itself and keeps no process alive.
    """
    answers: list[str] = []
    thread = threading.Thread(
        target=lambda: answers.append(_ask(address, seconds)), daemon=True, name="network probe"
    )
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f"no answer within {seconds:g} s"


def _ask(address: str, seconds: float) -> str:
    try:
        request = urllib.request.Request(address, method="HEAD")
        urllib.request.urlopen(request, timeout=seconds).close()
    except (*_NETWORK_FAULTS, OSError, ValueError) as error:
        return _words(error)
    return ""


def _download_rest(
    address: str, part: Path, size: int | None, timeout: float, report: Report
) -> None:
    """Appends what is missing to `part`; raises _Failed if that does not succeed this time."""
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have == size:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        request = urllib.request.Request(address, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout) as response:
            resumed = response.status == http.client.PARTIAL_CONTENT
            start = have if resumed else 0
            total = start + (response.length or 0)
            with part.open("ab" if resumed else "wb") as out:
                done = _copy(
                    response, out, start, size or total, report, f"downloading {part.stem}"
                )
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE:  # there is nothing behind what we have
            return
        if error.code in _WORTH_RETRYING:
            raise _Failed(_words(error)) from error
        raise UserError(f"{address} cannot be downloaded: {_words(error)}.") from error
    except _NETWORK_FAULTS as error:
        raise _Failed(_words(error)) from error
    except ValueError as error:  # of the address; only a mirror's can be wrong
        raise UserError(f"{address} is no web address: {error}.") from error
    if done < total:
        raise _Failed(f"the connection was cut after {done:,} of {total:,} bytes")


def _copy(
    response: http.client.HTTPResponse,
    out: BinaryIO,
    done: int,
    total: int,
    report: Report,
    activity: str,
) -> int:
    """Copies to the end of the response; returns how long the file is then."""
    while chunk := response.read(_AT_ONCE):
        out.write(chunk)
        done += len(chunk)
        report(activity, done, max(total, done), unit="bytes")
    return done


def _verify(part: Path, file: RemoteFile) -> None:
    """Raises _Failed, and starts over, if the file is not the published one."""
    if not _has_checksum(part, file):
        part.unlink()
        raise _Failed(f"what arrived does not have the published {file.algorithm} checksum")


def _has_checksum(path: Path, file: RemoteFile) -> bool:
    with path.open("rb") as content:
        return hashlib.file_digest(content, file.algorithm).hexdigest() == file.checksum


def _words(error: Exception) -> str:
    """A network fault in words that fit into a sentence."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code} {error.reason}"
    reason = getattr(error, "reason", error)
    return str(reason) or type(reason).__name__
