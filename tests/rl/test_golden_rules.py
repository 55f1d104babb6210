"""Every rule against numbers worked out by hand, from the trajectory to the gradient.

One task, one example, two decisions; the first depth does not offer action 2. The example takes
the actions (1, 2), is rewarded 0.1 and 0.2 for them and 1 at the end, with discount 0.5:

    r = (0.1, 0.2 + 1) = (0.1, 1.2)        q = (0.1 + 0.5 * 1.2, 1.2) = (0.7, 1.2)
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_routers import Learner, make_learner, trajectory_of

from routing_jax.config_fields import RULES
from routing_jax.rl import rules, transforms
from routing_jax.rl.rules import LOSSES
from routing_jax.types import Decisions, Exploration, Params, Trajectory

ALLOWED = ((True, True, False), (True, True, True))
DISCOUNT = 0.5
# As logits: p = (1/4, 3/4, 0) and (1/4, 1/4, 1/2). The 9 stands where nothing is offered.
LOGITS = [[[0.0, np.log(3.0), 9.0], [0.0, 0.0, np.log(2.0)]]]
VALUES = [[[0.5, 0.25, 9.0], [0.2, 0.6, 0.4]]]
PROBABILITIES = [[[0.25, 0.75, 0.0], [0.25, 0.25, 0.5]]]
TABLES = {"logits": LOGITS, "values": VALUES, "probabilities": PROBABILITIES}


def learner_of(rule: str, **fields: object) -> Learner:
    return make_learner(rule, tasks=1, allowed=ALLOWED, discount=DISCOUNT, **fields)


def params_of(learner: Learner) -> Params:
    """The policy's table above; a critic of (0.3, 0.2)."""
    params = learner.start(jax.random.key(0), (jnp.zeros((1, 1, 4)),) * 2)
    params["policy"] = {"table": jnp.array(TABLES[learner.router.kind], jnp.float32)}
    if "critic" in params:
        params["critic"] = {"table": jnp.array([[[0.3], [0.2]]])}
    return params


def the_trajectory(exploration: Exploration) -> Trajectory:
    return trajectory_of(
        Decisions(jnp.array([[[1, 2]]]), jnp.array([[0]])),
        rewards=jnp.array([[[0.1, 0.2]]]),
        final=jnp.array([[1.0]]),
        exploration=exploration,
        key=jax.random.key(0),
        action_losses=jnp.array([[[[0.3, 0.1, 5.0], [0.6, 0.3, 0.0]]]]),
    )


def gradients(learner: Learner, loss: rules.Loss, **fields: object) -> Params:
    """What a rule adds to the gradient, from the running means (0.2, 0.7)."""
    transform = transforms.learn_from_trajectory(
        learner.router, loss, return_rate=0.5, discount=DISCOUNT, **fields
    )
    params = params_of(learner)
    means = transforms.MeanReturns(jnp.array([[0.2, 0.7]]), jnp.zeros(1))
    zeros = jax.tree.map(jnp.zeros_like, params)
    trajectory = the_trajectory(learner.exploration)
    return transform.update(zeros, means, params, trajectory=trajectory)[0]


GOLDEN = {
    # -advantage * (one-hot - p), with one-hot - p = (-1/4, 1/4, 0) and (-1/4, -1/4, 1/2).
    # Advantages 0.7 and 1.2.
    "reinforce": [[0.175, -0.175, 0], [0.3, 0.3, -0.6]],
    # Advantages 0.7 - 0.2 = 0.5 and 1.2 - 0.7 = 0.5.
    "reinforce_mean": [[0.125, -0.125, 0], [0.125, 0.125, -0.25]],
    # Advantages 0.7 - 0.3 = 0.4 and 1.2 - 0.2 = 1.
    "reinforce_learned": [[0.1, -0.1, 0], [0.25, 0.25, -0.5]],
    # Targets 0.1 + 0.5 * 0.2 = 0.2 and 1.2; advantages 0.2 - 0.3 = -0.1 and 1.2 - 0.2 = 1.
    "actor_critic": [[-0.025, 0.025, 0], [0.25, 0.25, -0.5]],
    # Value minus target, at the action taken. The last target is always 1.2: 0.4 - 1.2 = -0.8.
    # Best next value 0.6: 0.25 - (0.1 + 0.5 * 0.6) = -0.15.
    "q_learning": [[0, -0.15, 0], [0, 0, -0.8]],
    # Value of the next action taken 0.4: 0.25 - (0.1 + 0.5 * 0.4) = -0.05.
    "sarsa": [[0, -0.05, 0], [0, 0, -0.8]],
    # Epsilon 0.3: next probabilities (0.1, 0.8, 0.1), mean 0.02 + 0.48 + 0.04 = 0.54;
    # 0.25 - (0.1 + 0.5 * 0.54) = -0.12.
    "expected_sarsa": [[0, -0.12, 0], [0, 0, -0.8]],
    # Best values 0.5 (the 9 is not offered) and 0.6, scale 0.5:
    # 0.5 + (0.4 - 0.5) / 0.5 = 0.3, 0.25 - 0.3 = -0.05; 0.6 + (1.2 - 0.6) / 0.5 = 1.8.
    "advantage_learning": [[0, -0.05, 0], [0, 0, -1.4]],
    # Minus the advantage against the mean after the batch, 0.5 * (0.2 + 0.7) = 0.45 and
    # 0.5 * (0.7 + 1.2) = 0.95: 0.7 - 0.45 = 0.25 and 1.2 - 0.95 = 0.25.
    "wpl": [[0, -0.25, 0], [0, 0, -0.25]],
    # No gradient of its own; that of the task's loss goes through, see below.
    "gumbel_softmax": [[0, 0, 0], [0, 0, 0]],
    # Losses minus their means, 0.2 of the two actions that are offered and 0.3 of three.
    "hedge": [[0.1, -0.1, 0], [0.3, 0, -0.3]],
    # A control variate that starts as zero leaves REINFORCE.
    "relax": [[0.175, -0.175, 0], [0.3, 0.3, -0.6]],
}
GOLDEN_CRITIC = {
    # Value minus return: 0.3 - 0.7 and 0.2 - 1.2.
    "reinforce_learned": [-0.4, -1.0],
    # Value minus target: 0.3 - 0.2 and 0.2 - 1.2.
    "actor_critic": [0.1, -1.0],
}


def test_no_rule_is_left_out():
    assert set(GOLDEN) == set(RULES)
    assert set(GOLDEN_CRITIC) == {name for name, rule in RULES.items() if rule.critic}


@pytest.mark.parametrize("name", RULES)
def test_the_gradient_of_a_rule(name):
    fields = {"epsilon": 0.3} if name == "expected_sarsa" else {}
    found = gradients(learner_of(name, **fields), LOSSES[name])
    np.testing.assert_allclose(found["policy"]["table"], [GOLDEN[name]], atol=1e-6)
    if name in GOLDEN_CRITIC:
        np.testing.assert_allclose(
            found["critic"]["table"][0, :, 0], GOLDEN_CRITIC[name], rtol=1e-5
        )


def test_a_control_variate_that_is_constant_is_a_baseline():
    # RELAX with c = 0.2: advantages 0.5 and 1; its corrections have no slope.
    learner = learner_of("relax")

    def loss(t):
        def constant(relaxed):
            return jnp.full(relaxed.shape[:-1], 0.2)

        return rules.relax(t._replace(control=constant))

    found = gradients(learner, loss)["policy"]["table"]
    np.testing.assert_allclose(found, [[[0.125, -0.125, 0], [0.25, 0.25, -0.5]]], atol=1e-6)


def test_advantage_learning_of_scale_one_is_q_learning():
    def loss(t):
        return rules.advantage_learning(t, scale=1.0)

    found = gradients(learner_of("advantage_learning"), loss)["policy"]["table"]
    np.testing.assert_allclose(found, [GOLDEN["q_learning"]], atol=1e-6)


def test_the_entropy_bonus_of_logits():
    # H = -sum p log p; the gradient of -w * H is w * p * (log p + H). With w = 2:
    # p = (1/4, 3/4): log p = (-1.386294, -0.287682), H = 0.562335, 2 p (log p + H) = -+0.411980.
    # p = (1/4, 1/4, 1/2): log p = (-1.386294, -1.386294, -0.693147), H = 1.039721:
    # 0.5 * -0.346574 = -0.173287 twice, and 1 * 0.346574.
    found = gradients(learner_of("reinforce"), rules.gumbel_softmax, entropy_weight=2.0)["policy"]
    expected = [[-0.411980, 0.411980, 0], [-0.173287, -0.173287, 0.346574]]
    np.testing.assert_allclose(found["table"], [expected], atol=1e-5)


@pytest.mark.parametrize(
    ("convention", "rows"),
    [
        # R = 0 before, so 0.35 and 0.6 after, and the advantages are 0.35 and 0.6.
        # Gains times pi: 0.35 * 0.75 = 0.2625, 0.6 * 0.5 = 0.3. Clipped to (0.25, 1, 0) and
        # (0.25, 0.25, 0.8), divided by 1.25 and 1.3.
        ("routing_networks", [[0.2, 0.8, 0], [0.1923077, 0.1923077, 0.6153846]]),
        # Gains times 1 - pi: 0.35 * 0.25 = 0.0875, 0.6 * 0.5 = 0.3: (0.25, 0.8375, 0) / 1.0875.
        ("abdallah_lesser", [[0.2298851, 0.7701149, 0], [0.1923077, 0.1923077, 0.6153846]]),
    ],
)
def test_a_step_of_wpl(convention, rows):
    learner = learner_of("wpl", wpl_convention=convention, learning_rate=1.0, return_rate=0.5)
    params = params_of(learner)
    after, _ = learner.learn(params, learner.init(params), the_trajectory(Exploration()))
    np.testing.assert_allclose(after["policy"]["table"], [rows], rtol=1e-5)


def test_a_step_of_wpl_with_a_floor():
    # As above (abdallah_lesser), but no less than 0.1 for what is offered. First depth: above the
    # floor (0.15, 0.7375), sum 0.8875; 0.8 is shared out: 0.1 + 0.8 * 0.15 / 0.8875 = 0.2352113.
    # Second: (0.15, 0.15, 0.7), sum 1: 0.1 + 0.7 * (0.15, 0.15, 0.7) = (0.205, 0.205, 0.59).
    learner = learner_of(
        "wpl",
        wpl_convention="abdallah_lesser",
        learning_rate=1.0,
        return_rate=0.5,
        probability_floor=0.1,
    )
    params = params_of(learner)
    after, _ = learner.learn(params, learner.init(params), the_trajectory(Exploration()))
    expected = [[0.2352113, 0.7647887, 0], [0.205, 0.205, 0.59]]
    np.testing.assert_allclose(after["policy"]["table"], [expected], rtol=1e-5)


@pytest.mark.parametrize("rule", ["reinforce", "q_learning"])
def test_a_step_takes_the_gradient_times_the_learning_rate(rule):
    learner = learner_of(rule, learning_rate=0.1)
    params = params_of(learner)
    trajectory = the_trajectory(learner.exploration)
    after, _ = learner.learn(params, learner.init(params), trajectory)
    expected = params["policy"]["table"] - 0.1 * jnp.array([GOLDEN[rule]], jnp.float32)
    np.testing.assert_allclose(after["policy"]["table"], expected, rtol=1e-5)


def test_the_gradient_of_the_tasks_loss_goes_through():
    learner = learner_of("gumbel_softmax", learning_rate=1.0)
    params = params_of(learner)
    gradient = jax.tree.map(jnp.ones_like, params)
    trajectory = the_trajectory(learner.exploration)
    after, _ = learner.learn(params, learner.init(params), trajectory, gradient)
    np.testing.assert_allclose(after["policy"]["table"], params["policy"]["table"] - 1, rtol=1e-5)
