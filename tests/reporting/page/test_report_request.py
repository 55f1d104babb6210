"""The command line of a report: what it takes, and the one message for what it does not."""

from pathlib import Path

import pytest

import launch
from routing_jax import cli
from routing_jax.errors import UserError
from routing_jax.reporting.page import request

ONLY = "a report shows what runs have written and takes only --mode, --workdir, --output."


def parse(*arguments):
    return cli.parse(["launch.py", "--mode=report", *arguments])


def test_directories_and_where_the_page_goes():
    first, second = Path("runs/a"), Path("sweep/c")
    assert parse("--workdir=runs/a, sweep/c") == request.Request(
        (first, second), first / "report.html"
    )
    assert parse("--output=x.html", "--workdir=runs/a").output == Path("x.html")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "--mode=report needs --workdir: the directories of runs and sweeps, with commas "
            "between them.",
        ),
        (["--workdir="], "--workdir=: it is empty; name directories."),
        (
            ["--workdir=a,,b"],
            "--workdir=a,,b: a name between its commas is empty; name directories.",
        ),
        (["--workdir=a,b,a"], "--workdir names a twice."),
        (["--workdir=a", "--output="], "--output is empty; name a file."),
        (["--workdir=a", "--config=x.py"], f"--config with --mode=report: {ONLY}"),
        (["--workdir=a", "--overwrite"], f"--overwrite with --mode=report: {ONLY}"),
        (["--workdir=a", "--sweep=rho=0,1"], f"--sweep with --mode=report: {ONLY}"),
        (
            ["--workdir=a", "--config.reward.rho=1"],
            f"--config.reward.rho=1 with --mode=report: {ONLY}",
        ),
        (["--workdir=a", "b"], f"b with --mode=report: {ONLY}"),
    ],
)
def test_wrong_command_lines(arguments, message):
    with pytest.raises(UserError) as caught:
        parse(*arguments)
    assert str(caught.value) == message


def test_output_is_of_a_report_only():
    with pytest.raises(UserError) as caught:
        cli.parse(["launch.py", "--config=experiments/mnist_mtl.py", "--output=a.html"])
    message = "--output is the page of --mode=report; a run writes to its --workdir."
    assert str(caught.value) == message


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(request.PACKAGES, "no_such_module", "no-such-package")
    with pytest.raises(UserError) as caught:
        request.require_packages()
    assert str(caught.value) == (
        "--mode=report needs the package no-such-package, which is not installed: "
        "pip install -c constraints.txt -e '.[report]'."
    )


def test_from_the_command_line(make_workdir, tmp_path, capsys):
    run = make_workdir("a")
    named = f"--workdir={run},{tmp_path}/none"
    assert launch.main(["launch.py", "--mode=report", named]) == 0
    page = run / "report.html"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    first, last = capsys.readouterr().out.splitlines()
    missing = "does not exist; name the directory of a run or sweep"
    assert first == f"none: --workdir={tmp_path}/none {missing}"
    assert last.startswith(f"{page}  ") and last.endswith(" MB, opens in a browser")


def test_a_page_that_cannot_be_written(make_workdir, tmp_path, capsys):
    page = tmp_path / "none" / "page.html"
    arguments = [f"--workdir={make_workdir('a')}", f"--output={page}"]
    assert launch.main(["launch.py", "--mode=report", *arguments]) == 2
    assert capsys.readouterr().err == (
        f"error: {page} cannot be written: No such file or directory. Name another file with "
        "--output.\n"
    )


def test_a_report_over_nothing(tmp_path, capsys):
    assert launch.main(["launch.py", "--mode=report", f"--workdir={tmp_path}"]) == 2
    assert capsys.readouterr().err == (
        "error: there is nothing to report:\n"
        f"  there is no {tmp_path}/results.json: has the run finished?\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_page_of_a_real_run(finished, tmp_path):
    page = tmp_path / "page.html"
    arguments = [f"--workdir={finished}", f"--output={page}"]
    assert launch.main(["launch.py", "--mode=report", *arguments]) == 0
    text = page.read_text(encoding="utf-8")
    assert "mnist_mtl" in text and "Left out" not in text
