"""The router: agents and a policy, what they decide, and what learning rules ask of them."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from routing_jax.config_fields import RuleTraits
from routing_jax.routers import exploration as explore
from routing_jax.routers.agents import Dispatcher
from routing_jax.routers.policies import (
    ApproximatorPolicy,
    ControlVariate,
    FixedPolicy,
    TabularPolicy,
)
from routing_jax.types import Exploration, Recall, Trajectory


class Choice(NamedTuple):
    """Decisions of a batch, at one depth or (with an axis D behind n) at all of them."""

    actions: jax.Array
    """int32 [T, n]; [T, 1] where one decision serves all examples of a task."""
    probabilities: jax.Array
    """float32 [T, n or 1, A], the policy itself, exploration left out."""
    scale: jax.Array | None = None
    """float32 [T, n], exactly 1, whose gradient is that of the straight-through estimator."""


class Router(nn.Module):
    """Decides which block, or PASS, each example takes at each depth.

    Batches are task-major, [T, n, ...]: row t holds examples of task t. In a mixed batch, with axes
    [1, B, ...], `tasks` (int32 [1, B]) tells the task of each example instead.

    Attributes:
      agent_of_task: the fixed agent of each task, in `0 .. G-1`; used where there is no dispatcher.
      policy: tabular, approximator, or fixed routes; its outputs are of the kind `kind`.
      allowed: bool [D, A] as nested tuples, the actions offered at each depth.
      kind: "probabilities", "logits" or "values", see `routers.exploration`.
      per_task: one decision per task, depth and step, instead of one per example.
      dispatcher: picks agents by the input, or None.
      critic: values of states (a policy with one output), or None.
      control: RELAX's control variate, or None.
      pass_action: the last action is PASS.
      straight_through: decisions carry the gradient of the straight-through Gumbel-softmax (Jang et
        al. 2017; Maddison et al. 2017), so that the loss of the task trains the policy.
      full_information: it learns from the losses of all actions.
    """

    agent_of_task: tuple[int, ...]
    policy: TabularPolicy | ApproximatorPolicy | FixedPolicy
    allowed: tuple[tuple[bool, ...], ...]
    kind: str = "probabilities"
    per_task: bool = False
    dispatcher: Dispatcher | None = None
    critic: TabularPolicy | ApproximatorPolicy | None = None
    control: ControlVariate | None = None
    straight_through: bool = False
    full_information: bool = False
    pass_action: bool = False

    @property
    def learns(self) -> bool:
        """Whether there is anything to learn."""
        return not isinstance(self.policy, FixedPolicy)

    @property
    def decides_ahead(self) -> bool:
        """Whether the decisions of all depths can be drawn before the forward pass."""
        return not (self.policy.looks_at_input or self.straight_through)

    @property
    def one_route_per_task(self) -> bool:
        """Whether the most probable route of an example depends on nothing but its task."""
        return not self.policy.looks_at_input and self.dispatcher is None

    @property
    def num_agents(self) -> int:
        """G."""
        return self.policy.num_agents

    @property
    def num_actions(self) -> int:
        """A."""
        return len(self.allowed[0])

    @property
    def num_tasks(self) -> int:
        """T."""
        return len(self.agent_of_task)

    @property
    def depth(self) -> int:
        """D."""
        return len(self.allowed)

    @property
    def num_blocks(self) -> int:
        """K."""
        return self.num_actions - self.pass_action

    @property
    def default_exploration(self) -> Exploration:
        """What training explores with where nothing else is asked for."""
        traits = RuleTraits(self.kind)
        return Exploration(traits.epsilon, traits.temperature)

    def may_pass(self, depth: int, num_blocks: int) -> bool:
        """Whether PASS, the action behind the blocks, is offered at this depth."""
        return any(self.allowed[depth][num_blocks:])

    def initialise(self, states: tuple[jax.Array, ...], tasks: jax.Array | None = None) -> None:
        """Touches every parameter: a forward pass alone needs neither critic nor control variate.

        Args:
          states: what stands before each depth, [T, n, ...] each.
          tasks: of a mixed batch.
        """
        agents = self.assign(states[0], None, tasks)
        for network in (self.policy, self.critic):
            if network is not None:
                self._outputs(network, states, agents, tasks)
        if self.control is not None:
            shape = (*agents.shape, len(self.allowed), self.num_actions)
            self.control(jnp.zeros(shape), agents)

    def assign(
        self, x: jax.Array, exploration: Exploration | None, tasks: jax.Array | None = None
    ) -> jax.Array:
        """The agent of each example: int32 [T, n].

        Args:
          x: representations [T, n, ...].
          exploration: epsilon of a dispatcher's draw; None for the most probable agent.
          tasks: of a mixed batch.
        """
        if self.dispatcher is None:
            agents = jnp.asarray(self.agent_of_task, jnp.int32)
            agents = agents[:, None] if tasks is None else agents[tasks]
            return jnp.broadcast_to(agents, x.shape[:2])
        logits = self.dispatcher(x, tasks)
        if exploration is None:
            return logits.argmax(-1).astype(jnp.int32)
        probabilities = jnp.exp(_log_dispatch(logits, exploration))
        return explore.sample(self.make_rng("router"), probabilities, x.shape[:2])

    def decide_ahead(
        self,
        agents: jax.Array,
        exploration: Exploration | None,
        tasks: jax.Array | None = None,
    ) -> Choice:
        """The decisions of all depths, for routers that need not see the input.

        Args:
          agents: int32 [T, n].
          exploration: None for the best actions.
          tasks: of a mixed batch.

        Returns:
          A choice with an axis D: actions [T, n or 1, D].
        """
        if not self.learns:
            exploration = None
        if self.per_task and tasks is not None:
            return _dealt_out(self.decide_ahead(self._agents_of_tasks(), exploration), tasks)
        mixed = self.dispatcher is not None or tasks is not None
        rows = agents if mixed else agents[:, :1]
        one_each = self.per_task or (exploration is None and not mixed)
        draws = 1 if one_each else agents.shape[1]
        shape = (agents.shape[0], draws, len(self.allowed))
        return self._choose(self.policy()[rows], jnp.asarray(self.allowed), exploration, shape)

    def decide(
        self,
        depth: int,
        x: jax.Array,
        agents: jax.Array,
        exploration: Exploration | None,
        tasks: jax.Array | None = None,
    ) -> Choice:
        """The decisions at one depth.

        Args:
          depth: in `0 .. D-1`.
          x: representations before it, [T, n, ...].
          agents: int32 [T, n].
          exploration: None for the best actions.
          tasks: of a mixed batch.
        """
        if self.per_task and tasks is not None:  # nothing looks at x then
            return _dealt_out(self.decide(depth, x, self._agents_of_tasks(), exploration), tasks)
        if self.policy.looks_at_input:
            outputs = self.policy(depth, x, self._by_row(agents, tasks), tasks)
        else:
            outputs = self.policy()[:, depth][agents]
        shape = (agents.shape[0], 1) if self.per_task else agents.shape
        outputs = outputs[:, : shape[1]]
        return self._choose(outputs, jnp.asarray(self.allowed[depth]), exploration, shape)

    def recall(self, trajectory: Trajectory) -> Recall:
        """What the router's present parameters say to a trajectory; see `Recall`."""
        actions, agents = trajectory.decisions
        outputs = self._outputs(self.policy, trajectory.observations, agents, trajectory.tasks)
        allowed = jnp.asarray(self.allowed)
        exploration = self._of_draws(trajectory.exploration)
        log_probs = explore.log_behaviour(outputs, allowed, exploration, kind=self.kind)
        policy = explore.log_policy(
            outputs, allowed, kind=self.kind, temperature=exploration.temperature
        )
        offered = explore.mask(outputs, allowed)
        log_dispatch = self._log_dispatch(trajectory)
        return Recall(
            value=self._of_action(offered, agents, actions),
            log_prob=self._of_action(log_probs, agents, actions),
            best_value=self._of_state(offered.max(-1), agents),
            expected_value=self._of_state((jnp.exp(log_probs) * offered).sum(-1), agents),
            log_probs=self._of_state(log_probs, agents),
            entropy=self._of_state(_entropy(policy), agents),
            state_value=self._state_value(trajectory),
            dispatch_log_prob=jnp.take_along_axis(log_dispatch, agents[..., None], -1)[..., 0],
            dispatch_entropy=_entropy(log_dispatch),
        )

    def control_variate(self, relaxed: jax.Array, agents: jax.Array) -> jax.Array:
        """RELAX's guess of the return, float32 [T, n, D], of relaxed actions [T, n, D, A]."""
        return self.control(relaxed, agents)

    def _choose(
        self,
        outputs: jax.Array,
        allowed: jax.Array,
        exploration: Exploration | None,
        shape: tuple[int, ...],
    ) -> Choice:
        """Actions of the shape given, by outputs that broadcast to it but for their last axis."""
        if exploration is None:
            actions = explore.mask(outputs, allowed).argmax(-1).astype(jnp.int32)
            policy = explore.log_policy(outputs, allowed, kind=self.kind, temperature=_greedy(self))
            return Choice(jnp.broadcast_to(actions, shape), jnp.exp(policy))
        drawn = self._of_draws(exploration)
        log_probs = explore.log_behaviour(outputs, allowed, drawn, kind=self.kind)
        policy = explore.log_policy(outputs, allowed, kind=self.kind, temperature=drawn.temperature)
        key = self.make_rng("router")
        if self.straight_through:
            actions, scale = straight_through(key, log_probs, exploration.temperature)
            return Choice(actions, jnp.exp(policy), scale)
        return Choice(explore.sample(key, jnp.exp(log_probs), shape), jnp.exp(policy))

    def _of_draws(self, exploration: Exploration) -> Exploration:
        """What actions are drawn with: a straight-through temperature only relaxes the draw."""
        return exploration._replace(temperature=1.0) if self.straight_through else exploration

    def _outputs(
        self,
        network: TabularPolicy | ApproximatorPolicy,
        states: tuple[jax.Array, ...],
        agents: jax.Array,
        tasks: jax.Array | None,
    ) -> jax.Array:
        """Outputs of a network: [T, n, D, O], or the table [G, D, O] itself."""
        if not network.looks_at_input:
            return network()
        agents = self._by_row(agents, tasks)
        return jnp.stack([network(d, x, agents, tasks) for d, x in enumerate(states)], axis=2)

    def _by_row(self, agents: jax.Array, tasks: jax.Array | None) -> jax.Array:
        """Agents as [T] where a row has one, which is cheaper to select by."""
        fixed = self.dispatcher is None and tasks is None
        return jnp.asarray(self.agent_of_task) if fixed else agents

    def _agents_of_tasks(self) -> jax.Array:
        """The fixed agents as of a batch with one example of each task: int32 [T, 1]."""
        return jnp.asarray(self.agent_of_task, jnp.int32)[:, None]

    def _of_action(self, outputs: jax.Array, agents: jax.Array, actions: jax.Array) -> jax.Array:
        """The entries [T, n, D] of the actions taken, out of what `_outputs` gives."""
        if self.policy.looks_at_input:
            return jnp.take_along_axis(outputs, actions[..., None], axis=-1)[..., 0]
        return outputs[agents[..., None], jnp.arange(actions.shape[-1]), actions]

    def _of_state(self, rows: jax.Array, agents: jax.Array) -> jax.Array:
        """Rows [T, n, D, ...] of the agents that decided, out of what was made of `_outputs`."""
        return rows if self.policy.looks_at_input else rows[agents]

    def _state_value(self, trajectory: Trajectory) -> jax.Array:
        agents = trajectory.decisions.agents
        if self.critic is None:
            return jnp.zeros(trajectory.decisions.actions.shape)
        values = self._outputs(self.critic, trajectory.observations, agents, trajectory.tasks)
        return self._of_state(values[..., 0], agents)

    def _log_dispatch(self, trajectory: Trajectory) -> jax.Array:
        """Log-probabilities that agents are picked with, [T, n, G]; zeros where they are fixed."""
        if self.dispatcher is None:
            return jnp.zeros((*trajectory.decisions.agents.shape, self.num_agents))
        logits = self.dispatcher(trajectory.observations[0], trajectory.tasks)
        return _log_dispatch(logits, trajectory.exploration)


def straight_through(
    key: jax.Array, log_probs: jax.Array, temperature: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """Draws actions by the Gumbel-max trick, with the gradient of the relaxed ones.

    The scale of a decision is `1 + (y - stop_gradient(y))`, with y the relaxed weight
    `softmax((log_probs + gumbel) / temperature)` of the action drawn. Multiplied into the input of
    the block it changes nothing but lets the loss reach the policy, at the price of the chosen path
    (the form of Rosenbaum et al.'s released code; the full estimator needs all blocks' outputs).

    Args:
      key: a random key.
      log_probs: float32 [..., A].
      temperature: above 0.

    Returns:
      int32 actions [...] and float32 scales [...].
    """
    noisy = log_probs + jax.random.gumbel(key, log_probs.shape)
    actions = noisy.argmax(-1).astype(jnp.int32)
    weight = jnp.take_along_axis(jax.nn.softmax(noisy / temperature), actions[..., None], -1)[
        ..., 0
    ]
    return actions, 1 + (weight - jax.lax.stop_gradient(weight))


def _dealt_out(choice: Choice, tasks: jax.Array) -> Choice:
    """The choice of each task (arrays [T, 1, ...]) for the examples of a mixed batch [1, B]."""
    return jax.tree.map(lambda of_task: of_task[tasks, 0], choice)


def _greedy(router: Router) -> float:
    """The temperature of evaluation."""
    return 0.0 if router.kind == "values" else 1.0


def _log_dispatch(logits: jax.Array, exploration: Exploration) -> jax.Array:
    everyone = jnp.ones(logits.shape[-1], bool)
    mixed = Exploration(exploration.epsilon, 1.0)
    return explore.log_behaviour(logits, everyone, mixed, kind="logits")


def _entropy(log_probs: jax.Array) -> jax.Array:
    """Entropy in nats over the last axis; an impossible action adds nothing, to gradients too."""
    possible = log_probs > -1e8
    safe = jnp.where(possible, log_probs, 0.0)
    return -jnp.where(possible, jnp.exp(safe) * safe, 0.0).sum(-1)
