"""Lines side by side: what each is and reached, the fields in which they differ, every task."""

from collections.abc import Mapping, Sequence
from typing import Any

from routing_jax.reporting.formats import dataset_label, duration, measured
from routing_jax.reporting.page.lines import Line, differing_fields
from routing_jax.reporting.page.tables import (
    MISSING,
    Cell,
    Table,
    in_parts,
    metric_cell,
    number,
)
from routing_jax.reporting.results import learned_test


def side_by_side(lines: Sequence[Line]) -> Table:
    """A row for each line: data, metrics, size and time.

    Where tasks were added to a trained network, metrics are those of the new ones.
    """
    metrics = metrics_of(lines)
    columns = ["run", "experiment", "data set", "tasks", "seeds"]
    columns += [_words(name) for name in metrics]
    columns += ["parameters", "steps", "time of a seed"]
    return Table("Runs side by side", columns, [_row(line, metrics) for line in lines])


def fields_that_differ(lines: Sequence[Line]) -> list[Table]:
    """A row for each field of which not all lines have the same value; no table without any."""
    configurations = [line.fields for line in lines]
    names = differing_fields(configurations)
    if not names:
        return []
    rows = [
        [Cell(name), *(_value(fields.get(name, MISSING)) for fields in configurations)]
        for name in names
    ]
    title = "Fields of the configuration in which they differ"
    columns = ["field", *(line.label for line in lines)]
    return in_parts(Table(title, columns, rows, sortable=False))


def task_tables(lines: Sequence[Line]) -> list[Table]:
    """The numbers of each task: a table for each metric of lines with the same tasks."""
    alike: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        alike.setdefault(tuple(line.results["tasks"]), []).append(line)
    return [
        part
        for tasks, group in alike.items()
        for name in metrics_of(group)
        for part in in_parts(
            _task_table(name, tasks, [line for line in group if name in line.results["test"]])
        )
    ]


def metrics_of(lines: Sequence[Line]) -> list[str]:
    """The names of all metrics, in order."""
    return list(dict.fromkeys(name for line in lines for name in line.results["test"]))


def _row(line: Line, metrics: Sequence[str]) -> list[Cell]:
    results = line.results
    steps = results["curve"][0][-1]["step"]
    seconds = results["seconds"]["total"]
    return [
        Cell(line.label),
        Cell(results["experiment"]),
        Cell(dataset_label(results)),
        number(len(results["tasks"]), _tasks(results)),
        number(len(results["seeds"]), ", ".join(map(str, results["seeds"]))),
        *(metric_cell(name, learned_test(results).get(name)) for name in metrics),
        number(results["parameters"], f"{results['parameters']:,}"),
        number(steps, f"{steps:,}"),
        number(seconds, duration(seconds)),
    ]


def _tasks(results: Mapping[str, Any]) -> str:
    """How many tasks, and how many of them were added to a trained network."""
    new = results["new_tasks"]
    return f"{len(results['tasks'])}" + (f" ({len(new['tasks'])} new)" if new else "")


def _value(value: Any) -> Cell:
    return Cell(str(value))


def _task_table(name: str, tasks: Sequence[str], lines: Sequence[Line]) -> Table:
    metrics = [line.results["test"][name] for line in lines]
    rows = [
        [Cell(task), *(number(m["per_task"][i], measured(name, m["per_task"][i])) for m in metrics)]
        for i, task in enumerate(tasks)
    ]
    evaluated_on = lines[0].results["dataset"]["evaluated_on"]
    title = f"{_words(name).capitalize()} on the {evaluated_on} set, mean over seeds"
    foot = [Cell("mean"), *(metric_cell(name, metric) for metric in metrics)]
    return Table(title, ["task", *(line.label for line in lines)], rows, foot)


def _words(metric: str) -> str:
    return metric.replace("_", " ")
