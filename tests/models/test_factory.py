"""From a configuration to a model: shapes, banks, allowed actions, and what is refused."""

import math

import jax
import pytest

from routing_jax.errors import UserError
from routing_jax.models.factory import DataShape, make_model
from routing_jax.types import Exploration


def widths(built) -> list[tuple[int, ...]]:
    """Shapes [K, inputs, outputs] of the kernels of the banks."""
    params = built.variables["params"]
    banks = sorted(name for name in params if name.startswith("banks_"))
    return [params[bank]["blocks"]["Dense_0"]["kernel"].shape for bank in banks]


def test_the_number_of_parameters_of_mnist_mtl(model_config):
    config = model_config(model__encoder="conv4", model__num_blocks=None, model__width=128)
    model = make_model(config, DataShape(10, 2, (28, 28, 1)), block_noise=0.1)
    images = jax.ShapeDtypeStruct((10, 1, 28, 28, 1), "uint8")
    keys = {"params": jax.random.key(0), "router": jax.random.key(0)}
    params = jax.eval_shape(
        lambda images: model.init(keys, images, exploration=Exploration()), images
    )["params"]
    convolutions = 9 * 1 * 32 + 3 * 9 * 32 * 32
    normalisations = 4 * 2 * 32
    banks = 10 * ((288 * 128 + 128) + (128 * 128 + 128) + (128 * 2 + 2))
    policy = 10 * 3 * 10
    assert convolutions + normalisations + banks + policy == 566_112
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == 566_112


def test_the_last_layer_gives_the_logits_and_has_no_activation(build):
    built = build(DataShape(3, 5, (2, 3, 1)), model__depth=3, model__width=4, model__num_blocks=7)
    assert widths(built) == [(7, 6, 4), (7, 4, 4), (7, 4, 5)]
    assert [bank.block.activation for bank in built.model.banks] == [True, True, False]
    assert built.model.bank_of_depth == (0, 1, 2)
    assert built.model.num_actions == 7


def test_one_layer_is_enough(build):
    assert widths(build(model__depth=1)) == [(2, 6, 2)]


def test_there_are_as_many_blocks_as_tasks_unless_a_number_is_given(build):
    assert widths(build(model__num_blocks=None, model__depth=1)) == [(3, 6, 2)]


@pytest.mark.parametrize(("agent", "agents"), [("per_task", 3), ("single", 1)])
def test_agents(build, agent, agents):
    policy = build(router__agent=agent).variables["params"]["router"]["policy"]["table"]
    assert policy.shape == (agents, 3, 2)


def test_layers_of_equal_width_can_share_a_bank(build):
    built = build(model__bank="shared", model__depth=4, model__width=5)
    # 6-5, 5-5, 5-5, 5-2: the two in the middle are one bank.
    assert widths(built) == [(2, 6, 5), (2, 5, 5), (2, 5, 2)]
    assert built.model.bank_of_depth == (0, 1, 1, 2)
    # The first layer joins where the representation has the width already.
    assert widths(build(model__bank="shared", model__depth=4, model__width=6)) == [
        (2, 6, 6),
        (2, 6, 2),
    ]


def test_the_logits_never_share_a_bank_with_a_hidden_layer(build):
    # All three layers are 6 to 6, but the last one has no activation.
    built = build(DataShape(3, 6, (2, 3, 1)), model__bank="shared", model__width=6)
    assert built.model.bank_of_depth == (0, 0, 1)


def test_a_shared_bank_without_equal_layers_is_refused(build):
    with pytest.raises(UserError) as caught:
        build(model__bank="shared", model__depth=3, model__width=5)
    assert str(caught.value) == (
        "model.bank: 'shared' needs at least two routed layers of equal input and output width; "
        "here they are 6 to 5, 5 to 5, 5 to 2. Change model.width or model.depth, or use "
        "model.bank=per_depth."
    )


def test_pass_is_offered_where_a_hidden_layer_keeps_the_width(build):
    built = build(router__pass_action=True, model__depth=4, model__width=5)
    assert built.model.router.allowed == (
        (True, True, False),  # 6 to 5
        (True, True, True),  # 5 to 5
        (True, True, True),
        (True, True, False),  # the logits
    )
    assert built.model.num_actions == 3
    same = build(DataShape(3, 6, (2, 3, 1)), router__pass_action=True, model__depth=2)
    assert same.model.router.allowed == ((True, True, True), (True, True, False))


def test_pass_without_a_layer_that_keeps_the_width_is_refused(build):
    with pytest.raises(UserError) as caught:
        build(router__pass_action=True, model__depth=2, model__width=5)
    assert str(caught.value) == (
        "router.pass_action: PASS needs a hidden routed layer with equal input and output width; "
        "here the layers are 6 to 5, 5 to 2. Change model.width or model.depth, or use "
        "router.pass_action=False."
    )


def test_convolutional_blocks_are_routed_until_the_logits(build):
    # 8x8 images; the stem halves them to 4x4 with 32 channels, the first block to 2x2, the second
    # keeps 2x2; the last layer gives the logits of the flattened 2x2x6.
    built = build(
        DataShape(3, 5, (8, 8, 1)),
        model__encoder="stem",
        model__block="conv",
        model__depth=3,
        router__pass_action=True,
    )
    banks = [built.variables["params"][f"banks_{depth}"]["blocks"] for depth in range(3)]
    assert [bank["Conv3x3_0"]["kernel"].shape for bank in banks[:2]] == [
        (2, 3, 3, 32, 6),
        (2, 3, 3, 6, 6),
    ]
    assert banks[2]["Dense_0"]["kernel"].shape == (2, 24, 5)
    assert built.model.router.allowed == (
        (True, True, False),  # 4x4x32 to 2x2x6
        (True, True, True),
        (True, True, False),  # the logits
    )


@pytest.mark.parametrize(
    ("values", "agents"),
    [({"router__num_agents": 2}, 2), ({}, 3)],
)
def test_a_dispatcher_picks_from_as_many_agents_as_asked_for(build, values, agents):
    router = build(router__agent="dispatched", **values).variables["params"]["router"]
    assert router["policy"]["table"].shape == (agents, 3, 2)
    assert router["dispatcher"]["PolicyNetwork_0"]["Dense_1"]["kernel"].shape == (64, agents)


def test_an_approximator_has_a_network_for_each_agent_and_depth_or_one_that_sees_the_depth(build):
    values = {"router__rule": "reinforce_mean", "router__policy": "approximator"}

    def inputs(**more):
        policy = build(**values, **more).variables["params"]["router"]["policy"]
        return [policy[name]["blocks"]["Dense_0"]["kernel"].shape for name in sorted(policy)]

    assert inputs(model__width=5) == [(3, 6, 64), (3, 5, 64), (3, 5, 64)]
    # Three depths and three tasks, as one-hot, beside six features.
    assert inputs(router__networks="shared") == [(3, 9, 64)]
    assert inputs(router__networks="shared", router__task_input=True) == [(3, 12, 64)]


def test_one_network_for_depths_of_unequal_width_is_refused(build):
    with pytest.raises(UserError) as caught:
        build(
            router__rule="reinforce_mean",
            router__policy="approximator",
            router__networks="shared",
            model__width=5,
        )
    assert str(caught.value) == (
        "router.networks: 'shared' needs representations of equal size before every depth; here "
        "they are 6, 5, 5. Use router.networks=per_depth, or, between fully connected layers, set "
        "model.width to the first of them."
    )


def test_a_floor_that_the_actions_cannot_all_have_is_refused(build):
    with pytest.raises(UserError) as caught:
        build(model__num_blocks=5, router__probability_floor=0.25)
    assert str(caught.value) == (
        "router.probability_floor = 0.25 is not possible: 5 actions cannot all have it. Set it to "
        "at most 0.2, or lower model.num_blocks."
    )


def test_equal_configurations_give_equal_models_that_can_be_static_arguments(build):
    first, second = build().model, build().model
    assert first == second
    assert hash(first) == hash(second)
    assert first != build(dispatch__strategy="dense").model
