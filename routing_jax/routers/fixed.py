"""Fixed routes: the baselines whose routing nothing learns, and routes given as a table.

============= ================================================================================
own           task-specific-all-fc: a block of its own for each task, at every depth
own_last      task-specific-1-fc, and the shared trunk: one block for all tasks, but for the
              last layer, where each has its own
shared        one block for all tasks at every depth; nothing knows the task
random        a random block for each task and depth, by the run's seed
all           every block for all tasks, where several can be on (gumbel_matrix)
============= ================================================================================

A table is written as the routes of the tasks in their order, such as "0-0-0 0-0-1 1-1-2" for three
tasks and three depths: for example the clusters of alike tasks, or the routes that a run has found.
"""

import jax

from routing_jax.errors import UserError

Routes = tuple[tuple[int, ...], ...]
"""[T, D]."""

_STREAM = 0x726F7574
"""Sets the draw of random routes apart from what else comes of the seed."""


def fixed_routes(
    routes: str, *, num_tasks: int, depth: int, num_blocks: int, seed: jax.Array | int
) -> Routes | jax.Array:
    """The routes that a configuration names.

    Args:
      routes: a name, or a table.
      num_tasks: T.
      depth: D.
      num_blocks: K, of random routes.
      seed: of random routes.

    Returns:
      int [T, D].

    Raises:
      UserError: a table does not fit the tasks or the depth.
    """
    if routes == "random":
        key = jax.random.fold_in(jax.random.key(seed), _STREAM)
        return jax.random.randint(key, (num_tasks, depth), 0, num_blocks)
    if routes in _NAMED:
        return tuple(_NAMED[routes](task, depth) for task in range(num_tasks))
    table = tuple(tuple(map(int, route.split("-"))) for route in routes.split())
    if len(table) != num_tasks or any(len(route) != depth for route in table):
        lengths = ", ".join(map(str, sorted({len(route) for route in table})))
        raise UserError(
            f"router.routes holds {len(table)} routes through {lengths} layers; give each of the "
            f"{num_tasks} tasks one through {depth}."
        )
    return table


def blocks_of_depth(routes: Routes) -> tuple[int, ...]:
    """How many blocks routes need at each depth: D numbers."""
    return tuple(1 + max(actions) for actions in zip(*routes, strict=True))


_NAMED = {
    "own": lambda task, depth: (task,) * depth,
    "own_last": lambda task, depth: (0,) * (depth - 1) + (task,),
    "shared": lambda task, depth: (0,) * depth,
}
