"""Cuts of networks with routes: the blocks of a route that is known, else router and blocks."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax import dispatch
from routing_jax.export.cut import (
    Cut,
    banks_of,
    finish,
    kept_rows,
    norms_of,
    numbers,
    one_of,
    part_of,
    take,
)
from routing_jax.models.joint_classifier import JointClassifierNetwork
from routing_jax.models.network import MultiTaskNetwork
from routing_jax.models.routing_network import RoutingNetwork
from routing_jax.routers.policies import FixedPolicy
from routing_jax.routers.router import Router
from routing_jax.types import Params

_CHAIN = "The route of the task does not depend on the input: its blocks stand one after the other."
_TABLE = (
    "The route of each task is a constant of the function; blocks that no task takes are left out."
)
_DISPATCHER = (
    "An example picks its agent by its representation: the dispatcher is part of the function, "
    "with every block that some agent's route takes."
)
_NETWORKS = (
    "The router looks at representations: it is part of the function, with every block that it may "
    "choose."
)


def cut_routed(model: RoutingNetwork, variables: dict[str, Params], task: int | None) -> Cut:
    """The routed layers of one task, or of all if it is None."""
    router, params = model.router, variables["params"]
    if router.policy.looks_at_input:
        return _with_networks(model, params, task)
    routes = _best_routes(router, params)
    if router.dispatcher is not None:
        cut = _with_table(model, params, router, routes)
        own = {**cut.params, "router": {"dispatcher": params["router"]["dispatcher"]}}
        return cut._replace(params=own, note=_DISPATCHER)
    if task is None:
        return _with_table(model, params, router, routes)
    return _chain(model, params, routes[router.agent_of_task[task]])


def cut_joint(model: JointClassifierNetwork, variables: dict[str, Params], task: int | None) -> Cut:
    """The trunk, and the logits of one task, or of all if it is None."""
    params = variables["params"]
    tasks = range(model.num_tasks)
    routes = np.zeros((model.num_tasks, len(model.bank_of_depth)), np.int32)
    routes[:, -1] = tasks
    if task is None:
        return _with_table(model, params, Router(tuple(tasks), None, ()), routes)
    return _chain(model, params, routes[task])


def _best_routes(router: Router, params: Params) -> np.ndarray:
    """The actions of each agent at each depth, int [G, D]."""
    agents = jnp.arange(router.num_agents, dtype=jnp.int32)[:, None]
    variables = {"params": params.get("router", {})}
    return np.asarray(router.apply(variables, agents, None, method="decide_ahead").actions)[:, 0]


def _blocks(model: MultiTaskNetwork, depth: int, actions: np.ndarray) -> tuple[int, ...]:
    """The blocks among actions at a depth: all but PASS."""
    most = model.banks[model.bank_of_depth[depth]].num_blocks
    return numbers({action for action in actions.tolist() if action < most})


def _chain(model: MultiTaskNetwork, params: Params, route: np.ndarray) -> Cut:
    """The blocks of one route [D]; PASS leaves no link."""
    kept = tuple(_blocks(model, depth, route[depth : depth + 1]) for depth in range(len(route)))
    banks, own, links = banks_of(model, params), {}, []
    for index, blocks in zip(model.bank_of_depth, kept, strict=True):
        at_depth = []
        for block in blocks:
            apply, block_params = one_of(model.banks[index], banks[index], block)
            at_depth.append((apply, f"bank_{index}_block_{block}"))
            own[f"bank_{index}_block_{block}"] = block_params
        links.append(at_depth)

    def layers(params: Params, x: jax.Array, tasks: jax.Array) -> jax.Array:
        del tasks
        for depth, at_depth in enumerate(links):
            for apply, name in at_depth:
                x = apply(params["blocks"][name], x)
            x = finish(model, params["norms"], depth, x)
        return x

    return Cut({"blocks": own, "norms": norms_of(model, params)}, layers, kept, _CHAIN)


def _with_table(model: MultiTaskNetwork, params: Params, router: Router, routes: np.ndarray) -> Cut:
    """The routes of agents, int [G, D], which the task or a dispatcher picks from."""
    kept = tuple(_blocks(model, depth, routes[:, depth]) for depth in range(routes.shape[1]))
    rows = [_of_bank(kept, model.bank_of_depth, index) for index in range(len(model.banks))]
    renumbered = np.stack(
        [
            _renumbered(routes[:, depth], rows[index])
            for depth, index in enumerate(model.bank_of_depth)
        ],
        axis=1,
    )
    last = renumbered.max(0)  # of each depth; only where it is PASS the layer may be skipped
    actions = int(last.max()) + 1
    fixed = Router(
        router.agent_of_task,
        FixedPolicy(tuple(map(tuple, renumbered.tolist())), actions),
        tuple(tuple(action <= most for action in range(actions)) for most in last.tolist()),
        dispatcher=router.dispatcher,
    )
    return _routed_cut(model, params, fixed, rows, {})._replace(kept=kept, note=_TABLE)


def _of_bank(
    kept: Sequence[tuple[int, ...]], bank_of_depth: Sequence[int], index: int
) -> np.ndarray:
    """The blocks of a bank that some depth keeps."""
    used = [blocks for bank, blocks in zip(bank_of_depth, kept, strict=True) if bank == index]
    return kept_rows({block for blocks in used for block in blocks})


def _renumbered(actions: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Actions among the rows that are kept; PASS is the number behind the last of them."""
    return np.where(np.isin(actions, rows), np.searchsorted(rows, actions), len(rows))


def _with_networks(model: RoutingNetwork, params: Params, task: int | None) -> Cut:
    """A router that looks at the input, with all blocks; one task's has its own agent alone."""
    router, policy = model.router, params["router"]["policy"]
    networks = router.policy.clone(strategy="dense")  # the number of examples is not known
    agent_of_task = router.agent_of_task
    if task is not None and router.dispatcher is None:
        policy = take(policy, np.array([agent_of_task[task]]))
        networks = networks.clone(num_agents=1)
        agent_of_task = (0,) * router.num_tasks
    lean = router.clone(agent_of_task=agent_of_task, policy=networks, critic=None, control=None)
    own = {"policy": policy}
    if router.dispatcher is not None:
        own["dispatcher"] = params["router"]["dispatcher"]
    rows = [np.arange(bank.num_blocks) for bank in model.banks]
    kept = tuple(
        _blocks(model, depth, np.flatnonzero(row)) for depth, row in enumerate(router.allowed)
    )
    return _routed_cut(model, params, lean, rows, own)._replace(kept=kept, note=_NETWORKS)


def _routed_cut(
    model: MultiTaskNetwork,
    params: Params,
    router: Router,
    rows: Sequence[np.ndarray],
    router_params: Params,
) -> Cut:
    """Layers that ask the router for each example's block and gather that block's weights.

    Args:
      model: the full network.
      params: its parameters.
      router: of the rows that are kept, numbered anew.
      rows: the blocks that are kept of each bank.
      router_params: of that router.
    """
    parts = [
        part_of(bank, stacked, kept)
        for bank, stacked, kept in zip(model.banks, banks_of(model, params), rows, strict=True)
    ]
    own = {
        "banks": [stacked for _, stacked in parts],
        "norms": norms_of(model, params),
        "router": router_params,
    }

    def layers(params: Params, x: jax.Array, tasks: jax.Array) -> jax.Array:
        variables, tasks = {"params": params["router"]}, tasks[None]
        agents = router.apply(variables, x[None], None, tasks, method="assign")
        for depth, index in enumerate(model.bank_of_depth):
            choice = router.apply(variables, depth, x[None], agents, None, tasks, method="decide")
            x = dispatch.select(
                parts[index][0],
                params["banks"][index],
                x[:, None],
                choice.actions[0],
                strategy="gather",
                pass_action=router.may_pass(depth, len(rows[index])),
            )[:, 0]
            x = finish(model, params["norms"], depth, x)
        return x

    return Cut(own, layers, (), "")
