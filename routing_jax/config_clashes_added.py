"""Fields of a run that adds tasks to a trained network and that do not go together.

See `added_tasks` and `config_clashes`.
"""

from collections.abc import Callable
from typing import Any

from routing_jax.config_rules import Clash

SYSTEMS = ("routing_network", "gumbel_matrix", "compositional")
"""Models that new tasks can be added to."""
_PARTS = {"head", "mixing"}
"""What belongs to tasks, each to its own."""


def _adding(fields: tuple[str, ...], happens: Callable[..., bool], remedy: str) -> Clash:
    """A clash of a run that adds tasks."""
    return Clash(
        ("data.old_tasks", *fields),
        lambda old_tasks, *values: bool(old_tasks) and happens(*values),
        remedy,
    )


def _shares_routes(parts: str, agent: str) -> bool:
    return "mixing" in parts.split(",") and agent != "per_task"


def _unknown_number(blocks: Any, policy: str, block: str) -> bool:
    return blocks is None and policy != "fixed" and block != "components"


ADDED = (
    _adding(
        ("training.init_from",),
        lambda place: not place,
        "the tasks before are those of a trained network; name its work directory in "
        "training.init_from, or set data.old_tasks to ''",
    ),
    _adding(
        ("data.input",),
        lambda kind: kind == "stream",
        "the images of old and new tasks are held together; set data.input to memory",
    ),
    _adding(
        ("model.name",),
        lambda name: name not in SYSTEMS,
        f"tasks can be added to {', '.join(SYSTEMS)}; train one of them",
    ),
    _adding(
        ("model.head",),
        lambda head: head != "own",
        "the last routed layer gives the logits of all tasks, and a new one has no head to learn; "
        "train a network with model.head=own",
    ),
    _adding(
        ("training.trainable",),
        lambda parts: not set(parts.split(",")) <= _PARTS,
        "the old tasks use the other parts, and are to stay as they are; set training.trainable to "
        "head,mixing, or to head for the head alone",
    ),
    _adding(
        ("training.trainable", "router.agent"),
        _shares_routes,
        "the old tasks are routed by the same agents, and are to stay as they are; set "
        "training.trainable to head",
    ),
    _adding(
        ("router.agent", "router.num_agents"),
        lambda agent, count: agent == "dispatched" and count is None,
        "the number of agents would grow with the tasks; train a network with router.num_agents "
        "set to a number",
    ),
    _adding(
        ("router.task_input",),
        lambda seen: seen,
        "the router sees which of the old tasks an example is of, and has no input for a new one; "
        "train a network with router.task_input=False",
    ),
    _adding(
        ("router.rule",),
        lambda rule: rule == "relax",
        "its control variate sees the agents of the old tasks; train a network by another rule",
    ),
    _adding(
        ("router.policy", "router.routes"),
        lambda policy, routes: policy == "fixed" and routes not in ("shared", "all"),
        "these routes do not say which trained blocks a new task takes; train a network whose "
        "routes are learned, or one with router.routes=shared",
    ),
    _adding(
        ("model.num_blocks", "router.policy", "model.block"),
        _unknown_number,
        "the number of blocks would grow with the tasks; set model.num_blocks to what it is in the "
        "trained network",
    ),
)
