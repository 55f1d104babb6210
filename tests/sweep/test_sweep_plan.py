"""From `--sweep` to cells, programs and plain commands."""

import re
import shlex
from pathlib import Path

import pytest

from routing_jax.config import base_config, flatten
from routing_jax.config_fields import TRACED
from routing_jax.errors import UserError
from routing_jax.sweep.axes import Axis, merged, parse_axes, parse_axis
from routing_jax.sweep.commands import cell_command
from routing_jax.sweep.plan import group_cells, make_cells


def plan(config, axes):
    return group_cells(make_cells(config, axes))


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("rho=0,0.1,1.0", Axis("reward.rho", (0.0, 0.1, 1.0))),
        ("seed=0:4", Axis("training.seed", (0, 1, 2, 3))),
        ("training.seed=1:9:4", Axis("training.seed", (1, 5))),
        ("seed=3,1", Axis("training.seed", (3, 1))),
        ("router.agent=single,per_task", Axis("router.agent", ("single", "per_task"))),
        ("data.share_images=true,False", Axis("data.share_images", (True, False))),
        ("model.num_blocks=2,None", Axis("model.num_blocks", (2, None))),
    ],
)
def test_axes(text, axis):
    assert parse_axis(text) == axis


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rhoo=1", "--sweep=rhoo=1: rhoo: there is no such field; did you mean rho?"),
        (
            "reward.roh=1",
            "--sweep=reward.roh=1: reward.roh: there is no such field; did you mean reward.rho?",
        ),
        ("rho=", "--sweep=rho=: there are no values; write --sweep=rho=VALUE,VALUE."),
        ("rho", "--sweep=rho: there are no values; write --sweep=rho=VALUE,VALUE."),
        ("rho=,", "--sweep=rho=,: there are no values; write --sweep=rho=VALUE,VALUE."),
        ("rho=0,high", "--sweep=rho=0,high: every value must be a number."),
        (
            "seed=0:",
            "--sweep=seed=0:: every value must be an integer, or start:stop with start < stop.",
        ),
        (
            "seed=4:4",
            "--sweep=seed=4:4: every value must be an integer, or start:stop with start < stop.",
        ),
        ("rho=0,0.0", "--sweep=rho=0,0.0: a value comes twice; name each once."),
        (
            "seed=0:99999999999999999999",
            "--sweep=seed=0:99999999999999999999: there are more than 1,000,000 cells; "
            "sweep fewer values.",
        ),
        (
            "sweep=1",
            "--sweep=sweep=1: a sweep cannot be swept; name each axis with --sweep.",
        ),
    ],
)
def test_bad_axes(text, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        parse_axis(text)


def test_a_text_of_several_axes():
    axes = parse_axes(["rho=0, 0.5 seed = 0:2", "router.agent=single"])
    assert axes == [
        Axis("reward.rho", (0.0, 0.5)),
        Axis("training.seed", (0, 1)),
        Axis("router.agent", ("single",)),
    ]
    assert parse_axes([""]) == []


def test_a_field_swept_twice_is_refused():
    with pytest.raises(UserError, match="^--sweep: reward.rho is swept twice; join its values.$"):
        parse_axes(["rho=0.5", "reward.rho=0.1"])


def test_the_command_line_replaces_an_experiments_axis_of_the_same_field():
    grid = "rho=0,0.3 router.agent=single seed=0:8"
    assert merged([], onto=grid) == grid
    assert merged(["training.seed=5", "model.depth=2,3"], onto=grid) == (
        "rho=0,0.3 router.agent=single training.seed=5 model.depth=2,3"
    )


def test_cells_that_differ_in_traced_fields_share_a_program():
    axes = parse_axes(["rho=0,0.3", "router.agent=single,per_task", "seed=0:3"])
    groups = plan(base_config(), axes)
    assert [group.static_settings for group in groups] == [
        {"router.agent": "single"},
        {"router.agent": "per_task"},
    ]
    assert [len(group.cells) for group in groups] == [6, 6]
    single = groups[0].cells
    assert [cell.name for cell in single[:2]] == [
        "rho=0.0,router.agent=single,seed=0",
        "rho=0.0,router.agent=single,seed=1",
    ]
    # The last axis counts fastest: rho 0.3 of agent single begins at 1 * 2 * 3.
    assert [cell.index for cell in single] == [0, 1, 2, 6, 7, 8]
    assert single[3].config.reward.rho == 0.3
    assert single[3].config.training.seed == 0


def test_a_cell_is_the_configuration_of_a_single_run():
    config = base_config()
    config.sweep = "training.steps=1,2"
    cells = make_cells(config, parse_axes([config.sweep]))
    assert [cell.config.training.steps for cell in cells] == [1, 2]
    assert [cell.config.sweep for cell in cells] == ["", ""]
    assert cells[0].config.is_locked
    assert config.training.steps == base_config().training.steps


def test_sweeping_epochs_clears_steps():
    (cell,) = make_cells(base_config(), [Axis("training.epochs", (3,))])
    assert cell.config.training.steps is None


def test_a_cell_that_is_not_allowed_is_named_before_anything_runs():
    message = (
        "--sweep: the cell rho=2.0 is not allowed. The configuration is wrong in 1 place:\n"
        "  reward.rho = 2.0 is not allowed: set it to a number in [0, 1] (default 0.0)"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        make_cells(base_config(), [Axis("reward.rho", (0.5, 2.0))])


def test_a_grid_over_a_million_cells_is_refused():
    axes = [Axis("training.seed", tuple(range(2000))), Axis("model.width", tuple(range(1, 1001)))]
    message = "^--sweep: 2,000,000 cells are more than 1,000,000; sweep fewer values.$"
    with pytest.raises(UserError, match=message):
        make_cells(base_config(), axes)


def test_a_folder_has_a_name_that_file_systems_take():
    axes = parse_axes(["experiment=" + ",".join(letter * 300 for letter in "ab"), "seed=0:2"])
    folders = [cell.folder for cell in make_cells(base_config(), axes)]
    assert {len(folder) for folder in folders} == {3 + 1 + 200 + 1 + 8}
    assert folders[0].startswith("000-experiment=aaa")
    # Cut names stay apart by their hash.
    assert len({folder.partition("-")[2] for folder in folders}) == 4


def test_the_traced_fields_are_the_arguments_of_a_program():
    from routing_jax.training.state import Hyperparams

    assert set(TRACED) == set(Hyperparams._fields)


def test_a_command_names_what_the_experiment_does_not_say():
    config = base_config()
    given = flatten(config)
    config.training.examples_per_task = 4
    config.model.num_blocks = 7
    axes = parse_axes(["rho=0,0.5", "training.epochs=2", "model.num_blocks=None"])
    _, cell = make_cells(config, axes)
    command = cell_command(("launch.py", "--config=my exp.py"), cell, given=given, root=Path("r"))
    assert shlex.split(command) == [
        "python",
        "launch.py",
        "--config=my exp.py",
        "--config.reward.rho=0.5",
        "--config.training.epochs=2",
        "--config.training.examples_per_task=4",
        "--workdir=r/cells/001-rho=0.5,training.epochs=2,model.num_blocks=None",
    ]
