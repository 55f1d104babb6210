"""Every agent, policy, rule, reward and routing structure trains, is saved and is restored."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax import config_fields as fields
from routing_jax.config import base_config, validate
from routing_jax.errors import ConfigError
from routing_jax.models.factory import DataShape
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.pace import Elapsed
from routing_jax.training.program import Program
from routing_jax.training.state import hyperparams
from routing_jax.types import MultiTaskData

TASKS, STEPS = 3, 2
LEARNED = tuple(policy for policy in fields.ROUTER_POLICIES if policy != "fixed")

# What is not about rules and policies is spread over their pairs.
CASES = {
    ("wpl", "tabular"): {},
    ("reinforce", "tabular"): {"router.agent": "single", "router.entropy_weight": 0.1},
    ("reinforce_mean", "tabular"): {"router.agent": "dispatched", "router.pass_action": True},
    ("reinforce_learned", "tabular"): {"router.decision_per": "task", "router.optimizer": "adam"},
    ("actor_critic", "tabular"): {"model.bank": "shared", "reward.final": "negative_loss"},
    ("q_learning", "tabular"): {"router.agent": "dispatched", "router.num_agents": 2},
    ("sarsa", "tabular"): {"reward.collaboration": "probability", "reward.rho": 0.3},
    ("expected_sarsa", "tabular"): {"router.temperature": 0.5, "router.pass_action": True},
    ("advantage_learning", "tabular"): {"router.epsilon_end": 0.01, "reward.usage_window": None}
    | {"router.exploration_schedule": "geometric"},
    ("gumbel_softmax", "tabular"): {"router.decision_per": "task", "router.temperature_end": 0.1},
    ("relax", "tabular"): {"router.pass_action": True, "router.epsilon": 0.1},
    ("hedge", "tabular"): {"router.pass_action": True, "router.measured": 1},
    ("hedge", "approximator"): {"router.agent": "dispatched", "router.measured": 2},
    ("reinforce", "approximator"): {"router.networks": "shared", "router.pass_action": True},
    ("reinforce_mean", "approximator"): {"router.agent": "single", "router.task_input": True},
    ("reinforce_learned", "approximator"): {"router.agent": "dispatched"},
    ("actor_critic", "approximator"): {"model.block": "conv", "model.encoder": "stem"},
    ("q_learning", "approximator"): {"router.networks": "shared", "router.agent": "single"},
    ("sarsa", "approximator"): {"router.agent": "dispatched", "router.task_input": True},
    ("expected_sarsa", "approximator"): {"model.bank": "shared", "reward.discount": 0.5},
    ("advantage_learning", "approximator"): {"router.pass_action": True},
    ("gumbel_softmax", "approximator"): {"router.pass_action": True, "model.bank": "shared"},
    ("relax", "approximator"): {"router.agent": "dispatched", "router.pass_action": True},
}
MORE = [
    {"router.wpl_convention": "abdallah_lesser", "router.probability_floor": 0.01},
    {"router.agent": "dispatched", "router.pass_action": True, "reward.rho": 0.3},
    {"router.decision_per": "task", "model.bank": "shared", "router.agent": "single"},
    {"model.block": "conv", "model.encoder": "stem", "router.pass_action": True},
    {"router.rule": "gumbel_softmax", "model.block": "conv", "model.encoder": "stem"},
    {"router.rule": "relax", "router.agent": "dispatched", "router.networks": "shared"}
    | {"router.policy": "approximator"},
    {"router.rule": "reinforce", "router.temperature": 50.0, "router.temperature_end": 0.5}
    | {"router.exploration_schedule": "inverse_sqrt", "model.head": "own"},
]
"""Combinations beyond the pairs."""
FAST = (
    *("wpl-tabular", "reinforce_mean-approximator", "actor_critic-tabular", "q_learning-tabular"),
    *("gumbel_softmax-tabular", "hedge-tabular"),
)
"""One of each kind of rule; the others take long for their number."""
COVERED = {
    "router.agent": fields.ROUTER_AGENTS,
    "router.policy": LEARNED,
    "router.networks": fields.POLICY_NETWORKS,
    "router.rule": fields.ROUTER_RULES,
    "router.optimizer": fields.ROUTER_OPTIMIZERS,
    "router.exploration_schedule": fields.EXPLORATION_SCHEDULES,
    "router.decision_per": fields.DECISIONS_PER,
    "router.pass_action": (False, True),
    "router.task_input": (False, True),
    "router.wpl_convention": fields.WPL_CONVENTIONS,
    "model.bank": fields.BANKS,
    "model.block": ("dense", "conv"),
    "model.head": ("routed", "own"),
    "reward.final": fields.FINAL_REWARDS,
    "reward.collaboration": fields.COLLABORATION_REWARDS,
}


def make_config(overrides: dict[str, object]):
    config = base_config()
    config.model.encoder, config.model.width = "flatten", 16
    config.router.hidden, config.training.examples_per_task, config.router.measured = 8, 4, 1
    config.training.steps = STEPS
    for name, value in overrides.items():
        group, leaf = name.split(".")
        config[group][leaf] = value
    validate(config)
    return config


def make_data() -> MultiTaskData:
    """Three tasks of two classes over random 4x4 images: as many features as a layer is wide."""
    rng = np.random.default_rng(0)
    sizes = np.array([7, 5, 6], np.int32)
    index = rng.integers(0, 9, (TASKS, 7)).astype(np.int32)
    labels = rng.integers(0, 2, (TASKS, 7)).astype(np.int32)
    images = rng.integers(0, 256, (9, 4, 4, 1)).astype(np.uint8)
    return jax.tree.map(jnp.asarray, MultiTaskData(images, index, labels, sizes))


def go_together(overrides: dict[str, object]) -> bool:
    try:
        make_config(overrides)
    except ConfigError:
        return False
    return True


def named() -> dict[str, dict[str, object]]:
    """A case for each pair of rule and policy that goes together, by name."""
    pairs = itertools.product(fields.ROUTER_RULES, LEARNED)
    pairs = {pair: {"router.rule": pair[0], "router.policy": pair[1]} for pair in pairs}
    pairs = {pair: case for pair, case in pairs.items() if go_together(case)}
    return {"-".join(pair): case | CASES.get(pair, {}) for pair, case in pairs.items()}


def every_case() -> list:
    """All cases; for their number most of them, and those beyond the pairs, are slow."""
    slow = {"marks": pytest.mark.slow}
    cases = [
        pytest.param(case, id=name, **({} if name in FAST else slow))
        for name, case in named().items()
    ]
    return [*cases, *(pytest.param(case, **slow) for case in MORE)]


def test_only_wpl_refuses_a_policy():
    everything = {"-".join(pair) for pair in itertools.product(fields.ROUTER_RULES, LEARNED)}
    assert everything - set(named()) == {"wpl-approximator"}


@pytest.mark.parametrize("name", COVERED)
def test_every_value_is_there(name):
    group, leaf = name.split(".")
    configs = [make_config(case) for case in [*named().values(), *MORE]]
    assert {config[group][leaf] for config in configs} == set(COVERED[name])


# Adam of optax promotes types inside.
@jax.numpy_dtype_promotion("standard")
@pytest.mark.parametrize("overrides", every_case())
def test_it_trains_and_is_restored(overrides, tmp_path):
    config, data = make_config(overrides), make_data()
    program = Program(config, DataShape(TASKS, 2, (4, 4, 1)), total_steps=STEPS)
    hyper = hyperparams(config)

    @jax.jit
    def run():
        start = program.init(hyper, data)
        return start, *program.segment(
            start, hyper, data, data, jnp.int32(STEPS), jnp.asarray(True)
        )

    start, state, report = run()
    assert int(state.step) == STEPS
    assert bool(report.finite)
    assert int(report.bad_step) == 0
    probabilities = np.asarray(report.evaluation.routing)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    assert (probabilities >= 0).all()
    for part in start.params["router"]:
        before, after = start.params["router"][part], state.params["router"][part]
        changed = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
        assert any(jax.tree.leaves(changed)), f"{part} learns nothing"
    with Checkpoints(tmp_path / "checkpoints", dataset="digits") as checkpoints:
        checkpoints.save(state, Elapsed())
    restored = Checkpoints(tmp_path / "checkpoints", dataset="digits").restore(start)
    chex.assert_trees_all_equal(restored.state, state)
