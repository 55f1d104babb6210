"""Blocks added, removed and reordered: the same functions as running them in that order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_compositional import SMALL_COMPOSITIONAL

from routing_jax.models.block_edits import add_block, num_depths, remove_block, reorder_blocks
from routing_jax.models.factory import DataShape

SHAPE = DataShape(num_tasks=2, num_classes=2, image=(4, 4, 1))
TEMPLATES = SMALL_COMPOSITIONAL | {
    "model__depth": 3,
    "model__statistics": "per_depth_and_task",
}
INDEPENDENT = TEMPLATES | {
    "model__bank": "per_depth",
    "model__num_blocks": None,
    "router__policy": "fixed",
    "router__routes": "shared",
}
X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 2, 2, 4)), jnp.float32)
KINDS = pytest.mark.parametrize("kind", [TEMPLATES, INDEPENDENT], ids=["templates", "independent"])


@pytest.fixture
def logits(build):
    """What a network of the depth that the variables have says to X."""

    def run(kind, variables):
        model = build(SHAPE, **kind | {"model__depth": num_depths(variables)}).model
        run = jax.jit(lambda variables: model.apply(variables, X, method="route").logits)
        return run.lower(variables).compile({"xla_backend_optimization_level": 0})(variables)

    return run


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@KINDS
def test_a_permutation_and_its_inverse_restore_the_network(build, logits, kind):
    variables = build(SHAPE, **kind).variables
    there = reorder_blocks(variables, [2, 0, 1])
    back = reorder_blocks(there, [1, 2, 0])
    assert_same(back, variables)
    np.testing.assert_array_equal(logits(kind, back), logits(kind, variables))
    assert np.abs(logits(kind, there) - logits(kind, variables)).max() > 1e-3


@KINDS
def test_a_block_added_is_taken_out_again(build, logits, kind):
    variables = build(SHAPE, **kind).variables
    longer = add_block(variables, 3, copy_of=1)
    assert num_depths(longer) == 4
    assert np.abs(logits(kind, longer) - logits(kind, variables)).max() > 1e-3
    assert_same(remove_block(longer, 3), variables)
    # Behind itself it stands in the same place as in front of itself.
    assert_same(add_block(variables, 1, copy_of=1), add_block(variables, 2, copy_of=1))


@KINDS
def test_edits_leave_what_they_were_given(build, kind):
    variables = build(SHAPE, **kind).variables
    before = jax.tree.map(np.array, variables)
    for edited in (
        reorder_blocks(variables, [2, 1, 0]),
        remove_block(variables, 0),
        add_block(variables, 0, copy_of=2),
    ):
        assert edited["params"]["head"] is variables["params"]["head"]
    assert_same(variables, before)


def test_a_network_without_a_block_runs_the_others(build, logits):
    variables = build(SHAPE, **INDEPENDENT).variables
    shorter = remove_block(variables, 1)
    # The same as a block at depth 1 whose last normalisation gives zero.
    scale = variables["params"]["banks_1"]["blocks"]["BatchNorm_2"]
    silent = jax.tree.map(jnp.zeros_like, scale)
    blocks = variables["params"]["banks_1"]["blocks"] | {"BatchNorm_2": silent}
    quiet = {
        "params": variables["params"] | {"banks_1": {"blocks": blocks}},
        "batch_stats": variables["batch_stats"],
    }
    np.testing.assert_allclose(
        logits(INDEPENDENT, shorter), logits(INDEPENDENT, quiet), rtol=1e-5, atol=1e-5
    )


def test_averages_that_all_depths_share_stay(build):
    variables = build(SHAPE, **TEMPLATES | {"model__statistics": "shared"}).variables
    edited = remove_block(variables, 0)
    assert_same(edited["batch_stats"], variables["batch_stats"])
    assert edited["params"]["router"]["logits"].shape == (2, 2, 2)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda v: reorder_blocks(v, [0, 1]), r"^\[0, 1\] does not name each of the 3 depths once"),
        (lambda v: reorder_blocks(v, [0, 1, 1]), "does not name each of the 3 depths once"),
        (lambda v: remove_block(v, 3), "^there is no depth 3, only 0 to 2$"),
        (lambda v: add_block(v, 4, copy_of=0), "^a block can be added at depths 0 to 3, not at 4$"),
        (lambda v: add_block(v, 0, copy_of=-1), "^there is no depth -1, only 0 to 2$"),
    ],
)
def test_what_cannot_be_done_is_said(build, edit, message):
    with pytest.raises(ValueError, match=message):
        edit(build(SHAPE, **TEMPLATES).variables)


def test_given_orders_are_changed_where_they_are_given(build):
    given = TEMPLATES | {"router__policy": "fixed", "model__num_blocks": None}
    built = build(SHAPE, **given | {"router__routes": "0-1-0 1-1-0"})
    with pytest.raises(ValueError, match="stand in the order that router.routes gives"):
        num_depths(built.variables)


@KINDS
def test_the_last_block_stays(build, kind):
    variables = build(SHAPE, **kind).variables
    one = remove_block(remove_block(variables, 0), 0)
    assert num_depths(one) == 1
    with pytest.raises(ValueError, match="^a network needs at least one block$"):
        remove_block(one, 0)
