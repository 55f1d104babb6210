"""What training carries from step to step, and the numbers that steer it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from routing_jax.config import flatten
from routing_jax.config_fields import TRACED
from routing_jax.rl.rewards import UsageHistory
from routing_jax.types import Params

MAX_SNAPSHOTS = 40
"""Routing snapshots kept of a run."""


class Hyperparams(NamedTuple):
    """The traced part of a configuration: changing it compiles nothing anew. Scalars.

    `config_fields.TRACED` names the field behind each.
    """

    seed: jax.Array
    learning_rate: jax.Array
    router_learning_rate: jax.Array
    return_rate: jax.Array
    epsilon: jax.Array
    temperature: jax.Array
    entropy_weight: jax.Array
    rho: jax.Array
    discount: jax.Array
    block_noise: jax.Array


def hyperparams(config: ConfigDict) -> Hyperparams:
    """The traced values of a validated configuration."""
    values = flatten(config)
    return Hyperparams(
        **{
            name: jnp.asarray(values[field], jnp.uint32 if name == "seed" else jnp.float32)
            for name, field in TRACED.items()
        }
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
    accuracy: jax.Array
    steps: jax.Array
    bad_step: jax.Array
    """int32, the first step whose loss was not finite; 0 if there is none."""


def empty_tally() -> Tally:
    """No steps."""
    return Tally(jnp.zeros(()), jnp.zeros(()), jnp.zeros(()), jnp.int32(0))


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


class TrainState(NamedTuple):
    """All of a run's state; with the hyperparameters it determines every later step."""

    step: jax.Array
    """int32 scalar, steps done."""
    params: Params
    batch_stats: Params
    optimizer: optax.OptState
    usage: UsageHistory
    tally: Tally
    snapshots: Snapshots
