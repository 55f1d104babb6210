"""Programs on eight devices compute what they compute on one.

The devices are parts of this machine's CPU, which JAX must be told before it starts: the first test
runs the others in a process of their own.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from small_compositional import SMALL_COMPOSITIONAL
from streamed_sets import streamed

from routing_jax.devices import Devices
from routing_jax.errors import UserError
from routing_jax.mesh import make_mesh
from routing_jax.sweep.cells_run import together
from routing_jax.training import loop, sharding
from routing_jax.training.run import make_run
from routing_jax.training.streamed import Feed

FLAGS = (os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8")
ON_EIGHT = jax.device_count() == 8
on_eight = pytest.mark.skipif(not ON_EIGHT, reason="runs on eight devices")
COMMUNICATION = re.compile(
    r"all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
)
SYSTEMS = {
    "routing_network": {},
    "cross_stitch": {"model__name": "cross_stitch", "model__num_blocks": None},
    "soft_mixture": {"model__name": "soft_mixture"},
    "gumbel_matrix": {
        "model__name": "gumbel_matrix",
        "model__head": "own",
        "router__rule": "gumbel_softmax",
    },
    "own_images": {
        "data__share_images": False,
        "data__augment": "crop_flip",
        "model__encoder": "stem",
        "optimizer__name": "adam",
    },
    "a_decision_per_task": {"router__decision_per": "task"},
    "dispatched": {"router__agent": "dispatched", "router__rule": "reinforce"},
}

ON_DATA_ALONE = {
    "compositional": SMALL_COMPOSITIONAL,
    "switched_components": {
        "data__share_images": False,
        "model__name": "gumbel_matrix",
        "model__encoder": "pointwise",
        "model__block": "components",
        "model__components": "2xconv3 max_pool",
        "model__num_blocks": None,
        "model__head": "own",
        "router__rule": "gumbel_softmax",
        "router__optimizer": "sgd",  # Adam would make steps of gradients that are rounding
    },
    "components": {
        "data__share_images": False,
        "model__encoder": "pointwise",
        "model__block": "components",
        "model__components": "conv3_twice identity max_pool",
        "model__num_blocks": None,
        "model__head": "own",
    },
    "convolutions": {"model__encoder": "conv4", "data__share_images": False},
    "recurrent": {"model__bank": "shared", "model__depth": 4},
    "hedge": {"router__rule": "hedge", "router__measured": 2},
    "round_robin": {"training__round_robin": True, "data__share_images": False},
}
"""Systems whose examples alone are split here."""


@pytest.mark.slow
@pytest.mark.skipif(ON_EIGHT, reason="runs the others")
@pytest.mark.parametrize("chosen", ["not slow", "slow"])
def test_on_eight_devices(chosen):
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--slow", "-m", chosen, __file__],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"XLA_FLAGS": " ".join(FLAGS), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-5000:]
    assert " passed" in run.stdout


class Trained:
    """A run after two steps and an evaluation."""

    def __init__(self, run: loop.Run) -> None:
        hyper = sharding.place(run.hyper, run.mesh, run.rules)
        data = (hyper, *(loop.to_device(d, run.mesh) for d in (run.tasks.train, run.tasks.test)))
        state = run.init(*data[:2])
        where = jax.tree.map(lambda leaf: leaf.sharding, state)
        with jax.set_mesh(run.mesh):
            segment = jax.jit(run.segment, out_shardings=(where, None))
            compiled = segment.lower(state, *data, np.int32(2), np.bool_(True)).compile()
        self.program = compiled.as_text()
        self.state, report = compiled(state, *data, np.int32(2), np.bool_(True))
        self.numbers = sharding.to_host((self.state, report))


def assert_same(found: Trained, expected: Trained) -> None:
    """Floats to float tolerance; whole numbers, so actions, exactly."""
    leaves = jax.tree_util.tree_leaves_with_path(found.numbers)
    for (path, mine), theirs in zip(leaves, jax.tree.leaves(expected.numbers), strict=True):
        tolerance = {"rtol": 1e-4, "atol": 1e-5} if mine.dtype.kind == "f" else {"rtol": 0}
        np.testing.assert_allclose(mine, theirs, **tolerance, err_msg=sharding.path_name(path))


@on_eight
@jax.numpy_dtype_promotion("standard")  # optax's Adam promotes types inside
@pytest.mark.parametrize(
    "system",
    [
        "routing_network",
        *(pytest.param(name, marks=pytest.mark.slow) for name in SYSTEMS if SYSTEMS[name]),
    ],
)
def test_examples_and_blocks_are_split_and_nothing_else_changes(tiny_config, digits, system):
    config = tiny_config(**SYSTEMS[system])
    spread = Trained(make_run(config, digits, make_mesh({"data": 4, "block": 2})))
    assert_same(spread, Trained(make_run(config, digits)))
    split = {
        sharding.path_name(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(spread.state)
        if not leaf.sharding.is_fully_replicated
    }
    # Every bank, what the optimizer remembers of it, and nothing else.
    kernels = {"params.banks_0.blocks.Dense_0.kernel", "params.banks_1.blocks.Dense_0.kernel"}
    assert kernels <= split
    assert all(re.search(r"\bbanks_[01]\.blocks\.Dense_0\.(kernel|bias)$", name) for name in split)
    copies = 3 if config.optimizer.name == "adam" else 2  # parameters, and moments of them
    # Two banks with a kernel and a bias each.
    assert len(split) == 4 * copies


@on_eight
@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")
@pytest.mark.parametrize("system", ON_DATA_ALONE)
def test_examples_are_split_and_nothing_else_changes(tiny_config, digits, system):
    config = tiny_config(**ON_DATA_ALONE[system])
    spread = Trained(make_run(config, digits, make_mesh({"data": 8})))
    assert_same(spread, Trained(make_run(config, digits)))


@on_eight
def test_streamed_images_are_split_as_those_in_memory_are(tiny_config, digits):
    run = make_run(tiny_config(), streamed(digits), make_mesh({"data": 4, "block": 2}))
    feed, alone = Feed(run, step=0), Feed(make_run(tiny_config(), streamed(digits)), step=0)
    spread, whole = feed.at(0).images.images, alone.at(0).images.images
    for one in (feed, alone):
        one.close()
    assert {shard.data.shape for shard in spread.addressable_shards} == {(12, 1, 2, 8, 8, 1)}
    np.testing.assert_array_equal(spread, whole)
    state = run.init(run.hyper, loop.to_init(run, loop.to_device(digits.train, run.mesh)))
    found, expected = (
        run.evaluate(state),
        make_run(tiny_config(), digits).evaluate(sharding.to_host(state)),
    )
    np.testing.assert_allclose(found.metrics["accuracy"], expected.metrics["accuracy"], rtol=1e-5)


@on_eight
@pytest.mark.slow
def test_cells_of_a_sweep_do_not_hear_of_each_other(tiny_config, digits):
    def cells(mesh):
        configs = [tiny_config(training__seed=seed, reward__rho=0.1) for seed in range(8)]
        return Trained(together([make_run(config, digits, mesh) for config in configs], about=""))

    spread = cells(make_mesh({"sweep": 8}))
    assert not COMMUNICATION.search(spread.program)
    assert all(
        not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(spread.state.params)
    )
    assert_same(spread, cells(None))


@on_eight
@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")  # Flax's batch normalisation promotes types inside
def test_sums_over_devices_compile_in_bfloat16(tiny_config, digits):
    # XLA's CPU compiler ends the process over some of them.
    config = tiny_config(**ON_DATA_ALONE["convolutions"], model__dtype="bfloat16")
    spread, alone = (
        Trained(make_run(config, digits, mesh)) for mesh in (make_mesh({"data": 8}), None)
    )
    np.testing.assert_allclose(spread.numbers[1].train_loss, alone.numbers[1].train_loss, rtol=0.02)


@on_eight
@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"data": 4, "block": 3},
            "--mesh=data:4,block:3: 4 x 3 = 12 devices, but there are 8: name sizes that multiply "
            "to 8.",
        ),
        (
            {"data": 8},
            "--mesh=data:8 and training.examples_per_task = 12 clash: a batch is split evenly; set "
            "training.examples_per_task to a multiple of 8.",
        ),
        (
            {"block": 8},
            "--mesh=block:8 and a bank of 4 blocks clash: a bank is split evenly; set "
            "model.num_blocks (now 4) to a multiple of 8, or name another mesh.",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_split_is_refused(tiny_config, digits, sizes, message):
    config = tiny_config(training__examples_per_task=12)
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        make_run(config, digits, sharding.mesh_for(Devices(sizes)))
