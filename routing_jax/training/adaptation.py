"""Unsupervised adaptation: a target without labels learns what of the network is its own.

Zhmoginov, Bashkirova, Sandler, "Compositional Models: Multi-Task Learning and Knowledge Transfer
with Modular Networks", 2021: the target's features are aligned with those of its sources by its
mixing weights alone. Here the target's running averages may move too, or instead. The target is the
last task; its rows of the mixing weights, and of the running averages, are its own.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from routing_jax.alignment import ALIGNMENTS, Alignment, Moments
from routing_jax.models.network import MultiTaskNetwork, Routed
from routing_jax.objectives import Objective, share_of_tasks
from routing_jax.training import trainable
from routing_jax.training.state import Learned, Opponent, TrainState
from routing_jax.types import Batch, Params

LossOf = Callable[[Params], tuple[jax.Array, tuple[Routed, Params]]]
"""From parameters to the loss by labels, what the batch was answered, and moved averages."""


def make_alignment(config: ConfigDict, model: MultiTaskNetwork, objective: Objective) -> Alignment:
    """The alignment of a configuration with a target."""
    settings = config.adaptation
    moments = Moments(settings.moments_weight, settings.moments_of == "head")
    return ALIGNMENTS[settings.loss](model, objective, moments)


def start_opponent(
    config: ConfigDict, alignment: Alignment, routed: Routed, params: Params, key: jax.Array
) -> Opponent | None:
    """The opponent before the first step; None where the loss has none."""
    own = alignment.start(key, routed, params)
    return None if own is None else Opponent(own, _optimizer(config).init(own))


def adapt(
    config: ConfigDict,
    alignment: Alignment,
    state: TrainState,
    loss_of: LossOf,
    batch: Batch,
    key: jax.Array,
) -> Learned:
    """What a step learns: the target's own parameters from alignment, all others from labels.

    Where the sources are frozen, nothing but the target's own has a gradient or moves.

    Args:
      config: of the run.
      alignment: see `make_alignment`.
      state: before the step.
      loss_of: of the labelled examples; the target has none.
      batch: of the step.
      key: of the opponent's random draws.
    """

    def losses(params: Params) -> tuple[tuple[jax.Array, jax.Array], tuple[Routed, Params]]:
        by_labels, (routed, moved) = loss_of(params)
        opponent = None if state.opponent is None else state.opponent.params
        return (by_labels, alignment.loss(opponent, routed)), (routed, moved)

    (by_labels, aligned), backward, (routed, moved) = jax.vjp(losses, state.params, has_aux=True)
    none, one = jnp.zeros_like(aligned), jnp.ones_like(aligned)
    (of_target,) = backward((none, one))
    loss = share_of_tasks(batch.weights) * aligned  # by which a step counts in the mean
    if config.adaptation.train_sources:
        (gradients,) = backward((one, none))
        loss += by_labels
    else:
        gradients = jax.tree.map(jnp.zeros_like, of_target)
        moved = state.batch_stats | {
            "averages": with_target(state.batch_stats["averages"], moved["averages"], axis=1)
        }
    own = with_target(gradients["router"], of_target["router"], axis=0)
    return Learned(
        loss,
        gradients | {"router": own},
        routed,
        moved,
        _opposed(config, alignment, state.opponent, routed, batch, key),
    )


def with_target(usual: Params, own: Params, *, axis: int) -> Params:
    """The leaves of `usual` with the last row of `own`, where rows along `axis` are tasks."""

    def join(leaf: jax.Array, other: jax.Array) -> jax.Array:
        place = (slice(None),) * axis + (-1,)
        return leaf.at[place].set(other[place])

    return jax.tree.map(join, usual, own)


def numbers(config: ConfigDict, params: Params, *, num_old: int) -> int:
    """How many numbers train in a run; of frozen sources, and of tasks that were there, none."""
    found = trainable.numbers(config.training.trainable, params, num_old=num_old)
    if not config.data.target or config.adaptation.train_sources:
        return found
    return found // params["router"]["logits"].shape[0]


def _opposed(
    config: ConfigDict,
    alignment: Alignment,
    opponent: Opponent | None,
    routed: Routed,
    batch: Batch,
    key: jax.Array,
) -> Opponent | None:
    """The opponent after a step of its own."""
    if opponent is None:
        return None
    seen = jax.lax.stop_gradient(routed)
    gradients = jax.grad(alignment.opposed)(opponent.params, seen, batch, key)
    updates, state = _optimizer(config).update(gradients, opponent.optimizer)
    return Opponent(optax.apply_updates(opponent.params, updates), state)


def _optimizer(config: ConfigDict) -> optax.GradientTransformation:
    return optax.adam(config.adaptation.opponent_learning_rate)
