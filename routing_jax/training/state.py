"""What training carries from step to step, and the numbers that steer it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from routing_jax.config import flatten
from routing_jax.config_fields import RULES, TRACED
from routing_jax.models.network import Routed
from routing_jax.rl.rewards import UsageHistory
from routing_jax.types import Exploration, Params

MAX_SNAPSHOTS = 40
"""Routing snapshots kept of a run."""


class Hyperparams(NamedTuple):
    """The traced part of a configuration: changing it compiles nothing anew. Scalars.

    `config_fields.TRACED` names the field behind each.
    """

    seed: jax.Array
    learning_rate: jax.Array
    router_learning_rate: jax.Array
    learns_from: jax.Array
    return_rate: jax.Array
    trace: jax.Array
    dispatcher_learning_rate: jax.Array
    epsilon: jax.Array
    epsilon_end: jax.Array
    temperature: jax.Array
    temperature_end: jax.Array
    entropy_weight: jax.Array
    budget: jax.Array
    budget_weight: jax.Array
    certainty_weight: jax.Array
    empty_weight: jax.Array
    count_weight: jax.Array
    rho: jax.Array
    discount: jax.Array
    block_noise: jax.Array


def hyperparams(config: ConfigDict) -> Hyperparams:
    """The traced values of a validated configuration."""
    values = flatten(config) | _filled_in(config.router)
    return Hyperparams(
        **{
            name: jnp.asarray(values[field], jnp.uint32 if name == "seed" else jnp.float32)
            for name, field in TRACED.items()
        }
    )


def _filled_in(router_config: ConfigDict) -> dict[str, float]:
    """Values of the traced fields of the router that may be None, by the field's name."""
    rule = RULES[router_config.rule]
    epsilon = _or(router_config.epsilon, rule.epsilon)
    temperature = _or(router_config.temperature, rule.temperature)
    return {
        "router.epsilon": epsilon,
        "router.epsilon_end": _or(router_config.epsilon_end, epsilon),
        "router.temperature": temperature,
        "router.temperature_end": _or(router_config.temperature_end, temperature),
        "router.trace": _or(router_config.trace, float(router_config.policy == "tabular")),
        "router.dispatcher_learning_rate": _or(
            router_config.dispatcher_learning_rate, router_config.learning_rate
        ),
    }


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def exploration_at(
    hyper: Hyperparams, progress: jax.Array, updates: jax.Array, *, schedule: str
) -> Exploration:
    """Exploration at a point of the run.

    Args:
      hyper: its values at the start and the end.
      progress: float32 scalar, 0 at the first step, 1 at the end.
      updates: float32 scalar, how often a task has been learned from; a step of T tasks adds T.
      schedule: "linear" from start to end; "geometric", which needs ends that differ above 0; or
        "inverse_sqrt", `start / sqrt(updates + 1)` but never below the end.
    """

    def between(start: jax.Array, end: jax.Array) -> jax.Array:
        if schedule == "linear":
            return start + progress * (end - start)
        if schedule == "inverse_sqrt":
            return jnp.maximum(end, start * jax.lax.rsqrt(updates + 1))
        # Where nothing changes, nothing need be above 0.
        ratio = end / jnp.where(start == end, 1.0, start)
        return start * jnp.where(start == end, 1.0, ratio) ** progress

    return Exploration(
        between(hyper.epsilon, hyper.epsilon_end), between(hyper.temperature, hyper.temperature_end)
    )


class Keys(NamedTuple):
    """The independent random streams of a run; each step folds its number in."""

    init: jax.Array
    data: jax.Array
    step: jax.Array


def make_keys(seed: jax.Array) -> Keys:
    """The streams of a seed (uint32 scalar)."""
    return Keys(*jax.random.split(jax.random.key(seed), 3))


class Tally(NamedTuple):
    """Sums over the steps since the last evaluation; float32 scalars."""

    loss: jax.Array
    metrics: dict[str, jax.Array]
    """By name, see `objectives.Objective.metrics`."""
    steps: jax.Array
    """Each step counts as the share of tasks that had a labelled example in its batch."""
    bad_step: jax.Array
    """int32, the first step whose loss was not finite; 0 if there is none."""


def empty_tally(no_metrics: dict[str, jax.Array]) -> Tally:
    """No steps; `no_metrics` are zeros, one for each metric."""
    return Tally(jnp.zeros(()), no_metrics, jnp.zeros(()), jnp.int32(0))


class Snapshots(NamedTuple):
    """Routing probabilities over training."""

    probabilities: jax.Array
    """float32 [MAX_SNAPSHOTS, T, D, A]; rows not yet taken are zero."""
    steps: jax.Array
    """int32 [MAX_SNAPSHOTS], the step of each row; -1 where not yet taken."""


def empty_snapshots(routing: jax.Array) -> Snapshots:
    """Room for all snapshots, with the routing before training (float32 [T, D, A]) as the first."""
    probabilities = jnp.zeros((MAX_SNAPSHOTS, *routing.shape)).at[0].set(routing)
    return Snapshots(probabilities, jnp.full(MAX_SNAPSHOTS, -1, jnp.int32).at[0].set(0))


def take_snapshot(
    snapshots: Snapshots, routing: jax.Array, *, step: jax.Array, total_steps: int
) -> Snapshots:
    """Adds the routing after `step`; steps that are too close together share a row, the last stays.

    Rows stand for equal parts of the run, so that any number of evaluations fits.
    """
    row = (step.astype(jnp.float32) / total_steps * (MAX_SNAPSHOTS - 1)).astype(jnp.int32)
    return Snapshots(
        snapshots.probabilities.at[row].set(routing), snapshots.steps.at[row].set(step)
    )


class Routing(NamedTuple):
    """The policy as the last batch met it."""

    probabilities: jax.Array
    """float32 [T, D, A], exploration left out, mean over the examples of a task."""
    entropy: jax.Array
    """float32 [D], nats, mean over all examples; of switches the sum of all of a depth."""


def routing_of(probabilities: jax.Array, *, switches: bool) -> Routing:
    """Summary of the probabilities of a batch.

    Args:
      probabilities: float32 [T, n, D, A].
      switches: they are probabilities of blocks to be on, each for itself.
    """
    entropy = jax.scipy.special.entr(probabilities)
    if switches:
        entropy += jax.scipy.special.entr(1 - probabilities)
    entropy = jnp.maximum(entropy.sum(-1), 0.0).mean((0, 1))  # no -0
    return Routing(probabilities.mean(1), entropy)


def blocks_taken(routing: Routing, *, switches: bool) -> jax.Array:
    """bool [T, D, A], the most probable action of each task, or the blocks that are on for it."""
    probabilities = routing.probabilities
    if switches:
        return probabilities >= 0.5
    return jax.nn.one_hot(probabilities.argmax(-1), probabilities.shape[-1], dtype=bool)


class Best(NamedTuple):
    """The state that a run would be judged by: where the held-out examples were answered best."""

    params: Params
    batch_stats: Params
    score: jax.Array
    """float32 scalar, larger is better; minus infinity before the first evaluation."""
    step: jax.Array
    """int32 scalar."""


class Opponent(NamedTuple):
    """What trains against the network: a discriminator, or a second head; see `alignment`."""

    params: Params
    optimizer: optax.OptState


class TrainState(NamedTuple):
    """All of a run's state; with the hyperparameters it determines every later step."""

    step: jax.Array
    """int32 scalar, steps done."""
    params: Params
    batch_stats: Params
    optimizer: optax.OptState
    usage: UsageHistory
    routing: Routing
    tally: Tally
    snapshots: Snapshots
    best: Best | None = None
    """None where the last step is what counts."""
    opponent: Opponent | None = None
    """None where nothing opposes."""


class Learned(NamedTuple):
    """What a step has found out before parameters move."""

    loss: jax.Array
    gradients: Params
    routed: Routed
    batch_stats: Params
    """The running averages after the batch."""
    opponent: Opponent | None = None
    """The opponent after the batch."""


def judged(state: TrainState) -> TrainState:
    """The state with the parameters that the run is judged by."""
    if state.best is None:
        return state
    return state._replace(params=state.best.params, batch_stats=state.best.batch_stats)


def by_path(tree: object) -> dict[str, Any]:
    """The leaves of a tree by path, such as "params.router.policy" of a state."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
