"""What a number in results.json was measured with: versions, commit, memory."""

import functools
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from routing_jax import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "routing_jax")
GIT_SECONDS = 2.0


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that decide a run; None for one not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


@functools.cache
def git_commit() -> str | None:
    """The commit of the git checkout that holds this package; None for an installed copy.

    It is that of the first call, which a training run makes before its first step: a checkout may
    move on while a run of it trains.

    Never raises: no git, no checkout, no commit yet and a git that hangs all give None.
    """
    package = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(package), "rev-parse", "HEAD", "--show-prefix"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    commit, _, prefix = answer.stdout.strip().partition("\n")
    # An environment inside some other checkout must not lend the package that one's commit.
    return commit if prefix == f"{package.name}/" else None


@functools.cache
def program_version() -> str:
    """The version of this package, with the commit where it is a checkout: "0.1.0 (1a2b3c4d5e)"."""
    commit = git_commit()
    return __version__ if commit is None else f"{__version__} ({commit[:10]})"


def peak_memory_bytes() -> int | None:
    """The largest resident memory of this process so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    # Linux hands ru_maxrss on to a new program: it would hold what the parent took when it forked.
    own = _peak_of_program()
    if own is not None:
        return own
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_of_program() -> int | None:
    """What Linux tells of the program that runs now; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(sizes[0]) if sizes else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
