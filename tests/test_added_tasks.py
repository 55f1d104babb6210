"""The configuration of a run that adds tasks: where old ones come from, and what clashes."""

import json
import re

import pytest

from routing_jax.added_tasks import old_tasks_with, stages
from routing_jax.config import base_config, flatten, from_values, validate
from routing_jax.errors import ConfigError

ADDING = {
    "data": {"old_tasks": json.dumps([{"num_tasks": 3}])},
    "model": {"head": "own", "num_blocks": 4},
    "training": {"init_from": "runs/old", "trainable": "head,mixing"},
}


def test_where_the_tasks_before_come_from():
    config = base_config()
    config.data.name, config.data.num_tasks, config.data.dir = "digits", 3, "/first"
    config.data.old_tasks = old_tasks_with(config.data)
    assert config.data.old_tasks == '[{"name": "digits", "num_tasks": 3}]'
    config.data.name, config.data.num_tasks, config.data.first_task = "usps", None, 8
    config.data.dir = "/second"
    (stage,) = stages(config.data)
    expected = base_config().data
    expected.name, expected.num_tasks, expected.dir = "digits", 3, "/second"
    assert stage.to_dict() == expected.to_dict()
    # Tasks are added once more: the first ones stay first.
    config.data.old_tasks = old_tasks_with(config.data)
    first, second = stages(config.data)
    assert first == stage
    assert (second.name, second.num_tasks, second.first_task) == ("usps", None, 8)
    assert stages(base_config().data) == []


@pytest.mark.parametrize(
    "text", ["superclass", "{}", "[3]", '[{"no": 1}]', '[{"num_tasks": 0}]', '[{"dir": 3}]']
)
def test_text_that_names_no_tasks(text):
    config = from_values(ADDING)
    config.data.old_tasks = text
    with pytest.raises(ConfigError) as error:
        validate(config)
    assert f"data.old_tasks = {text!r} is not allowed: set it to text as --mode=add_task" in str(
        error.value
    )


def test_a_run_that_adds_tasks_is_allowed():
    validate(from_values(ADDING))


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"training.init_from": ""}, "the tasks before are those of a trained network; name its"),
        (
            {"data.input": "stream", "data.name": "cifar100"},
            "the images of old and new tasks are held together; set data.input to memory",
        ),
        (
            {"model.head": "routed"},
            "the last routed layer gives the logits of all tasks, and a new",
        ),
        (
            {"model.name": "soft_mixture"},
            "tasks can be added to routing_network, gumbel_matrix, com",
        ),
        (
            {"training.trainable": "all"},
            "the old tasks use the other parts, and are to stay as they",
        ),
        (
            {"training.trainable": "head,blocks"},
            "the old tasks use the other parts, and are to stay",
        ),
        (
            {"router.agent": "single"},
            "the old tasks are routed by the same agents, and are to stay",
        ),
        (
            {"router.agent": "dispatched", "training.trainable": "head"},
            "the number of agents would grow with the tasks; train a network with router.num_agen",
        ),
        (
            {
                "router.policy": "approximator",
                "router.rule": "reinforce_mean",
                "router.task_input": True,
            },
            "the router sees which of the old tasks an example is of, and has no input for a new",
        ),
        ({"router.rule": "relax"}, "its control variate sees the agents of the old tasks; train a"),
        (
            {"router.policy": "fixed", "model.num_blocks": None},
            "these routes do not say which trained blocks a new task takes; train a network whose",
        ),
        ({"model.num_blocks": None}, "the number of blocks would grow with the tasks; set model.n"),
    ],
)
def test_networks_that_tasks_cannot_be_added_to(changes, remedy):
    config = from_values(ADDING)
    for name, value in changes.items():
        group, leaf = name.split(".")
        config[group][leaf] = value
    with pytest.raises(ConfigError) as error:
        validate(config)
    fields = " and ".join(
        f"{name} = {flatten(config)[name]!r}" for name in re.findall(r"(\S+) = ", str(error.value))
    )
    assert str(error.value).startswith(
        f"The configuration is wrong in 1 place:\n  {fields} clash: {remedy}"
    )
    assert fields.startswith("data.old_tasks = ")
    config.data.old_tasks = ""
    validate(config)
