"""Axis letters and the PyTrees that pass between the parts.

Axis letters, used in docstrings and einsum strings throughout the package:

====== =================================================================
``T``  tasks
``n``  examples of one task in a batch
``B``  examples of a batch, ``B = T * n``
``D``  depth: number of routing decisions an example takes
``K``  function blocks of a bank
``A``  actions: ``K``, or ``K + 1`` where PASS may be chosen
``G``  agents
``F``  features of a representation
``C``  outputs for a task: classes, or 1 where a number is predicted
``M``  images of a data set
``N``  examples of a task in a data set
``S``  sweep cells, or seeds
====== =================================================================

A decision is an ``int32`` action in ``0 .. K-1``; the action ``K`` is PASS, which leaves the
representation as it is. In written results PASS is -1.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

Params = dict[str, object]
"""A tree of parameter arrays, as Flax Linen returns it."""


class ReadAhead(NamedTuple):
    """The images that some successive steps draw, for sets that fit into no memory."""

    images: jax.Array
    """uint8 [steps, T, n, height, width, channels]; [steps, 1, n, ...] where a batch has only one
    row of images."""
    first: jax.Array
    """int32 scalar, the number of the first of these steps."""

    def of(self, step: jax.Array) -> jax.Array:
        """The images of a step, [T, n, ...]."""
        return jax.lax.dynamic_index_in_dim(self.images, step - self.first, keepdims=False)


class MultiTaskData(NamedTuple):
    """One split of a multi-task data set; images are stored once, however many tasks use them.

    Rows of tasks with fewer than N examples are padded with zeros behind `sizes[t]`.
    """

    images: jax.Array | ReadAhead
    """uint8 [M, height, width, channels], or float32 [M, F] where inputs are vectors. Of a set that
    is streamed `data.stored_images.StoredImages` on the host, and what was read on the device."""
    index: jax.Array
    """int32 [T, N], rows of `images`."""
    labels: jax.Array
    """int32 [T, N], classes of the task, -1 where an example has no label for it; or float32
    [T, N], numbers to predict, NaN where there is none (see `data.labels`)."""
    sizes: jax.Array
    """int32 [T], examples of each task, labelled or not."""
    classes: jax.Array | None = None
    """int32 [T], how many of the C outputs each task has; None where every task has all."""


class Batch(NamedTuple):
    """A task-major batch."""

    images: jax.Array
    """uint8 [T, n, height, width, channels]; [1, n, ...] where all tasks share their images."""
    labels: jax.Array
    """int32 or float32 [T, n]; 0 where there is no label."""
    weights: jax.Array
    """float32 [T, n], 1 where the example has a label for the task and 0 elsewhere."""
    classes: jax.Array | None = None
    """int32 [T], see `MultiTaskData`."""


class Exploration(NamedTuple):
    """How far decisions in training stray from the policy."""

    epsilon: jax.Array | float = 0.0
    """Share of decisions drawn uniformly from the allowed actions."""
    temperature: jax.Array | float = 1.0
    """Divides the policy's logits; for action values 0 means the best action."""


class Decisions(NamedTuple):
    """What a router chose for a batch."""

    actions: jax.Array
    """int32 [T, n, D]."""
    agents: jax.Array
    """int32 [T, n], the agent that decided, in `0 .. G-1`."""


class Trajectory(NamedTuple):
    """One routed batch as reinforcement learning sees it (Rosenbaum et al. 2018, section 3)."""

    decisions: Decisions
    rewards: jax.Array
    """float32 [T, n, D], the reward of each single decision."""
    final_reward: jax.Array
    """float32 [T, n], received after the last decision; 0 where the example has no label."""
    weights: jax.Array
    """float32 [T, n], 1 where the example has a label and 0 elsewhere: those teach nothing."""
    exploration: Exploration = Exploration()
    """What the decisions were drawn with."""
    observations: tuple[jax.Array, ...] = ()
    """What the policy saw: [T, n, ...] before each decision, only the first for a dispatcher over
    tabular policies, nothing where nothing was looked at."""
    key: jax.Array | None = None
    """Random key of the step, for rules that draw."""
    action_losses: jax.Array | None = None
    """float32 [T, n, D, A], the loss of an example if one decision were another and all others
    stayed; None where it was not measured."""
    tasks: jax.Array | None = None
    """int32 [T, n], the task of each example where rows are not tasks, as in a mixed batch, whose
    axes T and n are then 1 and B; None where row t is task t."""


class Routes(NamedTuple):
    """The way of a batch through routed layers; axes as in `Trajectory`."""

    decisions: Decisions | None
    """None where routes are mixtures of blocks."""
    probabilities: jax.Array
    """float32 [T, n or 1, D, A], the policy that decided, exploration left out; or the
    probabilities that blocks are on, or the weights that they are mixed by."""
    observations: tuple[jax.Array, ...] = ()
    """What the router saw; see `Trajectory`."""
    exploration: Exploration | None = None
    """What the decisions were drawn with; None for the best ones."""
    tasks: jax.Array | None = None
    """See `Trajectory`."""
    key: jax.Array | None = None
    """Random key, for rules that draw."""
    allocation: jax.Array | None = None
    """float32 [T, D, K], the probabilities that blocks are on, for their penalties; None where
    blocks are not switched on and off."""


class Recall(NamedTuple):
    """What a router of given parameters says to the decisions of a trajectory, [T, n, D] each.

    A function of the parameters, so that rules can be differentiated.
    """

    value: jax.Array
    """The policy's output for the action taken: a probability, logit or action value."""
    log_prob: jax.Array
    """Log-probability of the action taken, exploration included."""
    best_value: jax.Array
    """The largest output among the allowed actions."""
    expected_value: jax.Array
    """The mean output by the probabilities that actions are drawn with."""
    log_probs: jax.Array
    """[T, n, D, A], log-probabilities of all actions, exploration included."""
    entropy: jax.Array
    """Entropy of the policy in nats, exploration left out."""
    state_value: jax.Array
    """The critic's value of the state; zeros without a critic."""
    dispatch_log_prob: jax.Array
    """float32 [T, n], of the agent that was picked; zeros where agents are fixed."""
    dispatch_entropy: jax.Array
    """float32 [T, n], in nats."""


class Transitions(NamedTuple):
    """A trajectory as a learning rule sees it; each array [T, n, D] unless a shape is given."""

    recall: Recall
    actions: jax.Array
    """int32."""
    rewards: jax.Array
    """The last one includes the final reward."""
    returns: jax.Array
    """Discounted sums of the rewards from a decision on."""
    mean_return: jax.Array
    """The agent's running mean return before this batch."""
    moved_mean_return: jax.Array
    """The same after this batch."""
    discount: jax.Array | float
    """Scalar."""
    trace: jax.Array | float
    """Scalar, the lambda of bootstrapped targets; see `rl.returns`."""
    control: Callable[[jax.Array], jax.Array]
    """RELAX's control variate: relaxed actions [T, n, D, A] to float32 [T, n, D]."""
    key: jax.Array | None
    """Random key of the step."""
    action_losses: jax.Array
    """float32 [T, n, D, A], see `Trajectory`; zeros where they were not measured."""
