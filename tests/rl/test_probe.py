"""Probe tasks with a known best route: every rule finds it, and does not without advantages.

Each of four tasks has a planted route over 3 decisions among 5 blocks. An example is answered right
with a probability that grows with the number of decisions on the planted route.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_routers import Learner, make_learner, trajectory_of

from routing_jax.config_fields import RULES, VALUE_RULES
from routing_jax.rl import rewards
from routing_jax.types import Decisions

TASKS, DEPTH, BLOCKS, EXAMPLES, STEPS, SEEDS = 4, 3, 5, 16, 600, 10
BOOTSTRAPPED = ("actor_critic", *VALUE_RULES)
"""Rules whose tables cannot carry the final reward to the depths before: the next depth's values do
not depend on what was done. They are rewarded for each decision, see the route so far, or take
whole returns as targets."""

NAMES = (*RULES, "wpl abdallah_lesser")
"""Rules, WPL in both conventions."""
FIELDS = {
    "wpl": {"learning_rate": 0.05},
    "wpl abdallah_lesser": {"learning_rate": 0.05, "wpl_convention": "abdallah_lesser"},
    "advantage_learning": {"learning_rate": 0.2, "epsilon": 0.3},
    "relax": {"learning_rate": 0.02, "optimizer": "adam"},
}
DEFAULT_FIELDS = {
    "logits": {"learning_rate": 0.3},
    "values": {"learning_rate": 0.3, "epsilon": 0.3},
}
"""By the kind of the policy's outputs."""
APPROXIMATED = {
    "reinforce_mean": {"learning_rate": 0.01, "optimizer": "adam"},
    "q_learning": {"learning_rate": 0.01, "optimizer": "adam", "epsilon": 0.3},
}
# RELAX differentiates a control variate twice, which takes long to compile.
MARKED = [pytest.param(name, marks=pytest.mark.slow if name == "relax" else ()) for name in NAMES]


class Probe(NamedTuple):
    """What may change without compiling anew; scalars."""

    reward_scale: float = 1.0
    rho: float = 0.0


def seen(actions: list[jax.Array]) -> jax.Array:
    """The route so far, as a representation [T, n, D * A]."""
    rows = [jax.nn.one_hot(action, BLOCKS) for action in actions]
    empty = jnp.zeros((TASKS, EXAMPLES, BLOCKS))
    return jnp.concatenate([*rows, *[empty] * (DEPTH - len(actions))], axis=-1)


def decide_along(router, exploration):
    """Decisions where each changes what the next one sees: actions and scales [T, n, D]."""
    agents = router.assign(seen([]), exploration)
    actions, scales, states = [], [], []
    for depth in range(DEPTH):
        states.append(seen(actions))
        choice = router.decide(depth, states[-1], agents, exploration)
        actions.append(jnp.broadcast_to(choice.actions, agents.shape))
        scales.append(jnp.ones(agents.shape) if choice.scale is None else choice.scale)
    return jnp.stack(actions, -1), jnp.stack(scales, -1), agents, tuple(states)


def train(learner: Learner, *, each: bool, probe: Probe, seed: jax.Array):
    """Greedy routes after training and planted ones, int [T, D] both.

    Args:
      learner: the router.
      each: whether decisions are rewarded by themselves, instead of all at the end.
      probe: traced values.
      seed: of everything.
    """
    plant_key, init_key, run_key = jax.random.split(jax.random.key(seed), 3)
    planted = jax.random.randint(plant_key, (TASKS, DEPTH), 0, BLOCKS)
    best = jax.nn.one_hot(planted, BLOCKS)[:, None]
    params = learner.start(init_key, (seen([]),) * DEPTH)

    def routed(params, key):
        actions, scales, agents, states = learner.router.apply(
            {"params": params}, learner.exploration, rngs={"router": key}, method=decide_along
        )
        hits = jnp.where(actions == planted[:, None], 1.0, -1.0)
        # The loss of the task, as far as it is known: what is multiplied by a scale is good or bad.
        loss = -probe.reward_scale * (hits * scales).sum(-1).mean()
        return loss, (actions, agents, states)

    def step(carry, key):
        params, state, history = carry
        route_key, answer_key, rule_key = jax.random.split(key, 3)
        gradient, (actions, agents, states) = jax.grad(routed, has_aux=True)(params, route_key)
        hit = actions == planted[:, None]
        right = jax.random.uniform(answer_key, agents.shape) < hit.mean(-1)
        popularity = rewards.usage(history, BLOCKS)
        single = probe.rho * rewards.collaboration(popularity, actions)
        if each:
            single += probe.reward_scale * jnp.where(hit, 1.0, -1.0)
        final = 0.0 if each else probe.reward_scale
        trajectory = trajectory_of(
            Decisions(actions, agents),
            rewards=single,
            final=final * jnp.where(right, 1.0, -1.0),
            exploration=learner.exploration,
            states=states,
            key=rule_key,
            action_losses=-probe.reward_scale * jnp.broadcast_to(best, (*actions.shape, BLOCKS)),
        )
        params, state = learner.learn(params, state, trajectory, gradient)
        return (params, state, rewards.remember(history, actions)), None

    start = (params, learner.init(params), rewards.empty_usage(DEPTH, 256))
    (params, _, _), _ = jax.lax.scan(step, start, jax.random.split(run_key, STEPS))
    greedy = learner.router.apply({"params": params}, None, method=decide_along)[0]
    return greedy[:, 0], planted


@functools.cache
def trainer(name: str, agent: str, policy: str, trace: float):
    """The compiled training of all seeds."""
    rule = name.split()[0]
    fields = FIELDS.get(name) or DEFAULT_FIELDS[RULES[rule].kind]
    if policy == "approximator":
        fields = APPROXIMATED[name] | {"hidden": 32}
    if policy == "approximator" and agent == "single":
        fields |= {"task_input": True}
    learner = make_learner(
        rule,
        tasks=TASKS,
        allowed=((True,) * BLOCKS,) * DEPTH,
        features=DEPTH * BLOCKS,
        agent=agent,
        policy=policy,
        **({"trace": trace} if trace else {}),
        **fields,
    )
    each = rule in BOOTSTRAPPED and policy == "tabular" and trace == 0
    one = functools.partial(train, learner, each=each)
    return jax.jit(
        lambda probe: jax.vmap(lambda seed: one(probe=probe, seed=seed))(jnp.arange(SEEDS))
    )


def found_routes(
    name: str,
    agent: str = "per_task",
    policy: str = "tabular",
    trace: float = 0.0,
    **probe: float,
):
    """Greedy routes after training and planted ones, int [2, seeds, T, D]."""
    with jax.numpy_dtype_promotion("standard"):  # Adam of optax promotes types inside
        greedy, planted = trainer(name, agent, policy, trace)(Probe(**probe))
    return np.stack([greedy, planted])


def count_found(*args: str | float, **probe: float) -> int:
    greedy, planted = found_routes(*args, **probe)
    return int((greedy == planted).all((1, 2)).sum())


@pytest.mark.parametrize("name", MARKED)
def test_a_table_finds_the_planted_routes(name):
    assert count_found(name) >= 9


@pytest.mark.parametrize("name", MARKED)
def test_without_advantages_a_table_finds_nothing(name):
    assert count_found(name, reward_scale=0.0) == 0


@pytest.mark.parametrize("name", BOOTSTRAPPED)
def test_with_whole_returns_as_targets_a_table_needs_only_the_final_reward(name):
    assert count_found(name, "per_task", "tabular", 1.0) >= 9


@pytest.mark.parametrize(
    ("name", "agent"),
    [
        ("reinforce_mean", "per_task"),
        ("q_learning", "single"),
        pytest.param("reinforce_mean", "single", marks=pytest.mark.slow),
        pytest.param("q_learning", "per_task", marks=pytest.mark.slow),
    ],
)
def test_an_approximator_finds_the_planted_routes(name, agent):
    assert count_found(name, agent, "approximator") >= 9
    assert count_found(name, agent, "approximator", reward_scale=0.0) == 0


@pytest.mark.parametrize(
    # The planted route is worth little here, so that agreeing with the others can outweigh it.
    ("name", "worth"),
    [("wpl", 0.3), ("wpl abdallah_lesser", 0.3), ("reinforce_mean", 0.3)]
    + [pytest.param("relax", 0.3, marks=pytest.mark.slow), ("sarsa", 0.05), ("actor_critic", 0.05)],
)
def test_rho_shifts_routes_towards_sharing(name, worth):
    def blocks_per_depth(rho: float) -> float:
        greedy, _ = found_routes(name, reward_scale=worth, rho=rho)
        return np.mean([len(set(route)) for seed in greedy for route in seed.T])

    assert blocks_per_depth(1.0) < blocks_per_depth(0.0) - 0.5
