"""The figures of a run."""

from pathlib import Path
from typing import Any

from routing_jax.reporting.cost_figure import draw_multiply_adds
from routing_jax.reporting.curve_figures import draw_learning_curves, draw_policy_entropy
from routing_jax.reporting.mixing_figure import draw_mixing_entropy, draw_mixing_weights
from routing_jax.reporting.routing_figure import draw_routing_map
from routing_jax.reporting.routing_file import Routing
from routing_jax.reporting.similarity_figure import draw_task_similarity
from routing_jax.reporting.trajectory_figure import draw_trajectories

_SIMILARITY = "task_similarity.png"


def draw_all(results: dict[str, Any], routing: Routing, figures_dir: Path) -> list[Path]:
    """Draws what there is to see of a run as PNG: curves, routes, costs, and what a system adds.

    Of switches that is the similarity of tasks and how the switches moved, of mixtures the weights,
    their entropy and the similarity of tasks.

    Args:
        results: the contents of results.json.
        routing: the contents of routing.npz.
        figures_dir: where to write; made if it is not there.

    Returns:
        The paths of the figures.
    """
    figures_dir.mkdir(parents=True, exist_ok=True)
    figures = [
        draw_learning_curves(results, figures_dir),
        draw_routing_map(results, routing, figures_dir),
        draw_policy_entropy(results, routing, figures_dir),
    ]
    switched = results.get("allocation") is not None
    if results.get("multiply_adds") is not None and (switched or _costs_differ(results)):
        figures.append(draw_multiply_adds(results, figures_dir))
    if switched:
        figures.append(draw_task_similarity(results, figures_dir / _SIMILARITY))
        figures.append(draw_trajectories(results, routing, figures_dir))
    if results.get("mixing_weights") is not None:
        figures += [
            draw(results, figures_dir) for draw in (draw_mixing_weights, draw_mixing_entropy)
        ]
        if len(results["tasks"]) > 1:
            figures.append(draw_task_similarity(results, figures_dir / _SIMILARITY))
    return figures


def _costs_differ(results: dict[str, Any]) -> bool:
    """Whether some tasks cost more than others."""
    costs = results["multiply_adds"]["per_task"]
    return len({cost for seed in costs for cost in seed}) > 1
