"""Training as pure functions of state, hyperparameters and data, ready for `jit` and `vmap`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from routing_jax.data.sampling import draw_batch
from routing_jax.models.factory import DataShape, make_model
from routing_jax.models.network import MultiTaskNetwork
from routing_jax.objectives import OBJECTIVES, Objective
from routing_jax.reporting.formats import higher_is_better
from routing_jax.rl.rewards import empty_usage
from routing_jax.training.adaptation import make_alignment, start_opponent
from routing_jax.training.evaluation import (
    Answers,
    Evaluation,
    answer_images,
    conclude,
    evaluate,
)
from routing_jax.training.optimizers import make_optimizer
from routing_jax.training.state import (
    Best,
    Hyperparams,
    TrainState,
    blocks_taken,
    empty_snapshots,
    empty_tally,
    exploration_at,
    make_keys,
    routing_of,
    take_snapshot,
)
from routing_jax.training.step import train_step, variables_of
from routing_jax.training.trainable import chosen, require_parts
from routing_jax.types import MultiTaskData, Params

Arrays = Mapping[str, jax.Array]
"""Arrays by their path."""


class SegmentReport(NamedTuple):
    """What the host learns of a segment; scalars unless a shape is given."""

    step: jax.Array
    bad_step: jax.Array
    """int32, the first step since the last evaluation whose loss was not finite; 0 for none."""
    finite: jax.Array
    """bool, whether all parameters are finite."""
    train_loss: jax.Array
    """Mean loss since the last evaluation; cross-entropies are in nats."""
    train_metrics: dict[str, jax.Array]
    """Means over tasks since the last evaluation, along sampled routes."""
    policy_entropy: jax.Array
    """float32 [D], nats, mean over the last batch."""
    blocks_used: jax.Array
    """int32 [D], distinct blocks that are most probable, or on, for any task in the last batch."""
    evaluation: Evaluation
    """Zeros if the segment ends without an evaluation."""


_OPPONENT, _ANEW = 1, 2
"""What is folded into the key of the parameters, for those that are not a new network's."""


@dataclass(frozen=True)
class Program:
    """The functions of a run; each is pure, so that a sweep is a `vmap` of them.

    Attributes:
      config: the whole validated configuration. Only static fields are read here; what may be
        traced comes as `Hyperparams`.
      shape: of the data.
      total_steps: length of the run.
    """

    config: ConfigDict
    shape: DataShape
    total_steps: int

    @property
    def chooses(self) -> bool:
        """Whether the run is judged by its best step instead of its last."""
        return self.config.data.validation_use == "best_step"

    @property
    def objective(self) -> Objective:
        """What the tasks ask for."""
        return OBJECTIVES[self.shape.objective]

    def init(
        self, hyper: Hyperparams, train: MultiTaskData, given: Arrays | None = None
    ) -> TrainState:
        """The state before the first step.

        Args:
          hyper: the traced values.
          train: the training examples.
          given: what another run has trained, by path as in `state.by_path`; it takes the place of
            what would be drawn. Where it has fewer tasks, new rows stand behind it as they are
            drawn. A run that starts from nothing draws something else, even with the same seed.
        """
        keys = make_keys(hyper.seed)
        model = self.model(hyper)
        shared = self.config.data.share_images
        first = draw_batch(train, key=keys.data, step=jnp.int32(0), examples=1, shared=shared)
        images = first.images
        if self.shape.num_old:  # an example for each task, whosever it is
            images = images[jnp.arange(self.shape.num_tasks) % len(images)]
        exploration = exploration_at(
            hyper, jnp.float32(0), jnp.float32(0), schedule=self.config.router.exploration_schedule
        )
        drawn_from = keys.init if given is None else jax.random.fold_in(keys.init, _ANEW)
        routed, variables = model.init_with_output(
            {"params": drawn_from, "router": keys.step}, images, exploration=exploration
        )
        if given is not None:
            variables = _replaced(variables, given)
            routed, _ = model.apply(
                variables,
                images,
                exploration=exploration,
                rngs={"router": keys.step},
                mutable=["batch_stats"],
            )
        routing = routing_of(routed.probabilities, switches=model.switches_blocks)
        params, batch_stats = variables["params"], variables.get("batch_stats", {})
        require_parts(self.config.training.trainable, params, batch_stats)
        opponent = None
        if self.config.data.target:
            alignment = make_alignment(self.config, model, self.objective)
            own = jax.random.fold_in(keys.init, _OPPONENT)
            opponent = start_opponent(self.config, alignment, routed, params, own)
        return TrainState(
            step=jnp.int32(0),
            params=params,
            batch_stats=batch_stats,
            optimizer=self._optimizer(model, hyper).init(params),
            usage=empty_usage(len(model.bank_of_depth), self._usage_window),
            routing=routing,
            tally=empty_tally(self.objective.no_metrics()),
            snapshots=empty_snapshots(routing.probabilities),
            best=(
                Best(params, batch_stats, jnp.float32(-jnp.inf), jnp.int32(0))
                if self.chooses
                else None
            ),
            opponent=opponent,
        )

    def segment(
        self,
        state: TrainState,
        hyper: Hyperparams,
        train: MultiTaskData,
        test: MultiTaskData | Evaluation,
        steps: jax.Array,
        evaluate_now: jax.Array,
    ) -> tuple[TrainState, SegmentReport]:
        """Takes `steps` steps (int32 scalar), then evaluates on `test` if `evaluate_now`.

        Where the run chooses its best step, `test` are the examples to choose by. If they are
        streamed it is what has come of them, and zeros where nothing is evaluated.

        How a run is cut into segments changes neither its parameters nor its curves.
        """
        state = jax.lax.fori_loop(0, steps, lambda _, s: self.step(s, hyper, train), state)
        evaluation = test
        if not isinstance(test, Evaluation):
            evaluation = self._evaluate_if(evaluate_now, state, hyper, test)
        report = self._report(state, self.model(hyper), evaluation)
        snapshots = take_snapshot(
            state.snapshots, evaluation.routing, step=state.step, total_steps=self.total_steps
        )
        tally, snapshots = jax.tree.map(
            lambda new, old: jnp.where(evaluate_now, new, old),
            (empty_tally(self.objective.no_metrics()), snapshots),
            (state.tally, state.snapshots),
        )
        if self.chooses:
            state = state._replace(best=self._best(state, evaluation, evaluate_now))
        return state._replace(tally=tally, snapshots=snapshots), report

    def step(self, state: TrainState, hyper: Hyperparams, train: MultiTaskData) -> TrainState:
        """Takes one step."""
        model = self.model(hyper)
        return train_step(
            self.config,
            model,
            self._optimizer(model, hyper),
            self.objective,
            hyper,
            state,
            train,
            total_steps=self.total_steps,
            num_old=self.shape.num_old,
        )

    def evaluate(self, state: TrainState, hyper: Hyperparams, test: MultiTaskData) -> Evaluation:
        """Evaluates the model of `state` on `test`."""
        return evaluate(
            self.model(hyper),
            variables_of(state),
            test,
            num_classes=self.shape.num_classes,
            objective=self.objective,
        )

    def answer(
        self,
        state: TrainState,
        hyper: Hyperparams,
        images: jax.Array,
        valid: jax.Array,
        classes: jax.Array | None,
    ) -> Answers:
        """The answers of the model of `state` to a part of a split; see `answer_images`."""
        return answer_images(
            self.model(hyper),
            variables_of(state),
            images,
            valid,
            classes=classes,
            objective=self.objective,
        )

    def conclude(self, answers: Answers, test: MultiTaskData) -> Evaluation:
        """`evaluate`, of the answers to all of `test`."""
        classes = self.shape.num_classes
        return conclude(answers, test, num_classes=classes, objective=self.objective)

    def _evaluate_if(
        self,
        wanted: jax.Array,
        state: TrainState,
        hyper: Hyperparams,
        test: MultiTaskData,
    ) -> Evaluation:
        """The evaluation, or zeros at no cost."""

        def zeros() -> Evaluation:
            shapes = jax.eval_shape(self.evaluate, state, hyper, test)
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        return jax.lax.cond(wanted, lambda: self.evaluate(state, hyper, test), zeros)

    def _best(self, state: TrainState, evaluation: Evaluation, evaluate_now: jax.Array) -> Best:
        """The best step so far for the tasks that are learned; of equals the first."""
        name, values = next(iter(evaluation.metrics.items()))
        mean = values[self.shape.num_old :].mean()
        score = mean if higher_is_better(name) else -mean
        better = evaluate_now & (score > state.best.score)
        newest = Best(state.params, state.batch_stats, score, state.step)
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), newest, state.best)

    def _report(
        self, state: TrainState, model: MultiTaskNetwork, evaluation: Evaluation
    ) -> SegmentReport:
        taken = blocks_taken(state.routing, switches=model.switches_blocks)
        used = taken[..., : model.num_blocks].any(0).sum(-1)
        steps = jnp.where(state.tally.steps > 0, state.tally.steps, 1)
        return SegmentReport(
            step=state.step,
            bad_step=state.tally.bad_step,
            finite=jnp.all(
                jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)])
            ),
            train_loss=state.tally.loss / steps,
            train_metrics=jax.tree.map(lambda total: total / steps, state.tally.metrics),
            policy_entropy=state.routing.entropy,
            blocks_used=used.astype(jnp.int32),
            evaluation=evaluation,
        )

    def model(self, hyper: Hyperparams) -> MultiTaskNetwork:
        """The network that is trained."""
        model = make_model(self.config, self.shape, block_noise=hyper.block_noise, seed=hyper.seed)
        training = chosen(self.config.training.trainable)
        return model.clone(
            frozen_statistics="statistics" not in training,
            frozen_routes="mixing" not in training,
        )

    def _optimizer(
        self, model: MultiTaskNetwork, hyper: Hyperparams
    ) -> optax.GradientTransformationExtraArgs:
        return make_optimizer(
            self.config, model.learned_router, hyper, total_steps=self.total_steps
        )

    @property
    def _usage_window(self) -> int:
        """In decisions; by default those of ten steps."""
        per_task = self.config.router.decision_per == "task"
        examples = 1 if per_task else self.config.training.examples_per_task
        decisions = (self.shape.num_tasks - self.shape.num_old) * examples
        return self.config.reward.usage_window or 10 * decisions


def _replaced(variables: Params, given: Arrays) -> Params:
    """The variables with the arrays given in their places, in the first rows of longer ones."""

    def replace(path: tuple[object, ...], leaf: jax.Array) -> jax.Array:
        found = given.get(jax.tree_util.keystr(path, simple=True, separator="."))
        if found is None or found.shape == leaf.shape:
            return leaf if found is None else found
        return jnp.concatenate([found, leaf[len(found) :]])

    return jax.tree_util.tree_map_with_path(replace, variables)
