"""What a command asks of devices and processes. Imports no JAX."""

import dataclasses
import re
from collections.abc import Mapping

from absl import flags

from routing_jax.errors import UserError

AXES = ("sweep", "data", "block")
"""Of a mesh; `mesh` says what each splits."""
_BY_HAND = ("coordinator_address", "num_processes", "process_id")


@dataclasses.dataclass(frozen=True)
class Processes:
    """How this process finds the others; what is None is asked of SLURM or the TPU pod.

    Attributes:
        coordinator_address: HOST:PORT at which process 0 listens.
        num_processes: All of them.
        process_id: This one, counted from 0.
        join_seconds: How long to wait for the others.
    """

    coordinator_address: str | None
    num_processes: int | None
    process_id: int | None
    join_seconds: int


@dataclasses.dataclass(frozen=True)
class Devices:
    """What the program is to run on.

    Attributes:
        mesh: Devices along each axis, by its name; None for the first device alone, or all devices
            of several processes along `data`.
        processes: The processes that it is spread over; None for this one alone.
    """

    mesh: Mapping[str, int] | None = None
    processes: Processes | None = None


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags that `read_devices` reads."""
    flags.DEFINE_string(
        "mesh",
        None,
        "devices, or cores of a CPU, along the axes sweep, data and block, such as data:4,block:2",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "distributed",
        False,
        "one of several processes, on SLURM or a TPU pod; elsewhere name the next three",
        flag_values=values,
    )
    flags.DEFINE_string(
        "coordinator_address", None, "HOST:PORT at which process 0 listens", flag_values=values
    )
    flags.DEFINE_integer("num_processes", None, "all processes", flag_values=values)
    flags.DEFINE_integer("process_id", None, "this process, from 0", flag_values=values)
    flags.DEFINE_integer(
        "join_seconds", 300, "how long to wait for the other processes", flag_values=values
    )


def read_devices(values: flags.FlagValues) -> Devices:
    """The devices that a command line asks for, by the values of the flags above.

    Raises:
        UserError: They are wrong, or do not go together.
    """
    mesh = None if values.mesh is None else parse_mesh(values.mesh)
    return Devices(mesh, _read_processes(values))


def parse_mesh(text: str) -> dict[str, int]:
    """The axes of a mesh as the flag writes them, such as "data:4,block:2".

    Raises:
        UserError: It is written in another way, or names an axis twice.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, _, size = part.strip().partition(":")
        if name not in AXES:
            raise UserError(
                f"--mesh={text}: there is no axis {name!r}; write devices along axes, such as "
                f"data:4,block:2. The axes are {', '.join(AXES)}."
            )
        if not re.fullmatch("[1-9][0-9]*", size):
            raise UserError(f"--mesh={text}: {name}:{size} needs an integer >= 1 behind the colon.")
        if name in sizes:
            raise UserError(f"--mesh={text}: the axis {name} is named twice.")
        sizes[name] = int(size)
    return sizes


def mesh_text(sizes: Mapping[str, int]) -> str:
    """The flag for a mesh, such as "data:4,block:2"; axes of one device are left out."""
    return ",".join(f"{axis}:{sizes[axis]}" for axis in AXES if sizes.get(axis, 1) > 1)


def _read_processes(values: flags.FlagValues) -> Processes | None:
    by_hand = {name: values[name].value for name in _BY_HAND}
    missing = [name for name in _BY_HAND if by_hand[name] is None]
    if len(missing) == len(_BY_HAND) and not values.distributed:
        return None
    if values.join_seconds < 1:
        raise UserError(f"--join_seconds={values.join_seconds}: name an integer >= 1.")
    if len(missing) < len(_BY_HAND):
        if missing:
            raise UserError(_missing(missing))
        _require_sound(**by_hand)
    return Processes(**by_hand, join_seconds=values.join_seconds)


def _missing(names: list[str]) -> str:
    text = " and ".join(f"--{name}" for name in names)
    return (
        f"{text} {'is' if len(names) == 1 else 'are'} missing: processes that are started by hand "
        "need --coordinator_address=HOST:PORT, --num_processes=N and --process_id=I. On SLURM and "
        "on a TPU pod --distributed alone finds all three."
    )


def _require_sound(*, coordinator_address: str, num_processes: int, process_id: int) -> None:
    if not re.fullmatch(r".+:[0-9]{1,5}", coordinator_address):
        raise UserError(
            f"--coordinator_address={coordinator_address}: write HOST:PORT, the machine of process "
            "0 and a free port of it."
        )
    if num_processes < 1:
        raise UserError(f"--num_processes={num_processes}: name an integer >= 1.")
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id={process_id}: {num_processes} processes are numbered 0 to "
            f"{num_processes - 1}."
        )
