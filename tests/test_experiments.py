"""Every experiment file gives a configuration that can be run."""

import math
from pathlib import Path

import jax
import pytest

from routing_jax.config import validate
from routing_jax.errors import UserError
from routing_jax.experiment import load_config
from routing_jax.models.factory import DataShape, make_model
from routing_jax.types import Exploration

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
ARGUMENTS = {
    "mnist_mtl": ("digits", "digits,baseline=cross_stitch"),
    "min_mtl": ("baseline=wide_trunk", "augment,baseline=joint_classifier"),
    "cifar_ablations": tuple(
        f"over={name}"
        for name in (
            *("default", "agents", "heads", "rho", "rules", "rules_rate", "wpl", "q_learning"),
            *("pass", "blocks", "tasks"),
            *("router_rate", "exploration", "commitment", "start", "warm_up"),
            *("decision", "steps", "reward"),
            *("dtype", "dtype_untuned"),
        )
    ),
    "cifar_mtl": (
        "setting=paper",
        "setting=paper,baseline=cross_stitch",
        "route=conv",
        "baseline=task_specific_all_fc",
        "baseline=task_specific_1_fc",
        "baseline=cross_stitch",
        "baseline=soft_mixture",
        "route=conv,baseline=random_routes",
        "augment,baseline=clustered_routes",
        "baseline=wide_trunk",
        "baseline=joint_classifier",
    ),
    "compositional_adaptation": (
        "row=sources",
        *(f"row={row}" for row in ("source_only", "statistics", "mixing")),
        "target=mnist,row=sources",
        "target=digits,row=both,loss=adversarial",
        "loss=discrepancy",
        "row=both,sources=training",
    ),
    "compositional_mtl": (
        "data=digits",
        "baseline=independent_blocks",
        "data=digits,baseline=own_blocks",
        "baseline=shared_trunk",
        "apply=mix_outputs",
        "apply=select",
        "order=pure",
        "size=paper",
        "baseline=independent_blocks,size=paper",
    ),
    "compositional_reuse": (
        *("depth=4", "depth=16", "depth=16,baseline=independent_blocks"),
        "network=resnet,depth=16",
    ),
    "compositional_transfer": (
        "row=source",
        *(f"row={row},images=50" for row in ("head", "mixing", "all", "scratch")),
        "images=10",
        "row=mixing,images=500",
    ),
    "new_tasks": tuple(
        f"system={system}{row}"
        for system in ("routing", "gumbel", "compositional", "trunk")
        for row in ("", ",row=scratch")
    ),
    "gumbel_mnist": (
        "budget=0.75",
        "budget=0.25",
        "baseline=shared_bottom",
        "baseline=shared_bottom_sum",
        "baseline=no_sharing",
        "baseline=routing_network",
        "baseline=routing_per_task",
        "baseline=routing_per_example",
    ),
    "gumbel_omniglot": (
        "size=small",
        "baseline=shared_bottom",
        "size=small,baseline=shared_bottom_sum",
        "size=small,baseline=no_sharing",
        "baseline=routing_per_task",
        "baseline=routing_per_example",
    ),
    "gumbel_clusters": (
        "length=paper",
        "baseline=shared_bottom",
        "baseline=shared_bottom_sum",
        "baseline=no_sharing",
        "baseline=routing_per_task",
        "baseline=routing_per_example",
    ),
    "gumbel_synthetic": (
        "relatedness=0",
        "relatedness=1,baseline=shared_bottom",
        "relatedness=0.5,budget=0.125",
        "baseline=no_sharing",
    ),
}


def load(name: str, argument: str = ""):
    path = EXPERIMENTS / f"{name}.py"
    return load_config(f"{path}:{argument}" if argument else str(path), EXPERIMENTS)


@pytest.mark.parametrize("name", [path.stem for path in sorted(EXPERIMENTS.glob("*.py"))])
def test_an_experiment_is_valid_with_each_of_its_arguments(name):
    for argument in ("", *ARGUMENTS.get(name, ())):
        config = load(name, argument)
        validate(config)
        assert config.experiment == name


@pytest.mark.parametrize(
    ("name", "shape", "routed", "trunk"),
    [
        # 128 features in, 20 tasks of 5 classes, width 128, or 714 in one trunk.
        (
            "cifar_mtl",
            DataShape(20, 5, (32, 32, 3)),
            20 * (128 * 128 + 128 + 128 * 128 + 128 + 128 * 5 + 5),
            128 * 714 + 714 + 714 * 714 + 714 + 20 * (714 * 5 + 5),
        ),
        # 800 features in, 10 tasks of 5 classes, width 128, or 748 in one trunk.
        (
            "min_mtl",
            DataShape(10, 5, (84, 84, 3)),
            10 * (800 * 128 + 128 + 128 * 128 + 128 + 128 * 5 + 5),
            800 * 748 + 748 + 748 * 748 + 748 + 10 * (748 * 5 + 5),
        ),
    ],
)
def test_a_wide_trunk_has_as_many_parameters_as_routed_layers(name, shape, routed, trunk):
    def layers(argument):
        model = make_model(load(name, argument), shape, block_noise=0.1)
        keys = {"params": jax.random.key(0), "router": jax.random.key(0)}
        shapes = jax.eval_shape(
            lambda images: model.init(keys, images, exploration=Exploration())["params"],
            jax.ShapeDtypeStruct((shape.num_tasks, 1, *shape.image), "uint8"),
        )
        of_layers = {part: leaf for part, leaf in shapes.items() if part.startswith("banks_")}
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(of_layers))

    assert (layers(""), layers("baseline=wide_trunk")) == (routed, trunk)
    assert trunk == pytest.approx(routed, rel=0.002)


def test_a_trunk_as_wide_as_convolutions_is_not_made():
    with pytest.raises(UserError, match="leave route=conv out"):
        load("cifar_mtl", "route=conv,baseline=wide_trunk")


def test_the_order_of_choices_changes_nothing():
    one = load("gumbel_omniglot", "size=small,baseline=routing_per_task")
    other = load("gumbel_omniglot", "baseline=routing_per_task,size=small")
    assert one.to_dict() == other.to_dict()
    assert one.router.learning_rate == 0.1  # both choices set it


def test_choices_add_up():
    config = load("cifar_mtl", "route=conv,baseline=random_routes")
    assert (config.model.block, config.model.encoder, config.model.depth) == ("conv", "stem", 4)
    assert (config.router.policy, config.router.routes) == ("fixed", "random")
    assert config.training.epochs == 20
    # Tuned for fully connected layers only; routed convolutions and their baselines have one rate.
    assert config.optimizer.learning_rate == load("cifar_mtl", "route=conv").optimizer.learning_rate
    assert config.optimizer.learning_rate < load("cifar_mtl", "").optimizer.learning_rate


def test_a_choice_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(UserError) as caught:
        load("cifar_mtl", "baseline=dense")
    assert str(caught.value) == (
        f"--config={EXPERIMENTS / 'cifar_mtl.py'}:baseline=dense: there is no argument "
        "'baseline=dense'; those that exist: baseline=none|task_specific_all_fc|"
        "task_specific_1_fc|cross_stitch|soft_mixture|random_routes|clustered_routes|wide_trunk|"
        "joint_classifier; route=fc|conv; setting=tuned|paper; augment."
    )
