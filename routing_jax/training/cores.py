"""The cores of a CPU as devices of a mesh.

XLA runs much of a training step on one core of a CPU, above all what loops. Split over devices that
are cores, such a step uses them all, by the same program that splits it over accelerators.
"""

import contextlib
import math
import os

import jax

from routing_jax.devices import Devices


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def split_cpu(devices: Devices) -> None:
    """Has JAX make as many devices of this CPU as a mesh asks for, at most one for each core.

    Where there are accelerators JAX computes on them as before. Nothing changes either where
    $XLA_FLAGS names a number of devices, with several processes, or once JAX has begun to compute.
    """
    if devices.mesh is None or devices.processes is not None:
        return
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    with contextlib.suppress(RuntimeError):  # JAX has begun
        wanted = math.prod(devices.mesh.values())
        jax.config.update("jax_num_cpu_devices", min(wanted, num_cores()))
