"""The command that writes one task's own network, or the pruned one of all, beside its run."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

import routing_jax
from routing_jax.cli import Command
from routing_jax.data.loading import TaskSet
from routing_jax.data.resizing import INK
from routing_jax.errors import RunError, UserError
from routing_jax.export.compared import Comparison
from routing_jax.export.network import CutNetwork
from routing_jax.export.trained import Trained, restore
from routing_jax.export.written import Exported, how_to_load, write
from routing_jax.training.compilation import cached_compilations
from routing_jax.training.quiet import quiet_libraries
from routing_jax.training.run import say

_COMPARED = 250
"""Test inputs of a task that the exported network is compared with the full one on."""


def run(command: Command) -> int:
    """Writes `<workdir>/export/task_<number>` or `<workdir>/export/all`, and says what is in it.

    Args:
      command: the checked command.

    Returns:
      The exit code.

    Raises:
      UserError: there is no such task, or nothing was saved.
      RunError: the files cannot be written.
    """
    console = Console()
    quiet_libraries()
    with cached_compilations():
        trained = restore(command, partial(say, console))
        task = _number(command.task, trained.tasks)
        folder = command.workdir.export_dir / ("all" if task is None else f"task_{task}")
        network = trained.cut(task)
        with console.status(f"exporting to {folder}"):
            exported = trained.export(network)
            meaning = _meaning(command, trained, network, _difference(exported, trained, task))
            sizes = _write(folder, exported, meaning)
        for line in _told(folder, meaning, sizes):
            say(console, line)
    return 0


def _number(task: str, tasks: TaskSet) -> int | None:
    """The task's number; None for all."""
    if task == "all":
        return None
    if int(task) >= tasks.num_tasks:
        raise UserError(
            f"--task={task}: this run has {tasks.num_tasks} tasks: {_listed(tasks)}. Name one by "
            "its number, or all."
        )
    return int(task)


def _listed(tasks: TaskSet) -> str:
    names = [f"{number} ({name})" for number, name in enumerate(tasks.task_names)]
    return ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")


def _difference(exported: Exported, trained: Trained, task: int | None) -> float:
    """The largest difference of outputs from those of the full network."""
    compare = Comparison(trained.model, trained.variables, trained.tasks)
    tasks = range(trained.tasks.num_tasks) if task is None else [task]
    return max(compare.largest(exported.call, number, most=_COMPARED) for number in tasks)


def _meaning(
    command: Command, trained: Trained, network: CutNetwork, difference: float
) -> dict[str, Any]:
    """What the JSON says; axis n is the number of inputs."""
    tasks, config = trained.tasks, command.config
    images, classes = tasks.test.images, trained.classes
    one = network.task is not None
    numbers = [network.task] if one else range(tasks.num_tasks)
    about = [
        {"number": number, "name": tasks.task_names[number], "classes": classes[number]}
        for number in numbers
    ]
    return {
        "experiment": config.experiment,
        "model": config.model.name,
        "task" if one else "tasks": about[0] if one else about,
        "inputs": {"shape": ["n", *images.shape[1:]], "dtype": str(images.dtype)},
        "outputs": {
            "shape": ["n", classes[network.task] if one else tasks.num_classes],
            "meaning": "logits" if tasks.objective == "classification" else "numbers",
        },
        "preprocessing": _preprocessing(command, tasks),
        "blocks": network.cut.kept,
        "router": network.cut.note,
        "parameters": network.num_parameters,
        "parameters_of_full_network": trained.num_parameters,
        "largest_difference": {"value": difference, "test_inputs_of_each_task": _COMPARED},
        "step": trained.step,
        "versions": {"routing_jax": routing_jax.__version__, "jax": jax.__version__},
    }


def _preprocessing(command: Command, tasks: TaskSet) -> str:
    """What stands between a stored example and the inputs of the network."""
    if len(tasks.image_shape) == 1:
        return "none: vectors as they are"
    steps = ["grey or colour values 0 to 255; the network scales them to 0 to 1 itself"]
    if tasks.name == "omniglot":
        steps.append("one channel, bright ink on black (255 minus the stored value)")
    size = command.config.data.image_size
    if command.config.data.digit_frame == "ink":
        steps.append(
            f"the square around the ink (brightness of {INK} of 255 and more) scaled to "
            f"{size}x{size} pixels, bilinear"
        )
    elif size:
        steps.append(f"scaled to {size}x{size} pixels: down by the mean of an area, up bilinear")
    return "; ".join(steps)


def _write(folder: Path, exported: Exported, meaning: dict[str, Any]) -> dict[str, int]:
    try:
        return write(folder, exported, meaning)
    except OSError as error:
        raise RunError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}."
        ) from error


def _told(folder: Path, meaning: dict[str, Any], sizes: dict[str, int]) -> Iterator[str]:
    """What is said at the end."""
    whole, own = meaning["parameters_of_full_network"], meaning["parameters"]
    which = "all tasks" if "tasks" in meaning else "task {number}, {name}".format(**meaning["task"])
    yield f"{which}, step {meaning['step']:,}: {own:,} of {whole:,} parameters ({own / whole:.0%})"
    blocks = " | ".join(" ".join(map(str, kept)) or "none" for kept in meaning["blocks"])
    yield f"blocks at each depth: {blocks}"
    yield meaning["router"]
    difference = meaning["largest_difference"]["value"]
    yield f"largest difference of outputs from the full network's: {difference:.1e}"
    listed = ", ".join(f"{name} ({size:,} bytes)" for name, size in sizes.items())
    yield f"{folder}: {listed}, network.json; load them with"
    yield from (f"    {line}" for line in how_to_load(takes_tasks="tasks" in meaning))
