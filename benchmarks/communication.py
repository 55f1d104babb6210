"""What devices send each other in a training step, read off the compiled program.

    python -m benchmarks.communication [--devices=8,64] [--block=2] [--experiment=cifar_mtl.py]
    python -m benchmarks.communication --quick

Compiles one step of an experiment for meshes of fake devices, parts of this CPU, each mesh in a
process of its own, and lists the collectives of the program. Nothing is run: sizes are those that
a real mesh of this shape would see. Every device has `--examples_per_device` examples of each task,
so the batch grows with the mesh.

A line gives for one mesh, per device and step: the megabytes of each kind of collective (of its
result), those that a device of a ring sends for them, and the floating-point operations of its part
of the batch, forward and backward, in products and convolutions. Meshes named "by formula" are not
compiled: a step of data parallelism adds up the same gradients whatever the mesh, so that payloads
are those of the largest compiled mesh and only the ring's factor differs. That this holds is seen
in the compiled ones.

Collectives in loops are counted once each, and how many there are is said: with banks split along
`block`, the loop over examples whose block is full has some, and turns as often as routing needs.

`hidden_from` is the number of examples of each task on a device from which the step computes for
longer than it communicates, on a device of `--teraflops`, of which it reaches `--utilisation`, and
links of `--gigabytes_per_second`; below, communication sets the pace.
"""

import argparse
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from benchmarks.timing import print_line
from routing_jax.devices import mesh_text
from routing_jax.experiment import load_config
from routing_jax.mesh import BLOCK, DATA, make_mesh
from routing_jax.models.factory import DataShape
from routing_jax.training import sharding
from routing_jax.training.products_on_cpu import products
from routing_jax.training.program import Program
from routing_jax.training.state import TrainState, hyperparams
from routing_jax.types import MultiTaskData

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"
FAKE = "--xla_force_host_platform_device_count="
CIFAR = DataShape(20, 5, (32, 32, 3))
BY_FORMULA = (128, 256, 512, 1024)
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(.*")
_ARRAY = re.compile(r"\b(pred|[a-z]+[0-9]+)\[([0-9,]*)\]")
_GROUPS = re.compile(r"replica_groups=(?:\{\{([0-9,]*)\}|\[[0-9]+,([0-9]+)\])")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8}


class Collective(NamedTuple):
    """One collective of a compiled program."""

    kind: str
    payload: int
    """Bytes of its result on a device."""
    group: int
    """Devices that take part together."""
    looped: bool
    """It stands in a loop, where it runs more often than it is written."""

    @property
    def sent(self) -> float:
        """Bytes that a device sends in a ring."""
        return self.payload * factor(self.kind, self.group)


def factor(kind: str, group: int) -> float:
    """Bytes sent by each device of a ring for each byte of the result.

    A reduction to all is a reduce-scatter and a gather; each passes on all parts but one.
    """
    passed = (group - 1) / group
    if kind == "reduce-scatter":
        return float(group - 1)  # the result is one part
    return {"all-reduce": 2 * passed, "collective-permute": 1.0}.get(kind, passed)


def collectives(program: str) -> list[Collective]:
    """The collectives in the text of a compiled program."""
    found, inside = [], ""
    bodies = set(re.findall(r"body=(%[\w.\-]+)", program))
    for line in program.splitlines():
        if line and not line[0].isspace():
            inside = line.split(" ")[0]
        match = _COLLECTIVE.search(line)
        if match:
            found.append(Collective(match[2], _size(match[1]), _group(line), inside in bodies))
    return found


def _size(shapes: str) -> int:
    """Bytes of one array or a tuple of them, as the program's text says it."""
    sizes = [
        _BYTES[kind] * math.prod(int(axis) for axis in axes.split(",") if axis)
        for kind, axes in _ARRAY.findall(shapes)
    ]
    return sum(sizes)


def _group(line: str) -> int:
    listed, size = _GROUPS.search(line).groups() if _GROUPS.search(line) else (None, None)
    if size:
        return int(size)
    return len(listed.split(",")) if listed else jax.device_count()


def compile_step(config: ConfigDict, sizes: Mapping[str, int]) -> str:
    """The text of one step's program, compiled for a mesh of these sizes."""
    program, mesh = Program(config, CIFAR, total_steps=1), make_mesh(sizes)

    def step(*arguments: object) -> TrainState:
        return sharding.constrain(program.step(*arguments), mesh, sharding.STATE)

    hyper, data = jax.eval_shape(lambda: hyperparams(config)), _data()
    with jax.set_mesh(mesh):
        state = jax.eval_shape(program.init, hyper, data)
        given = (
            sharding.described(state, mesh, sharding.STATE),
            *(sharding.described(tree, mesh, sharding.WHOLE) for tree in (hyper, data)),
        )
        return jax.jit(step).lower(*given).compile().as_text()


def operations(config: ConfigDict) -> int:
    """Floating-point operations of a step's products and convolutions, of the whole batch."""
    program, hyper, data = Program(config, CIFAR, total_steps=1), hyperparams(config), _data()
    state = jax.eval_shape(program.init, hyper, data)
    traced = jax.make_jaxpr(program.step)(state, hyper, data)
    return 2 * sum(product.multiply_adds for product in products(traced.jaxpr))


def _data() -> MultiTaskData:
    """CIFAR-100 in shapes alone."""
    of_task = (CIFAR.num_tasks, 2500)
    images = jax.ShapeDtypeStruct((50_000, *CIFAR.image), jnp.uint8)
    rows = jax.ShapeDtypeStruct(of_task, jnp.int32)
    return MultiTaskData(images, rows, rows, jax.ShapeDtypeStruct(of_task[:1], jnp.int32))


def measure(experiment: str, sizes: Mapping[str, int], options: argparse.Namespace) -> None:
    """Prints the line of a mesh, for which this process has to have as many devices."""
    config = load_config(str(EXPERIMENTS / experiment), EXPERIMENTS)
    config.training.examples_per_task = options.examples_per_device * sizes[DATA]
    found = collectives(compile_step(config, sizes))
    of_device = operations(config) / sizes[DATA]
    _report(experiment, sizes, found, of_device, options, how="compiled")
    if options.block == 1 and sizes[DATA] == max(options.devices):
        for devices in BY_FORMULA:
            larger = [one._replace(group=devices) for one in found]
            _report(experiment, {DATA: devices}, larger, of_device, options, how="by formula")


def _report(
    experiment: str,
    sizes: Mapping[str, int],
    found: Sequence[Collective],
    of_device: float,
    options: argparse.Namespace,
    *,
    how: str,
) -> None:
    sent = sum(one.sent for one in found)
    communicates = sent / (1e9 * options.gigabytes_per_second)
    computes = of_device / (1e12 * options.teraflops * options.utilisation)
    figures = {
        "how": how,
        "collectives": {
            kind: {
                "number": sum(one.kind == kind for one in found),
                "megabytes": _megabytes(sum(one.payload for one in found if one.kind == kind)),
            }
            for kind in sorted({one.kind for one in found})
        },
        "in_loops": sum(one.looped for one in found),
        "megabytes_sent": _megabytes(sent),
        "gigaflops": float(f"{of_device / 1e9:.4g}"),
        "hidden_from": math.ceil(options.examples_per_device * communicates / computes),
    }
    named = ("examples_per_device", "teraflops", "utilisation", "gigabytes_per_second")
    settings = {"experiment": experiment, "mesh": dict(sizes)}
    settings |= {name: getattr(options, name) for name in named}
    print_line("communication", mesh_text(sizes), settings, figures)


def _megabytes(size: float) -> float:
    return float(f"{size / 1e6:.4g}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints JSON lines, each mesh in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--experiment", default="cifar_mtl.py", help="in experiments/, on CIFAR")
    parser.add_argument("--devices", type=_numbers, default=(8, 64), help="of a mesh: 8,64")
    parser.add_argument("--block", type=int, default=1, help="of them along block")
    parser.add_argument("--examples_per_device", type=int, default=16, help="of each task")
    parser.add_argument("--teraflops", type=float, default=990, help="peak of a device")
    parser.add_argument("--utilisation", type=float, default=0.3, help="of it that is reached")
    parser.add_argument("--gigabytes_per_second", type=float, default=450, help="of its links")
    parser.add_argument("--quick", action="store_true", help="eight devices only")
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(given)
    if options.quick:
        options.devices = (8,)
    here = jax.device_count() if FAKE in os.environ.get("XLA_FLAGS", "") else None
    for devices in options.devices:
        if here is None:
            environment = os.environ | {"XLA_FLAGS": f"{FAKE}{devices}", "JAX_PLATFORMS": "cpu"}
            command = [sys.executable, "-m", "benchmarks.communication", *given]
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
        elif here == devices:
            sizes = {DATA: devices // options.block, BLOCK: options.block}
            measure(options.experiment, sizes, options)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    main()
