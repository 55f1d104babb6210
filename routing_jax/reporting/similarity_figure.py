"""The similarity of tasks by the blocks that they use, as an ordered heat map.

python -m routing_jax.reporting.similarity_figure clusters.png results/gumbel_clusters_learned.json
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from routing_jax.data.cifar_groups import GROUP_OF_SUPERCLASS
from routing_jax.errors import UserError, told
from routing_jax.reporting.allocation import taken_of_blocks
from routing_jax.reporting.figure_style import new_figure, save
from routing_jax.reporting.results import read_results
from routing_jax.reporting.similarity import alike_side_by_side, inside_and_across, task_similarity

CELL = 0.3
"""Side of a cell, in inches; less for many tasks."""
WIDEST = 9.0
MOST_NUMBERS = 12
"""Up to so many tasks each cell holds its number."""


def draw_task_similarity(results: Mapping[str, Any], path: Path) -> Path:
    """Draws the mean over seeds of the cosine of what each two tasks take of blocks.

    Tasks that are alike stand side by side. Of superclasses of CIFAR-100 the title says how alike
    those of one family of meanings are, and those of two.

    Args:
        results: the contents of results.json.
        path: of the PNG.

    Returns:
        The path.

    Raises:
        UserError: tasks take one block each, so that there is nothing to compare.
    """
    taken = taken_of_blocks(results)
    if taken is None:
        raise UserError(
            f"{results['experiment']} neither switches blocks nor mixes them; name results of "
            "learned allocation, a soft mixture or a compositional model."
        )
    of = "on/off patterns" if results.get("mixing_weights") is None else "mixing weights"
    similarity = np.mean([task_similarity(own) for own in taken], axis=0)
    order = alike_side_by_side(similarity)
    tasks, names = len(order), [results["tasks"][task] for task in order]
    side = max(min(tasks * CELL, WIDEST), 2.4)
    about = _about(results, similarity)
    figure = new_figure(results, about=about, width=side + 4.2, height=side + 2.4)
    axes = figure.subplots()
    shown = similarity[np.ix_(order, order)]
    image = axes.imshow(shown, cmap="cividis", vmin=0, vmax=1)
    axes.set_yticks(range(tasks), names, fontsize=8)
    axes.set_xticks(range(tasks), names, fontsize=8, rotation=90)
    if tasks <= MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(shown):
            colour = "black" if value > 0.5 else "white"
            text = {"color": colour, "fontsize": 7, "ha": "center", "va": "center"}
            axes.text(column, row, f"{value:.2f}", **text)
    figure.colorbar(image, ax=axes, label=f"cosine of {of}", fraction=0.05, pad=0.03)
    return save(figure, path)


def _about(results: Mapping[str, Any], similarity: np.ndarray) -> str:
    seeds = len(results["seeds"])
    about = "Similarity of tasks by the blocks that they use"
    about += f", mean of {seeds} seeds" if seeds > 1 else ""
    families = [GROUP_OF_SUPERCLASS.get(name) for name in results["tasks"]]
    if None in families:
        return about
    inside, across = inside_and_across(similarity, families)
    return f"{about}\n{inside:.3f} inside families of meanings, {across:.3f} across"


@told
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("results", type=Path, help="results.json of a run, or of merged ones")
    options = parser.parse_args(arguments)
    print(draw_task_similarity(read_results(options.results), options.picture))
    return 0


if __name__ == "__main__":
    sys.exit(main())
