"""One training step: blocks by the loss along the chosen path, the router by the trajectory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from routing_jax.config_fields import RULES
from routing_jax.data.augmentation import augment
from routing_jax.data.sampling import draw_batch, task_in_turn
from routing_jax.mesh import split_examples
from routing_jax.models.network import MultiTaskNetwork, Routed
from routing_jax.models.routing_network import RoutingNetwork
from routing_jax.objectives import Objective, offered, share_of_tasks
from routing_jax.rl import rewards
from routing_jax.routers import exploration as exploring
from routing_jax.routers.allocation import Penalties, penalty
from routing_jax.training.adaptation import adapt, make_alignment
from routing_jax.training.block_updates import expected_use
from routing_jax.training.state import (
    Hyperparams,
    Learned,
    Routing,
    Tally,
    TrainState,
    exploration_at,
    make_keys,
    routing_of,
)
from routing_jax.training.trainable import differentiated, held
from routing_jax.types import Batch, Exploration, MultiTaskData, Params, Trajectory


def train_step(
    config: ConfigDict,
    model: MultiTaskNetwork,
    optimizer: optax.GradientTransformationExtraArgs,
    objective: Objective,
    hyper: Hyperparams,
    state: TrainState,
    train: MultiTaskData,
    *,
    total_steps: int,
    num_old: int = 0,
) -> TrainState:
    """Draws the batch of the state's step and learns from it.

    Everything random depends on (seed, step) alone, so a step can be redone from its state.

    Args:
      config: the whole configuration; static choices are read from it.
      model: the network.
      optimizer: of its parameters.
      objective: of the tasks.
      hyper: traced values.
      state: before the step.
      train: the examples of the tasks that are learned.
      total_steps: length of the run.
      num_old: tasks in front of those, of which nothing is learned.
    """
    lesson = _lesson(config, hyper, state.step, train, total_steps=total_steps, num_old=num_old)
    learned = _learn(config, model, objective, hyper, state, lesson)
    batch, routed, more = lesson.batch, learned.routed, {"progress": lesson.progress}
    if model.learned_router is not None:
        more["trajectory"] = _trajectory(config, model, objective, hyper, state, routed, lesson)
    routing = _met(state.routing, routed.probabilities, lesson.tasks, model)
    if config.optimizer.block_steps == "by_use":
        more["use"] = _use(config, model, routing, lesson.exploration)
    updates, optimizer_state = optimizer.update(
        learned.gradients, state.optimizer, state.params, **more
    )
    return state._replace(
        step=state.step + 1,
        params=held(
            config.training.trainable,
            state.params,
            optax.apply_updates(state.params, updates),
            num_old=num_old,
        ),
        batch_stats=learned.batch_stats,
        optimizer=optimizer_state,
        usage=_remember(config.router, state.usage, routed),
        routing=routing,
        tally=_count(
            state.tally,
            state.step + 1,
            learned.loss,
            objective.metrics(routed.logits, batch),
            batch,
        ),
        opponent=learned.opponent,
    )


class _Lesson(NamedTuple):
    """What a step learns from."""

    batch: Batch
    learns: jax.Array
    """float32 [T, n], the weights of the examples for the blocks."""
    judges: jax.Array
    """float32 [T, n], the same for the router."""
    tasks: jax.Array | None
    """int32 [R] where the batch is of some tasks only; None where it is of all."""
    exploration: Exploration
    progress: jax.Array
    """Scalar in [0, 1), the share of the run that is over."""
    router_key: jax.Array
    """Of decisions."""
    rule_key: jax.Array
    """Of rules that draw."""


def _lesson(
    config: ConfigDict,
    hyper: Hyperparams,
    step: jax.Array,
    train: MultiTaskData,
    *,
    total_steps: int,
    num_old: int,
) -> _Lesson:
    """The lesson of a step, by its number and the run's seed alone."""
    keys = make_keys(hyper.seed)
    router_key, augment_key, rule_key = jax.random.split(jax.random.fold_in(keys.step, step), 3)
    progress = step.astype(jnp.float32) / total_steps
    num_learned = train.index.shape[0]
    rows, draw, updates_a_step = None, step, num_learned
    if config.training.round_robin:
        rows, draw = task_in_turn(step, num_tasks=num_learned, key=keys.data)
        updates_a_step = 1
    exploration = _explore(config.router, hyper, step, progress, updates_a_step)
    batch = _draw(config, train, draw, rows, turn=step, data_key=keys.data, augment_key=augment_key)
    tasks = rows
    if num_old:
        tasks = num_old + (jnp.arange(num_learned, dtype=jnp.int32) if rows is None else rows)
    learns, judges = _shares(config.router, batch.weights)
    return _Lesson(batch, learns, judges, tasks, exploration, progress, router_key, rule_key)


def _learn(
    config: ConfigDict,
    model: MultiTaskNetwork,
    objective: Objective,
    hyper: Hyperparams,
    state: TrainState,
    lesson: _Lesson,
) -> Learned:
    """What a lesson teaches, by its labels or, to a domain without labels, by alignment."""
    batch = lesson.batch

    def loss_of(params: Params) -> tuple[jax.Array, tuple[Routed, Params]]:
        routed, updated = model.apply(
            {
                "params": differentiated(config.training.trainable, params),
                "batch_stats": state.batch_stats,
            },
            batch.images,
            exploration=lesson.exploration,
            tasks=lesson.tasks,
            rngs={"router": lesson.router_key},
            mutable=["batch_stats"],
        )
        of_blocks = batch._replace(weights=lesson.learns)
        loss = objective.loss(routed.logits, of_blocks, routed.rivals)
        loss += _penalty(hyper, routed, lesson.progress)
        return loss, (routed, updated.get("batch_stats", {}))

    if config.data.target:
        alignment = make_alignment(config, model, objective)
        return adapt(config, alignment, state, loss_of, batch, lesson.rule_key)
    found = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    (loss, (routed, batch_stats)), gradients = found
    return Learned(loss, gradients, routed, batch_stats)


def _trajectory(
    config: ConfigDict,
    model: RoutingNetwork,
    objective: Objective,
    hyper: Hyperparams,
    state: TrainState,
    routed: Routed,
    lesson: _Lesson,
) -> Trajectory:
    """What the router learns from."""
    batch, tasks = lesson.batch, lesson.tasks
    return Trajectory(
        decisions=routed.decisions,
        rewards=hyper.rho * _collaboration(config.reward, model, state, routed),
        final_reward=objective.final_reward(config.reward.final, routed.logits, batch),
        weights=lesson.judges,
        exploration=lesson.exploration,
        observations=routed.observations,
        key=lesson.rule_key,
        action_losses=_action_losses(config.router, model, objective, state, routed, batch, tasks),
        tasks=None if tasks is None else jnp.broadcast_to(tasks[:, None], batch.weights.shape),
    )


def _explore(
    router_config: ConfigDict,
    hyper: Hyperparams,
    step: jax.Array,
    progress: jax.Array,
    updates_a_step: int,
) -> Exploration:
    """Exploration in a step, which learns from so many tasks."""
    task_updates = step.astype(jnp.float32) * updates_a_step
    return exploration_at(
        hyper, progress, task_updates, schedule=router_config.exploration_schedule
    )


def _draw(
    config: ConfigDict,
    train: MultiTaskData,
    step: jax.Array,
    rows: jax.Array | None,
    *,
    turn: jax.Array,
    data_key: jax.Array,
    augment_key: jax.Array,
) -> Batch:
    """The batch of a step, its images changed at random if the configuration asks for it.

    Where `rows` of the tasks that are learned are named, steps are counted as rounds of all; `turn`
    is the step of the run.
    """
    batch = draw_batch(
        train,
        key=data_key,
        step=step,
        examples=config.training.examples_per_task,
        shared=config.data.share_images,
        tasks=rows,
        turn=turn,
    )
    images, labels, weights = split_examples((batch.images, batch.labels, batch.weights))
    images = augment(images, augment_key, kind=config.data.augment)
    return Batch(images, labels, weights, batch.classes)


def _shares(router_config: ConfigDict, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Weights of a batch's examples for the blocks and for the router, float32 [T, n] each.

    Both learn from all, unless the rule measures all actions: then on the last examples of each
    task alone, which the blocks do not learn from.
    """
    if not RULES[router_config.rule].full_information:
        return weights, weights
    judges = jnp.arange(weights.shape[1]) >= weights.shape[1] - router_config.measured
    return jnp.where(judges[None], 0.0, weights), jnp.where(judges[None], weights, 0.0)


def _use(
    config: ConfigDict, model: RoutingNetwork, routing: Routing, exploration: Exploration
) -> tuple[jax.Array, ...]:
    """The use that all tasks together make of the blocks of each bank, by policies as last met."""
    probabilities = routing.probabilities
    if model.learned_router is not None:  # given routes are not explored
        even = exploring.start(jnp.asarray(model.router.allowed))[None]
        probabilities += exploration.epsilon * (even - probabilities)
    by_task = config.router.decision_per == "task"
    return expected_use(
        probabilities,
        model.bank_of_depth,
        [bank.num_blocks for bank in model.banks],
        decisions=len(probabilities) * (1 if by_task else config.training.examples_per_task),
    )


def _action_losses(
    router_config: ConfigDict,
    model: RoutingNetwork,
    objective: Objective,
    state: TrainState,
    routed: Routed,
    batch: Batch,
    tasks: jax.Array | None,
) -> jax.Array | None:
    """The losses of all actions, float32 [T, n, D, A], zeros where they are not measured."""
    if not model.learned_router.full_information:
        return None
    last = slice(-router_config.measured, None)
    x, actions = routed.observations[0][:, last], routed.decisions.actions[:, last]
    variables = {"params": state.params}
    outputs = model.apply(variables, x, actions, tasks, method="alternatives")
    flat = outputs.reshape(-1, *outputs.shape[2:])
    offers = jax.vmap(lambda logits: offered(logits, batch.classes))(flat)
    losses = jax.vmap(lambda logits: objective.losses(logits, batch.labels[:, last]))(offers)
    losses = jnp.moveaxis(losses.reshape(outputs.shape[:-1]), (0, 1), (2, 3))
    unmeasured = batch.labels.shape[1] - losses.shape[1]
    return jnp.pad(losses, ((0, 0), (unmeasured, 0), (0, 0), (0, 0)))


def _met(
    before: Routing, probabilities: jax.Array, tasks: jax.Array | None, model: MultiTaskNetwork
) -> Routing:
    """The policies after a batch; of tasks that were not in it, as they were met last."""
    if tasks is not None:
        of_task = before.probabilities.at[tasks].set(probabilities.mean(1))
        probabilities = of_task[:, None]
    return routing_of(probabilities, switches=model.switches_blocks)


def _penalty(hyper: Hyperparams, routed: Routed, progress: jax.Array) -> jax.Array | float:
    """What the allocation of blocks costs; nothing where blocks are not switched on and off."""
    if routed.allocation is None:
        return 0.0
    penalties = Penalties(*(getattr(hyper, name) for name in Penalties._fields))
    return penalty(routed.allocation, penalties, progress)


def variables_of(state: TrainState) -> dict[str, Params]:
    """The model's variables as Flax takes them."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def _collaboration(
    reward_config: ConfigDict, model: RoutingNetwork, state: TrainState, routed: Routed
) -> jax.Array:
    """The collaboration reward, [T, n, D]; it looks at the past, not at this batch."""
    if reward_config.collaboration == "usage":
        popularity = rewards.usage(state.usage, model.num_actions)
    else:
        popularity = state.routing.probabilities.mean(0)
    return rewards.collaboration(popularity, routed.decisions.actions)


def _remember(
    router_config: ConfigDict, usage: rewards.UsageHistory, routed: Routed
) -> rewards.UsageHistory:
    """The usage after a batch; mixtures decide nothing."""
    if routed.decisions is None:
        return usage
    decisions = 1 if router_config.decision_per == "task" else None
    return rewards.remember(usage, routed.decisions.actions[:, :decisions])


def _count(
    tally: Tally, step: jax.Array, loss: jax.Array, metrics: dict[str, jax.Array], batch: Batch
) -> Tally:
    bad_step = jnp.where((tally.bad_step == 0) & ~jnp.isfinite(loss), step, tally.bad_step)
    return Tally(
        tally.loss + loss,
        jax.tree.map(jnp.add, tally.metrics, metrics),
        tally.steps + share_of_tasks(batch.weights),
        bad_step,
    )
