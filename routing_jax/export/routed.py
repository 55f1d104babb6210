"""Cuts of networks with routes: the blocks of a route that is known, else router and blocks."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax import dispatch
from routing_jax.export.cut import Cut, Layers, banks_of, kept_rows, numbers, take
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
        own = cut.params | {"router": {"dispatcher": params["router"]["dispatcher"]}}
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
    links = [
        (index, *blocks) for index, blocks in zip(model.bank_of_depth, kept, strict=True) if blocks
    ]
    banks = banks_of(params)
    own = {f"bank_{index}_block_{block}": take(banks[index], block) for index, block in links}

    def layers(params: Params, x: jax.Array, tasks: jax.Array) -> jax.Array:
        del tasks
        for index, block in links:
            x = model.banks[index].apply_block(params[f"bank_{index}_block_{block}"], x)
        return x

    return Cut(own, layers, kept, _CHAIN)


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
    banks = [take(bank, kept) for bank, kept in zip(banks_of(params), rows, strict=True)]
    return Cut({"banks": banks}, _routed_layers(model, fixed), kept, _TABLE)


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
    own = {"banks": banks_of(params), "router": {"policy": policy}}
    if router.dispatcher is not None:
        own["router"]["dispatcher"] = params["router"]["dispatcher"]
    kept = tuple(
        _blocks(model, depth, np.flatnonzero(row)) for depth, row in enumerate(router.allowed)
    )
    return Cut(own, _routed_layers(model, lean), kept, _NETWORKS)


def _routed_layers(model: MultiTaskNetwork, router: Router) -> Layers:
    """Layers that ask the router for each example's block and gather that block's weights."""

    def layers(params: Params, x: jax.Array, tasks: jax.Array) -> jax.Array:
        variables, tasks = {"params": params.get("router", {})}, tasks[None]
        agents = router.apply(variables, x[None], None, tasks, method="assign")
        for depth, index in enumerate(model.bank_of_depth):
            bank = params["banks"][index]
            choice = router.apply(variables, depth, x[None], agents, None, tasks, method="decide")
            x = dispatch.select(
                model.banks[index].apply_block,
                bank,
                x[:, None],
                choice.actions[0],
                strategy="gather",
                pass_action=router.may_pass(depth, len(jax.tree.leaves(bank)[0])),
            )[:, 0]
        return x

    return layers
