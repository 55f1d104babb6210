"""What was tried to set each method up, on held-out training data, and what was best.

python -m routing_jax.reporting.tuning results/cifar_mtl_tuning.json \\
    routed=runs/tune_routed/sweep.json cross_stitch=runs/tune_cross_stitch/sweep.json

Every part is NAME=FILE, a method and a sweep.json or results.json of its trials; a method may have
several. The file lists all trials, those that it had before included; `reporting.tables` makes a
table of it.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from routing_jax.config import flatten
from routing_jax.errors import UserError, told
from routing_jax.files import write_json
from routing_jax.reporting.formats import higher_is_better
from routing_jax.reporting.merge import read_parts
from routing_jax.reporting.results import read_results
from routing_jax.reporting.sweep_summary import SEED


@dataclass(frozen=True)
class Tuning:
    """A table of trials.

    Attributes:
        caption: says what was tried and how it was measured.
        trials: the file of the trials, below the directory of the table of rows.
    """

    caption: str
    trials: str


def join(
    parts: Mapping[str, Sequence[Mapping[str, Any]]], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The trials of all methods, each with the fields that trials of some method differ in.

    Args:
        parts: contents of results.json files, by method.
        before: what was joined earlier. A trial that is made again takes the place of its earlier
            self: that of the same method and seeds with the same configuration, or, of a file
            whose trials do not tell theirs, the same settings, as far as both tell them, by the
            same command but for its work directory.

    Raises:
        UserError: a trial was measured on test data, or two differ in what they were measured on.
    """
    every = [part for trials in parts.values() for part in trials]
    earlier = _trials_before(before, every[0])
    for part in every:
        if part["dataset"]["evaluated_on"] != "validation":
            raise UserError(
                f"{part['command']}: measured on the test set, and settings may not be chosen by "
                "that; hold images out with data.validation_fraction."
            )
        if part["dataset"] != every[0]["dataset"]:
            raise UserError(f"{part['command']}: other data than those of {every[0]['command']}.")
    told = [trial["settings"].keys() for trial in earlier]
    differ = [
        _differing([_configuration(part) for part in trials] + _configurations(method, earlier))
        for method, trials in parts.items()
    ]
    fields = sorted(set().union(*told, *differ))
    new = [_trial(method, part, fields) for method, trials in parts.items() for part in trials]
    kept = [trial for trial in earlier if not any(_same(trial, again) for again in new)]
    return {
        "experiment": every[0]["experiment"],
        "dataset": every[0]["dataset"],
        "metric": next(iter(every[0]["test"])),
        "trials": [*kept, *new],
    }


def tuning_text(tuning: Tuning, directory: Path) -> str:
    """The trials as a Markdown table, settings by methods; the best of several is bold.

    Raises:
        UserError: the file is cut off or holds something else, or the same trial twice.
    """
    path = directory / tuning.trials
    if not path.exists():
        return f"\n{tuning.caption}\n\nnot run\n\n"
    found = read_results(path)
    best = max if higher_is_better(found["metric"]) else min
    methods = list(dict.fromkeys(trial["method"] for trial in found["trials"]))
    fields = sorted(set().union(*(trial["settings"] for trial in found["trials"])))
    value = _values(path, found["trials"], fields)
    of_method = {m: best(v for (_, name), v in value.items() if name == m) for m in methods}

    def cell(setting: tuple[str, ...], method: str) -> str:
        if (setting, method) not in value:
            return ""
        text = _shown(found["metric"], value[setting, method])
        several = sum(name == method for _, name in value) > 1
        chosen = several and value[setting, method] == of_method[method]
        return f"**{text}**" if chosen else text

    settings = dict.fromkeys(setting for setting, _ in value)  # in the order they were named in
    lines = [[*fields, *methods]]
    lines += [["---"] * len(lines[0])]
    lines += [[*setting, *(cell(setting, method) for method in methods)] for setting in settings]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    link = f"[{tuning.trials}]({directory.as_posix()}/{tuning.trials})"
    return f"\n{tuning.caption} From {link}.\n\n{body}\n\n"


def _values(
    path: Path, trials: Sequence[Mapping[str, Any]], fields: Sequence[str]
) -> dict[tuple[tuple[str, ...], str], float]:
    """By settings and method the value; of several seeds the mean.

    Raises:
        UserError: a trial is there twice.
    """
    of_place = defaultdict(dict)
    for trial in trials:
        place, seeds = (_settings(trial, fields), trial["method"]), tuple(trial["seeds"])
        if seeds in of_place[place]:
            raise UserError(
                f"{path} has two trials of {trial['method']} with seeds {trial['seeds']} and the "
                f"same settings, one by {trial['command']}: take one out, or name them apart."
            )
        of_place[place][seeds] = trial["value"]
    return {place: fmean(of_seeds.values()) for place, of_seeds in of_place.items()}


def _differing(configs: Sequence[Mapping[str, Any]]) -> set[str]:
    """The fields in which configurations differ; fields come and go with versions."""
    names = set().union(*configs)
    values = {name: [config[name] for config in configs if name in config] for name in names}
    return {name for name in names if any(value != values[name][0] for value in values[name])}


def _configuration(part: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a trial by name, but its seed."""
    return {name: value for name, value in flatten(part["config"]).items() if name != SEED}


def _configurations(method: str, trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of a method's joined trials, as far as they tell them."""
    return [t["config"] for t in trials if t["method"] == method and "config" in t]


def _trial(method: str, part: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    config, metric = _configuration(part), next(iter(part["test"]))
    return {
        "method": method,
        "settings": {name: config[name] for name in fields if name in config},
        "seeds": part["seeds"],
        "value": part["test"][metric]["mean"],
        "seconds": part["seconds"]["total"],
        "command": part["command"],
        "config": config,
        "device": part["device"],
        "git_commit": part["git_commit"],
    }


def _trials_before(
    before: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
    """The trials of a file, if they can stand beside a new one."""
    if before is None:
        return []
    if "trials" not in before:
        raise UserError("the file to write holds the results of a run; name one of trials, or none")
    for name in ("experiment", "dataset"):
        if before[name] != now[name]:
            raise UserError(
                f"{now['command']}: {name} is {now[name]}, and the trials in the file are of "
                f"{before[name]}; write a file of its own."
            )
    return before["trials"]


def _same(trial: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two are one trial: of a method and seeds, told by configuration or by command."""
    if any(trial[name] != other[name] for name in ("method", "seeds")):
        return False
    if "config" not in trial:
        commands = (_without_workdir(one["command"]) for one in (trial, other))
        return _agree(trial["settings"], other["settings"]) and len({*commands}) == 1
    return _agree(trial["config"], other["config"])


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """As far as both tell."""
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _without_workdir(command: str) -> tuple[str, ...]:
    return tuple(word for word in command.split() if not word.startswith("--workdir="))


def _settings(trial: Mapping[str, Any], fields: Sequence[str]) -> tuple[str, ...]:
    """The settings as text; empty where a field was not told, since no trial differed in it yet."""
    told = trial.get("config", {}) | trial["settings"]
    values = (told.get(name, "") for name in fields)
    return tuple(f"{v:g}" if isinstance(v, float) else str(v) for v in values)


def _shown(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if higher_is_better(metric) else f"{value:.4f}"


@told
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="file to write")
    parser.add_argument("parts", nargs="+", help="NAME=FILE, a method and trials of it")
    options = parser.parse_args(arguments)
    found: dict[str, list[Mapping[str, Any]]] = {}
    for part in options.parts:
        method, _, path = part.partition("=")
        if not path:
            raise UserError(f"{part}: write NAME=FILE, a method and trials of it.")
        found.setdefault(method, []).extend(read_parts(Path(path), ()))
    before = read_results(options.output) if options.output.exists() else None
    joined = join(found, before)
    write_json(options.output, joined)
    for method in found:
        print(f"{method}: {sum(t['method'] == method for t in joined['trials'])} trials")
    return 0


if __name__ == "__main__":
    sys.exit(main())
