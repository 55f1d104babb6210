"""Large pages of memory: when the program starts itself once more for them, and that it does."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import huge_pages
from routing_jax.huge_pages import is_plain_script, with_huge_pages

KERNEL = "always [madvise] never\n"


@pytest.mark.parametrize(
    ("tunables", "glibc", "kernel", "expected"),
    [
        ("", "glibc 2.36", KERNEL, "glibc.malloc.hugetlb=1"),
        ("", "glibc 2.35", KERNEL, "glibc.malloc.hugetlb=1"),
        ("glibc.a=2", "glibc 3.0", KERNEL, "glibc.a=2:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc 2.36", KERNEL, None),  # the user's own choice
        ("", "glibc 2.31", KERNEL, None),
        ("", "", KERNEL, None),
        ("", "glibc 2.36", "[always] madvise never\n", None),
        ("", "glibc 2.36", "always madvise [never]\n", None),
        ("", "glibc 2.36", "", None),
    ],
)
def test_large_pages_are_asked_for_where_they_can_be_had(tunables, glibc, kernel, expected):
    assert with_huge_pages(tunables, glibc=glibc, kernel=kernel) == expected


@pytest.mark.parametrize(
    ("started_as", "arguments", "expected"),
    [
        (["python", "launch.py", "--a"], ["launch.py", "--a"], True),
        (["python", "-u", "launch.py"], ["launch.py"], True),
        (["python", "-m", "pdb", "launch.py"], ["launch.py"], False),
        (["python", "-X", "dev", "launch.py"], ["launch.py"], False),
        (["python", "-m", "ipykernel_launcher", "-f", "x.json"], ["launch.py", "--a"], False),
        (["python"], ["launch.py"], False),
    ],
)
def test_only_a_plain_script_is_started_once_more(started_as, arguments, expected):
    assert is_plain_script(started_as, arguments) is expected


SCRIPT = """
import os, sys
from routing_jax import huge_pages
huge_pages._glibc = lambda: "glibc 2.36"
huge_pages._read_if_there = lambda path: "[madvise]"
{more}
print("start", os.getpid(), flush=True)
huge_pages.restart_with_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"), *sys.argv[1:])
"""


def printed_by(script):
    """Its lines, with arguments of which one has a space."""
    plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    path = os.pathsep.join([os.getcwd(), plain.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, script, "--one", "two words"],
        env=plain | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_script_starts_once_more_with_the_same_arguments_and_once_only(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(more=""))
    first, second, last = printed_by(script)
    assert first == second  # in the same process
    assert last == "glibc.malloc.hugetlb=1 --one two words"


def test_a_script_that_cannot_start_once_more_goes_on(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(more="sys.executable = 'missing'"))
    first, last = printed_by(script)
    assert first.startswith("start ")
    assert last == "None --one two words"


def test_the_benchmark_prints_a_line_for_each_side(monkeypatch, capsys):
    def measured(experiment, tunables, *, steps):
        return steps / 2 if tunables.endswith("=1") else steps

    monkeypatch.setattr(huge_pages, "measure", measured)
    huge_pages.main(["--quick"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == ["pages of 4 KiB", "large pages"]
    assert lines[1]["ratio"] == {"median": 0.5, "min": 0.5, "max": 0.5, "to": "pages of 4 KiB"}
