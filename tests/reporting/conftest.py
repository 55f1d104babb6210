"""Made-up runs in the shape that the training loop hands to the reports."""

from collections.abc import Callable

import numpy as np
import pytest

from routing_jax.reporting.results import DatasetRecord, RunRecord, SecondsRecord
from routing_jax.reporting.routing_file import Routing

STEPS = (0, 50, 100)


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    return -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(axis=-1)


def _curve(seed: int, entropy: np.ndarray) -> list[dict]:
    return [
        {
            "step": step,
            "epoch": step / 50,
            "train_loss": 0.7 * 0.97**step,
            "test_accuracy": 0.8 + 0.0015 * step + 0.01 * seed,
            "test_balanced_accuracy": 0.5 + 0.004 * step + 0.01 * seed,
            "policy_entropy_per_depth": entropy[i],
            "blocks_used_per_depth": [1] * entropy.shape[1],
        }
        for i, step in enumerate(STEPS)
    ]


@pytest.fixture(scope="session")
def make_run() -> Callable[..., tuple[RunRecord, Routing]]:
    """Makes the record and the routing of a run of the given sizes."""

    def make(
        *,
        seeds: int = 1,
        tasks: int = 3,
        depth: int = 2,
        blocks: int = 4,
        pass_action: bool = False,
        embedded_fallback: bool = False,
    ) -> tuple[RunRecord, Routing]:
        actions = blocks + pass_action
        draws = np.random.default_rng(0).dirichlet(np.ones(actions), (seeds, tasks, depth))
        uniform = np.full_like(draws, 1 / actions)
        probabilities = np.stack([uniform, (uniform + draws) / 2, draws], axis=1)
        greedy = draws.argmax(axis=-1)
        entropy = _entropy(probabilities).mean(axis=2)
        record = RunRecord(
            experiment="mnist_mtl",
            dataset=DatasetRecord("mnist", embedded_fallback, 60_000, 10_000, "test"),
            tasks=[f"digit {i}" for i in range(tasks)],
            seeds=list(range(seeds)),
            test={
                "accuracy": np.full((seeds, tasks), 0.993),
                "balanced_accuracy": np.full((seeds, tasks), 0.975),
            },
            recalls=np.full((seeds, tasks, 2), 0.975),
            curve=[_curve(seed, entropy[seed]) for seed in range(seeds)],
            routing_map=np.where(greedy == blocks, -1, greedy),
            allocation=None,
            mixing_weights=None,
            multiply_adds=None,
            selection=None,
            seconds=SecondsRecord(
                total=153.0, compile=12.0, first_step=20.5, train=130, per_step=0.13, save=0.4
            ),
            examples_per_second=1234.5,
            parameters=98_765,
            trained_parameters=98_765,
            config={"router": {"pass_action": pass_action}},
            command="python launch.py --config=experiments/mnist_mtl.py",
            device="cpu",
        )
        return record, Routing(probabilities, np.array(STEPS), tuple(record.tasks))

    return make
