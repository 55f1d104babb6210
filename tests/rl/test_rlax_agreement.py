"""The rules agree with rlax where it has them (the extra `rl-check` installs it)."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_routers import make_learner, trajectory_of

from routing_jax.config_fields import RULES
from routing_jax.rl import transforms
from routing_jax.rl.rules import LOSSES
from routing_jax.types import Decisions, Trajectory

with warnings.catch_warnings():  # what it imports may be older than the warnings of its libraries
    warnings.simplefilter("ignore")
    rlax = pytest.importorskip("rlax", reason="rlax is not installed (extra rl-check)")

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # rlax's own

TASKS, DEPTH, ACTIONS, DISCOUNT, EPSILON = 8, 4, 5, 0.7, 0.2


class Case:
    """Random outputs, and a random trajectory of one example for each of several agents."""

    def __init__(self, rule: str, seed: int) -> None:
        rng = np.random.default_rng(seed)

        def normal(*shape: int) -> jax.Array:
            return jnp.asarray(rng.normal(size=shape), jnp.float32)

        fields = {"epsilon": EPSILON} if RULES[rule].kind == "values" else {}
        self.rule = rule
        self.learner = make_learner(
            rule, tasks=TASKS, allowed=((True,) * ACTIONS,) * DEPTH, **fields
        )
        self.outputs, self.critic = normal(TASKS, DEPTH, ACTIONS), normal(TASKS, DEPTH)
        self.actions = jnp.asarray(rng.integers(0, ACTIONS, (TASKS, DEPTH)), jnp.int32)
        self.rewards, self.final = normal(TASKS, DEPTH), normal(TASKS)
        # As rlax takes it: the final reward belongs to the last decision, and nothing follows it.
        self.r_t = self.rewards.at[:, -1].add(self.final)
        self.discount_t = jnp.full((TASKS, DEPTH), DISCOUNT).at[:, -1].set(0.0)

    def gradient(self) -> dict[str, jax.Array]:
        params = {"policy": {"table": self.outputs}}
        if RULES[self.rule].critic:
            params["critic"] = {"table": self.critic[..., None]}
        transform = transforms.learn_from_trajectory(
            self.learner.router, LOSSES[self.rule], return_rate=0.1, discount=DISCOUNT
        )
        zeros = jax.tree.map(jnp.zeros_like, params)
        return transform.update(
            zeros, transform.init(params), params, trajectory=self._trajectory()
        )[0]

    def _trajectory(self) -> Trajectory:
        return trajectory_of(
            Decisions(self.actions[:, None], jnp.arange(TASKS)[:, None]),
            rewards=self.rewards[:, None],
            final=self.final[:, None],
            exploration=self.learner.exploration,
        )

    def next(self, x: jax.Array) -> jax.Array:
        """What belongs to the next decision, [T, D, ...]."""
        return jnp.concatenate([x[:, 1:], jnp.zeros_like(x[:, :1])], axis=1)


def over_all(function, *arguments: jax.Array) -> jax.Array:
    """An rlax function of one transition, over tasks and depths."""
    return jax.vmap(jax.vmap(function))(*arguments)


def td_errors(case: Case) -> jax.Array:
    """rlax's errors of all transitions, [T, D]."""
    now = (case.outputs, case.actions, case.r_t, case.discount_t)
    following = case.next(case.outputs)
    if case.rule == "q_learning":
        return over_all(rlax.q_learning, *now, following)
    if case.rule == "sarsa":
        return over_all(rlax.sarsa, *now, following, case.next(case.actions))
    greedy = jax.nn.one_hot(following.argmax(-1), ACTIONS)
    behaviour = (1 - EPSILON) * greedy + EPSILON / ACTIONS
    return over_all(rlax.expected_sarsa, *now, following, behaviour)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("rule", ["q_learning", "sarsa", "expected_sarsa"])
def test_td_errors_of_action_values(rule, seed):
    case = Case(rule, seed)
    # Half the squared error: minus the error, where the action was taken.
    expected = -td_errors(case)[..., None] * jax.nn.one_hot(case.actions, ACTIONS)
    found = case.gradient()["policy"]["table"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_td_errors_of_the_critic(seed):
    case = Case("actor_critic", seed)
    errors = over_all(
        rlax.td_learning, case.critic, case.r_t, case.discount_t, case.next(case.critic)
    )
    np.testing.assert_allclose(case.gradient()["critic"]["table"][..., 0], -errors, atol=1e-5)
    assert_policy_gradient(case, errors)


@pytest.mark.parametrize("rule", ["reinforce", "reinforce_learned"])
def test_policy_gradients(rule):
    case = Case(rule, 0)
    returns = jax.vmap(rlax.discounted_returns)(
        case.r_t, jnp.full((TASKS, DEPTH), DISCOUNT), jnp.zeros((TASKS, DEPTH))
    )
    baseline = case.critic if rule == "reinforce_learned" else 0.0
    assert_policy_gradient(case, returns - baseline)


def assert_policy_gradient(case: Case, advantages: jax.Array) -> None:
    def loss(logits: jax.Array) -> jax.Array:
        weights = jnp.ones((TASKS, DEPTH))
        means = jax.vmap(rlax.policy_gradient_loss)(logits, case.actions, advantages, weights)
        return DEPTH * means.sum()  # rlax takes the mean over time

    expected = jax.grad(loss)(case.outputs)
    np.testing.assert_allclose(case.gradient()["policy"]["table"], expected, atol=1e-5)
