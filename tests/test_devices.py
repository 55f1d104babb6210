"""Which devices and processes a command line asks for."""

from pathlib import Path

import pytest

from routing_jax import cli
from routing_jax.devices import Devices, Processes, mesh_text, parse_mesh
from routing_jax.errors import UserError

ROOT = Path(__file__).parent.parent
BY_HAND = ("--coordinator_address=host:1234", "--num_processes=2", "--process_id=1")


def parse(*arguments: str) -> Devices:
    config = f"--config={ROOT / 'experiments' / 'mnist_mtl.py'}"
    return cli.parse([str(ROOT / "launch.py"), config, *arguments]).devices


def test_one_device_unless_more_are_asked_for():
    assert parse() == Devices(None, None)


def test_a_mesh():
    assert parse("--mesh=data:4,block:2").mesh == {"data": 4, "block": 2}
    assert parse("--mesh=sweep:8", "--sweep=seed=0:8").mesh == {"sweep": 8}
    assert parse_mesh("block:2, data:1") == {"block": 2, "data": 1}
    assert mesh_text({"block": 2, "data": 1, "sweep": 3}) == "sweep:3,block:2"


def test_processes():
    assert parse("--distributed").processes == Processes(None, None, None, 300)
    by_hand = Processes("host:1234", 2, 1, 60)
    assert parse(*BY_HAND, "--join_seconds=60").processes == by_hand
    assert parse("--distributed", *BY_HAND, "--join_seconds=60").processes == by_hand


WRONG = [
    (
        ["--mesh=data:4,blocks:2"],
        "--mesh=data:4,blocks:2: there is no axis 'blocks'; write devices along axes, such as "
        "data:4,block:2. The axes are sweep, data, block.",
    ),
    (["--mesh=data"], "--mesh=data: data: needs an integer >= 1 behind the colon."),
    (["--mesh=data:0"], "--mesh=data:0: data:0 needs an integer >= 1 behind the colon."),
    (["--mesh=data:2,data:4"], "--mesh=data:2,data:4: the axis data is named twice."),
    (
        ["--mesh=sweep:2"],
        "--mesh=sweep:2: there are no cells of a sweep to split; name its grid with "
        "--sweep=FIELD=VALUES, or another axis.",
    ),
    (
        ["--mesh=sweep:2", "--sweep=seed=0:4", "--sweep_workers=2"],
        "--mesh is for one program on many devices; --sweep_workers and --slurm.partition train "
        "each program of a sweep on its own. Name one of them.",
    ),
    (
        [*BY_HAND[:2]],
        "--process_id is missing: processes that are started by hand need "
        "--coordinator_address=HOST:PORT, --num_processes=N and --process_id=I. On SLURM and on a "
        "TPU pod --distributed alone finds all three.",
    ),
    (
        ["--coordinator_address=host", *BY_HAND[1:]],
        "--coordinator_address=host: write HOST:PORT, the machine of process 0 and a free port of "
        "it.",
    ),
    (
        ["--coordinator_address=host:1", "--num_processes=0", "--process_id=0"],
        "--num_processes=0: name an integer >= 1.",
    ),
    ([*BY_HAND[:2], "--process_id=2"], "--process_id=2: 2 processes are numbered 0 to 1."),
    ([*BY_HAND, "--join_seconds=0"], "--join_seconds=0: name an integer >= 1."),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_told_at_once(arguments, message):
    with pytest.raises(UserError) as error:
        parse(*arguments)
    assert str(error.value) == message
