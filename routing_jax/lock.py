"""A lock that ends with the process that holds it, however that ends."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from routing_jax.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What file systems answer that know no locks: there, nothing keeps two processes apart."""


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds the lock file at `path` during the block.

    The system gives the lock back when the process ends, so a killed one leaves a file but no
    lock. The file holds the number of the process, for the message to the others.

    Raises:
        UserError: Another process holds the lock.
        OSError: The file cannot be opened.
    """
    descriptor = _open_locked(path)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        # Removed while it is held: whoever opened it meanwhile sees that it is no longer there.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _open_locked(path: Path) -> int:
    """A descriptor of the file that is at `path`, with the lock on it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor, path)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        raise UserError(
            f"--workdir={path.parent} is in use: process {holder} is training in it. Wait for it, "
            f"stop it (kill {holder}), or choose another --workdir; --mode=evaluate may be used "
            "meanwhile."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`: its holder may just have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
