"""Do routing maps mean anything? Says it of the seeds of a results file, and draws it.

python -m routing_jax.reporting.maps results/cifar_mtl_routed.json \\
    --output=results/cifar_mtl_maps.json --figure=docs/cifar_maps.png

Two questions: do runs with different seeds find the same map, up to the names of blocks; and do
tasks that are alike in meaning share more blocks than others? Both are asked against maps that use
the same blocks equally often, for other tasks.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from routing_jax.data.cifar_groups import GROUP_OF_SUPERCLASS
from routing_jax.errors import UserError, told
from routing_jax.files import write_json
from routing_jax.reporting.overlap import (
    Compared,
    blocks_used,
    overlap_of_seeds,
    sharing_within_groups,
)
from routing_jax.reporting.results import read_results

DRAWS = 1000
"""Random maps."""
SURE = 0.01
"""A p-value up to which something is called more than chance."""


def judge(results: dict[str, Any]) -> dict[str, Any]:
    """Both answers for the routing maps of a results file, as plain values.

    Raises:
        UserError: it has no routing maps, or those of one seed only.
    """
    if results.get("routing_map") is None:
        raise UserError(f"{results['experiment']}: routes are mixtures, so there are no maps")
    maps = np.array(results["routing_map"])
    if len(maps) < 2:
        raise UserError(f"{results['experiment']}: maps of two seeds at least are compared")
    found = {
        "experiment": results["experiment"],
        "seeds": results["seeds"],
        "blocks_used_per_depth": blocks_used(maps).tolist(),
        "overlap_per_depth": [_plain(one) for one in overlap_of_seeds(maps, draws=DRAWS)],
        "sharing_within_minus_across_groups": None,
    }
    groups = [GROUP_OF_SUPERCLASS.get(name) for name in results["tasks"]]
    if None not in groups:
        compared = sharing_within_groups(maps, groups, draws=DRAWS)
        found["sharing_within_minus_across_groups"] = _plain(compared)
    return found | {"verdict": _verdict(found)}


def _plain(compared: Compared) -> dict[str, float]:
    low, middle, high = np.quantile(compared.chance, (0.025, 0.5, 0.975))
    return {
        "value": compared.value,
        "chance_median": float(middle),
        "chance_from": float(low),
        "chance_to": float(high),
        "p_value": compared.p_value,
    }


def _verdict(found: dict[str, Any]) -> str:
    """Two sentences."""
    depths = [
        str(depth)
        for depth, one in enumerate(found["overlap_per_depth"], start=1)
        if one["p_value"] <= SURE
    ]
    seeds = len(found["seeds"])
    agree = f"at depth {', '.join(depths)}" if depths else "at no depth"
    sentences = [f"The maps of {seeds} seeds agree more than random ones {agree}."]
    sharing = found["sharing_within_minus_across_groups"]
    if sharing is not None:
        more = "more blocks than" if sharing["p_value"] <= SURE else "no more blocks than"
        sentences.append(
            f"Tasks that are alike in meaning share {more} others (p = {sharing['p_value']:.3f})."
        )
    return " ".join(sentences)


@told
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="results file of several seeds")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--figure", type=Path, help="PNG to draw")
    options = parser.parse_args(arguments)
    results = read_results(options.results)
    found = judge(results)
    if options.output:
        write_json(options.output, found | {"from": str(options.results)})
    if options.figure:
        from routing_jax.reporting.maps_figure import draw_judgement

        draw_judgement(results, found, options.figure)
    print(found["verdict"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
