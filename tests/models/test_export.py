"""Networks that are cut out of every system, against the full one."""

import functools

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
COMPOSITIONAL = {
    "model__name": "compositional",
    "model__encoder": "strided",
    "model__block": "inverted_residual",
    "model__bank": "shared",
    "model__head": "own",
    "model__num_blocks": 3,
    "model__depth": 2,
    "model__width": 4,
    "model__resolution": 2,
}
ORDERS = "0-1 1-1 2-0"
COMPONENTS = {
    "model__encoder": "pointwise",
    "model__block": "components",
    "model__components": "2xconv3 max_pool identity",
    "model__strides": "2-1",
    "model__num_blocks": None,
    "model__depth": 2,
    "model__width": 4,
    "model__head": "own",
}
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
    "mixed parameters": COMPOSITIONAL,
    "mixed outputs": COMPOSITIONAL
    | {"dispatch__apply": "mix_outputs", "model__statistics": "per_depth_and_task"},
    "a stage of a plain residual network": COMPOSITIONAL
    | {"model__encoder": "resnet", "model__block": "basic"},
    "a head for all tasks": COMPOSITIONAL | {"model__head": "shared"},
    "orders of templates": COMPOSITIONAL
    | {"router__policy": "fixed", "router__routes": ORDERS, "model__num_blocks": None},
    "switched components": COMPONENTS
    | {"model__name": "gumbel_matrix", "router__rule": "gumbel_softmax"},
    "components on routes": COMPONENTS | {"router__rule": "reinforce"},
    "components that a network picks": COMPONENTS | APPROXIMATOR,
    "joint classifier": {"model__name": "joint_classifier", "model__num_blocks": None},
}
CLASSES = (2, 4, 3)


@pytest.fixture(params=SYSTEMS)
def network(request, build):
    """A model whose routes differ, and its variables."""
    built = build(DataShape(3, 4, IMAGES.shape[1:]), **SYSTEMS[request.param])
    return built.model, scattered(built.variables)


def scattered(variables: dict) -> dict:
    rng = np.random.default_rng(3)

    def scatter(path, leaf):
        drawn = rng.normal(size=leaf.shape).astype(np.float32)
        return np.abs(drawn) if path[-1].key == "table" else leaf

    return jax.tree_util.tree_map_with_path(scatter, variables)


def full_outputs(model, variables) -> jax.Array:
    """What the full network says for every task: [T, n, C]."""
    x = model.apply(variables, IMAGES, train=False, method="encode")
    x = jnp.broadcast_to(x, (3, *x.shape))
    return model.apply(variables, x, method="route").logits


def exported(found):
    return export_network(found, jax.ShapeDtypeStruct(IMAGES.shape[1:], IMAGES.dtype))


def close(outputs, expected, tolerance=1e-5):
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


# Compiling is most of the time of these tests.
QUICK = {"xla_backend_optimization_level": 0}
TASKS = np.array([2, 0, 1, 1, 2], np.int32)


def test_networks_that_are_cut_out_say_what_the_full_one_says(network):
    one, everyone = (cut_network(*network, task, classes=CLASSES) for task in (1, None))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def outputs(variables, of_one, of_all):
        full = full_outputs(network[0], variables)
        return full, one.call(of_one, IMAGES), everyone.call(of_all, IMAGES, TASKS)

    expected, of_one, of_all = map(np.asarray, outputs(network[1], one.params, everyone.params))
    # Two programs round otherwise, and the group normalisations of components enlarge that.
    tolerance = 1e-4 if network[0].norms else 1e-5
    close(of_one, expected[1], tolerance)
    for row, task in enumerate(TASKS):
        classes = CLASSES[task]
        close(of_all[row, :classes], expected[task, row, :classes], tolerance)
        assert (of_all[row, classes:] == -np.inf).all()
    full = sum(leaf.size for leaf in jax.tree.leaves(network[1]["params"]))
    assert one.num_parameters <= full


def test_every_network_is_a_program_for_any_number_of_inputs(network):
    for task, inputs in ((1, 1), (None, 2)):
        program = exported(cut_network(*network, task, classes=CLASSES)).program
        shapes = program.in_avals[-inputs:]
        assert [str(shape.shape[0]) for shape in shapes] == ["n"] * inputs
        assert str(program.out_avals[0].shape) == f"(n, {CLASSES[1] if task else 4})"


def test_a_written_program_says_the_same_for_one_input_as_for_many(build):
    built = build(DataShape(3, 4, IMAGES.shape[1:]), **SYSTEMS["approximator"])
    network = built.model, scattered(built.variables)
    written = exported(cut_network(*network, None, classes=(4,) * 3))
    expected = jax.jit(functools.partial(full_outputs, built.model))(network[1])
    close(written.call(IMAGES, 2), expected[2])
    close(written.call(IMAGES[:1], 2), expected[2][:1])


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
    assert set(found.params["layers"]["blocks"]) == {"bank_0_block_2", "bank_1_block_1"}
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
    found = cut_network(*network, 0, classes=(2,) * 3)
    head = params["head"]["blocks"]["Dense_0"]  # where nothing is on, it sees zeros
    close(found.call(found.params, IMAGES), [head["bias"][0]] * 5)


def test_columns_that_nobody_reads_are_left_out(build):
    built = build(model__name="cross_stitch", model__num_blocks=None, model__depth=3)
    params = dict(built.variables["params"])
    # Task 0 reads columns 0 and 1 at the last depth; these read only themselves and column 1.
    params["mix_2"] = np.array([[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    params["mix_1"] = np.array([[0, 1, 0], [0, 1, 0], [1, 1, 1]], np.float32)
    found = cut_network(built.model, {"params": params}, 0, classes=(2,) * 3)
    assert found.cut.kept == ((1,), (0, 1), (0,))
