"""Draws how well a target is answered before and after adaptation, from results of several runs.

python -m routing_jax.reporting.adaptation_figure usps.png results/adaptation_usps_ink_*.json
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from routing_jax.config import FIELDS, flatten
from routing_jax.errors import UserError, told
from routing_jax.reporting.figure_style import LINE_COLOURS, new_figure, save, tidy
from routing_jax.reporting.results import read_results

_PARTS = {
    "none": "source only",
    "statistics": "running averages",
    "mixing": "mixing weights",
    "mixing,statistics": "both",
    "statistics,mixing": "both",
}
"""What adapts, by `training.trainable`."""
_ALIKE = (
    "data.augment",
    "data.digit_frame",
    "training.init_from",
    "adaptation.start_from",
    "adaptation.moments_of",
)
"""What runs of one figure have in common, so that they are of one network and its images."""
_ROW = 0.5
"""Height of a bar, in inches."""


def accuracies(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The target's test accuracies by what adapts; several of a row are of several seeds.

    Args:
      runs: the contents of results.json files, of one seed each or merged.

    Raises:
      UserError: there is no run, one has no target, or they differ in it or in `_ALIKE`.
    """
    targets = sorted({run["config"]["data"].get("target", "") for run in runs})
    if len(targets) != 1 or not targets[0]:
        found = ", ".join(target or "a run without a target" for target in targets) or "no run"
        raise UserError(f"the figure is of one target's runs, and here is: {found}.")
    for name in _ALIKE:
        # Earlier versions do not tell all of them.
        values = {flatten(run["config"]).get(name, FIELDS[name].default) for run in runs}
        if len(values) > 1:
            found = ", ".join(repr(value) for value in sorted(values))
            raise UserError(
                f"the figure is of runs from one network on images of one kind, and {name} is "
                f"{found} here: name the results of one of them."
            )
    rows: dict[str, list[float]] = {name: [] for name in dict.fromkeys(_PARTS.values())}
    for run in runs:
        seeds = run["test"]["accuracy"]["per_seed_and_task"]
        rows.setdefault(_label(run["config"]), []).extend(tasks[-1] for tasks in seeds)
    return {name: found for name, found in rows.items() if found}


def draw(runs: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draws a bar for each row, and a line where the sources alone lead; returns the path.

    With several seeds of a row a bar is their mean, and dots are the seeds.

    Args:
      runs: see `accuracies`.
      path: of the PNG.
    """
    rows, config = accuracies(runs), runs[0]["config"]
    about = f"Test accuracy on {config['data']['target']}, whose labels were not seen"
    figure = new_figure(runs[0], about=about, width=7.5, height=1.7 + _ROW * len(rows))
    axes = figure.subplots()
    for place, found in enumerate(rows.values()):
        percent = 100 * np.array(found)
        axes.barh(place, percent.mean(), color=LINE_COLOURS[0], height=0.7)
        axes.plot(percent, [place] * percent.size, "o", color="black", markersize=2.5)
        axes.text(1, place, f"{percent.mean():.1f}", va="center", fontsize=8, color="white")
    if "source only" in rows:
        before = 100 * np.mean(rows["source only"])
        axes.axvline(before, color="0.3", linestyle=":", label="before adaptation")
        figure.legend(loc="outside lower right", fontsize=8, frameon=False)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("%")
    tidy(axes)
    return save(figure, path)


def _label(config: Mapping[str, Any]) -> str:
    """What adapts in a run, and by which loss if it is not moment matching."""
    parts, settings = config["training"]["trainable"], config["adaptation"]
    if settings["train_sources"]:
        parts = "both" if parts == "all" else parts
        label = f"{_PARTS.get(parts, parts)}, sources training"
    else:
        label = _PARTS[parts]
    return label if settings["loss"] == "moments" else f"{label}, {settings['loss']}"


@told
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("runs", type=Path, nargs="+", help="results.json of runs with one target")
    options = parser.parse_args(arguments)
    drawn = draw([read_results(path) for path in options.runs], options.picture)
    print(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
