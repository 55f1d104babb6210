"""Networks that are cut out of every system, against the full one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from routing_jax.export.network import CUTS, cut_network
from routing_jax.export.written import export_network
from routing_jax.models.factory import MODELS, DataShape

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
OWN_HEAD = {"model__head": "own"}
APPROXIMATOR = {"router__policy": "approximator", "router__rule": "actor_critic"}
SYSTEMS = {
    "routes": {"model__num_blocks": 5, "router__rule": "reinforce"},
    "PASS and one bank for several depths": {
        "router__pass_action": True,
        "model__depth": 4,
        "model__bank": "shared",
        "router__rule": "q_learning",
    },
    "a head of each task's own": OWN_HEAD,
    "one agent": {"router__agent": "single"},
    "fixed": {"router__policy": "fixed", "router__routes": "own_last", "model__num_blocks": None},
    "random": {"router__policy": "fixed", "router__routes": "random", "model__num_blocks": 4},
    "convolutional": {"model__block": "conv", "model__encoder": "stem", "model__depth": 2},
    "approximator": APPROXIMATOR | {"router__task_input": True} | OWN_HEAD,
    "approximator with PASS": APPROXIMATOR | {"router__pass_action": True, "model__depth": 4},
    "dispatched": {"router__agent": "dispatched", "model__num_blocks": 5},
    "dispatched approximators": APPROXIMATOR
    | {"router__agent": "dispatched", "router__num_agents": 2},
    "allocation": {
        "model__name": "gumbel_matrix",
        "model__num_blocks": 4,
        "router__rule": "gumbel_softmax",
    }
    | OWN_HEAD,
    "soft mixture": {"model__name": "soft_mixture"},
    "cross-stitch": {"model__name": "cross_stitch", "model__num_blocks": None},
    "joint classifier": {"model__name": "joint_classifier", "model__num_blocks": None},
}
CLASSES = (2, 4, 3)


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request):
    return request.param


@pytest.fixture
def network(system, build):
    """A model whose routes differ, and its variables."""
    built = build(DataShape(3, 4, IMAGES.shape[1:]), **SYSTEMS[system])
    rng = np.random.default_rng(3)

    def scatter(path, leaf):
        drawn = rng.normal(size=leaf.shape).astype(np.float32)
        return np.abs(drawn) if path[-1].key == "table" else leaf

    return built.model, jax.tree_util.tree_map_with_path(scatter, built.variables)


@pytest.fixture
def expected(network) -> np.ndarray:
    """What the full network says for every task: [T, n, C]."""
    model, variables = network

    @jax.jit
    def outputs(variables):
        x = model.apply(variables, IMAGES, train=False, method="encode")
        x = jnp.broadcast_to(x, (3, *x.shape))
        return model.apply(variables, x, method="route").logits

    return np.asarray(outputs(variables))


def exported(network, task):
    found = cut_network(*network, task, classes=CLASSES)
    return found, export_network(found, jax.ShapeDtypeStruct(IMAGES.shape[1:], IMAGES.dtype))


def test_the_network_of_a_task_says_what_the_full_one_says(network, expected):
    found, written = exported(network, 1)
    np.testing.assert_allclose(written.call(IMAGES, 1), expected[1], atol=1e-5)
    np.testing.assert_allclose(written.call(IMAGES[:1], 1), expected[1][:1], atol=1e-5)
    full = sum(leaf.size for leaf in jax.tree.leaves(network[1]["params"]))
    assert found.num_parameters <= full


def test_the_network_of_all_tasks_says_what_the_full_one_says(network, expected):
    _, written = exported(network, None)
    tasks = np.array([2, 0, 1, 1, 2], np.int32)
    outputs = np.asarray(written.program.call(written.params, IMAGES, tasks))
    for row, task in enumerate(tasks):
        classes = CLASSES[task]
        np.testing.assert_allclose(outputs[row, :classes], expected[task, row, :classes], atol=1e-5)
        assert (outputs[row, classes:] == -np.inf).all()


def test_a_task_has_its_own_classes_only(network):
    found, _ = exported(network, 0)
    assert jax.eval_shape(found.call, found.params, IMAGES).shape == (5, 2)


def test_every_system_can_be_cut():
    assert len(CUTS) == len(MODELS)


def routed(build, table, **values):
    built = build(model__num_blocks=3, router__rule="reinforce", **values)
    params = built.variables["params"]
    router = {"policy": {"table": np.array(table, np.float32)}}
    return built.model, {**built.variables, "params": {**params, "router": router}}


# The best blocks are (2, 0), (2, 1) and (0, 0): no task takes block 1 at the first depth, nor
# block 2 at the second.
TABLE = [[[0, 1, 5], [9, 0, 8]], [[0, 1, 2], [2, 4, 3]], [[7, 1, 5], [3, 1, 2]]]


def test_only_the_blocks_of_the_route_are_kept(build):
    network = routed(build, TABLE, model__depth=2)
    found = cut_network(*network, 1, classes=(2, 2, 2))
    assert found.cut.kept == ((2,), (1,))
    assert set(found.params["layers"]) == {"bank_0_block_2", "bank_1_block_1"}
    # 6 to 6 and 6 to 2, each with biases.
    assert found.num_parameters == 6 * 6 + 6 + 6 * 2 + 2


def test_blocks_that_no_task_takes_are_left_out(build):
    network = routed(build, TABLE, model__depth=2)
    found = cut_network(*network, None, classes=(2, 2, 2))
    assert found.cut.kept == ((0, 2), (0, 1))
    assert found.num_parameters == 2 * (6 * 6 + 6) + 2 * (6 * 2 + 2)


def test_a_skipped_layer_leaves_nothing(build):
    table = np.zeros((3, 3, 4))
    table[:, 1, 3] = 1  # PASS is best at the second depth, which keeps the width
    network = routed(build, table, model__depth=3, router__pass_action=True)
    assert cut_network(*network, 0, classes=(2,) * 3).cut.kept == ((0,), (), (0,))


def test_blocks_that_are_off_are_left_out(build):
    values = {"model__name": "gumbel_matrix", "model__num_blocks": 3, "model__depth": 2}
    built = build(DataShape(3, 2, IMAGES.shape[1:]), **values, **OWN_HEAD)
    on = np.array([[[1, 0, 1], [0, 0, 0]], [[0, 1, 0], [1, 1, 1]], [[1, 0, 0], [0, 0, 1]]])
    logits = np.stack([on, 1 - on], -1).astype(np.float32)
    params = {**built.variables["params"], "router": {"logits": logits}}
    network = built.model, {"params": params}
    assert cut_network(*network, 0, classes=(2,) * 3).cut.kept == ((0, 2), ())
    assert cut_network(*network, 2, classes=(2,) * 3).cut.kept == ((0,), (2,))
    found, written = exported(network, 0)  # where nothing is on, the head sees zeros
    head = params["head"]["blocks"]["Dense_0"]
    np.testing.assert_allclose(written.call(IMAGES, 0), [head["bias"][0]] * 5, atol=1e-6)


def test_columns_that_nobody_reads_are_left_out(build):
    built = build(model__name="cross_stitch", model__num_blocks=None, model__depth=3)
    params = dict(built.variables["params"])
    # Task 0 reads columns 0 and 1 at the last depth; these read only themselves and column 1.
    params["mix_2"] = np.array([[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    params["mix_1"] = np.array([[0, 1, 0], [0, 1, 0], [1, 1, 1]], np.float32)
    found = cut_network(built.model, {"params": params}, 0, classes=(2,) * 3)
    assert found.cut.kept == ((1,), (0, 1), (0,))
