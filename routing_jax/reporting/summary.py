"""What a run prints at its end: the table of tasks, one line of figures, where everything lies."""

from typing import Any

from rich.cells import cell_len
from rich.table import Table

from routing_jax.reporting.formats import (
    allocation,
    allocation_sizes,
    duration,
    heading,
    measured,
    mebibytes,
    rate,
    route,
    with_error,
)
from routing_jax.workdir import Workdir

WIDEST_ALLOCATION = 40
"""Characters up to which the blocks of a task are named one by one."""
WIDEST_TITLE = 78
"""Characters of a title that a table widens for; a longer one is wrapped."""


def task_table(results: dict[str, Any]) -> Table:
    """One row a task with its metrics and route, and the mean over tasks below.

    Tasks that were added to a trained network stand apart, with a mean of their own.

    Args:
        results: the contents of results.json. With several seeds, metrics are means over them
            and the routes are those of the first.
    """
    metrics, routes = results["test"], _routes(results)
    title = heading(results)
    table = Table(
        title=title,
        min_width=min(cell_len(title), WIDEST_TITLE),
        caption=_caption(results),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("task", no_wrap=True)
    for name in metrics:
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    if routes is not None:
        table.add_column("route" if results.get("allocation") is None else "blocks on")
    new = results.get("new_tasks")
    first_new = len(results["tasks"]) - len(new["tasks"]) if new else None
    for i, task in enumerate(results["tasks"]):
        if i == first_new:
            table.add_section()
        values = [measured(name, metric["per_task"][i]) for name, metric in metrics.items()]
        table.add_row(task, *values, *([] if routes is None else [routes[i]]))
    table.add_section()
    _add_mean(table, "mean", metrics)
    if new:
        _add_mean(table, "new tasks", new["test"])
    return table


def _add_mean(table: Table, of: str, metrics: dict[str, Any]) -> None:
    means = (_mean(name, metric) for name, metric in metrics.items())
    table.add_row(of, *means, style="bold")


def _routes(results: dict[str, Any]) -> list[str] | None:
    """The first seed's route, or allocation, of each task; None where there is neither."""
    if results["routing_map"] is not None:
        return [route(actions) for actions in results["routing_map"][0]]
    if results.get("allocation") is not None:
        tasks = results["allocation"][0]
        return [(allocation_sizes if _are_many(tasks) else allocation)(blocks) for blocks in tasks]
    return None


def _are_many(tasks: list[list[list[int]]]) -> bool:
    """Whether the blocks of tasks are too many to be named in a table."""
    return max(len(allocation(blocks)) for blocks in tasks) > WIDEST_ALLOCATION


def figures_line(results: dict[str, Any]) -> str:
    """Times, speed and memory of the run on one line."""
    seconds = results["seconds"]
    return ", ".join(
        [
            f"{duration(seconds['total'])} in all",
            f"{duration(seconds['first_step'])} to the first step",
            f"{duration(seconds['compile'])} compiling",
            f"{duration(seconds['per_step'])} a step",
            f"{rate(results['examples_per_second'])} examples/s",
            f"peak memory {mebibytes(results['peak_memory_bytes'])}",
        ]
    )


def written_files(workdir: Workdir) -> list[str]:
    """A line for each thing found in the work directory: where it is and what it is."""
    contents = {
        workdir.config_path: "resolved configuration",
        workdir.results_path: "test metrics, routes, times, versions",
        workdir.routing_path: "routing probabilities over training",
        workdir.metrics_path: "metrics, one JSON line a record",
        workdir.tensorboard_dir: "the same for TensorBoard",
        workdir.checkpoint_dir: "checkpoints",
    }
    contents |= dict.fromkeys(sorted(workdir.figures_dir.glob("*.png")), "figure")
    found = {str(path): text for path, text in contents.items() if path.exists()}
    longest = max(map(len, found), default=0)
    return [f"{path.ljust(longest)}  {text}" for path, text in found.items()]


def _caption(results: dict[str, Any]) -> str | None:
    """What the columns do not say by themselves."""
    several, parts = len(results["seeds"]) > 1, []
    of_seed = f" (seed {results['seeds'][0]})" if several else ""
    if results["routing_map"] is not None:
        parts.append(f"route: the block chosen at each depth{of_seed}")
    if results.get("allocation") is not None:
        those = "how many" if _are_many(results["allocation"][0]) else "those"
        merge = results["config"]["router"].get("merge", "mean")
        parts.append(f"blocks on: {those} whose {merge} a task takes at each depth{of_seed}")
    selection = results.get("selection")
    if selection:
        steps = ", ".join(f"{step:,}" for step in selection["step"])
        metric = selection["metric"].replace("_", " ")
        parts.append(f"tested at the step of the best validation {metric} ({steps})")
    if several:
        parts.append("±: standard error over seeds")
    return "; ".join(parts) or None


def _mean(name: str, metric: dict[str, Any]) -> str:
    mean, error = metric["mean"], metric["stderr"]
    if mean is None or error is None:
        return measured(name, mean)
    return with_error(name, mean, error)
