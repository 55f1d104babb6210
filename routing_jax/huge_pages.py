"""Large pages of memory for a training program, on Linux with glibc. Imports no JAX.

A training step takes some hundred megabytes from the C library and gives them back. In pages of 4
KiB that is a fault for each of them in every step; where the kernel gives large pages to those who
ask (`madvise`), glibc can ask for them, if it is told to before the process starts.
`benchmarks.huge_pages` measures what it is worth.
"""

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_TUNABLES = "GLIBC_TUNABLES"
_SETTING = "glibc.malloc.hugetlb"
_FIRST_VERSION = (2, 35)
"""Of glibc, that knows the setting."""
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Starts the program once more with the setting, in the same process, where that is useful.

    To be called by a script before it does anything. It does nothing where the kernel or the C
    library has no such pages, where the user has said what to do with them, and in a debugger or a
    notebook.
    """
    tunables = with_huge_pages(
        os.environ.get(_TUNABLES, ""), glibc=_glibc(), kernel=_read_if_there(_KERNEL)
    )
    if tunables is None or not is_plain_script(sys.orig_argv, sys.argv) or sys.gettrace():
        return
    environment = os.environ | {_TUNABLES: tunables}
    with contextlib.suppress(OSError):  # a sandbox may forbid it; then all goes on as it is
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def with_huge_pages(tunables: str, *, glibc: str, kernel: str) -> str | None:
    """The tunables of glibc that ask for large pages, or None where nothing is to be changed.

    Args:
      tunables: those of now, `name=value` with colons between.
      glibc: name and version of the C library, "" for another one.
      kernel: what the kernel says of large pages, its choice in brackets.
    """
    version = re.fullmatch(r"glibc (\d+)\.(\d+).*", glibc)
    if version is None or tuple(map(int, version.groups())) < _FIRST_VERSION:
        return None
    if "[madvise]" not in kernel or _SETTING in tunables:
        return None
    return ":".join(filter(None, [tunables, f"{_SETTING}=1"]))


def is_plain_script(started_as: Sequence[str], arguments: Sequence[str]) -> bool:
    """Whether Python was started with a script and no more than options without values.

    Args:
      started_as: `sys.orig_argv`.
      arguments: `sys.argv`.
    """
    options = started_as[1 : len(started_as) - len(arguments)]
    same = list(started_as[len(started_as) - len(arguments) :]) == list(arguments)
    return same and all(re.fullmatch(r"-[a-zA-Z]+", option) for option in options)


def _glibc() -> str:
    names: Mapping[str, int] = getattr(os, "confstr_names", {})
    return (os.confstr("CS_GNU_LIBC_VERSION") or "") if "CS_GNU_LIBC_VERSION" in names else ""


def _read_if_there(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
