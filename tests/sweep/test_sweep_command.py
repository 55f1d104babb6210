"""Sweeps as the command line and the experiments ask for them."""

from pathlib import Path

import pytest

from routing_jax import cli

ROOT = Path(__file__).parents[2]
DIGITS = f"--config={ROOT / 'experiments' / 'mnist_mtl.py'}:digits"
ABLATION = f"--config={ROOT / 'experiments' / 'cifar_ablations.py'}:over=agents"


def parse(*arguments):
    return cli.parse([str(ROOT / "launch.py"), *arguments])


def test_a_command_without_axes_is_a_single_run():
    assert parse(DIGITS).sweep is None


def test_axes_become_cells_and_a_field_of_the_configuration():
    command = parse(DIGITS, "--sweep=rho = 0, 0.3", "--sweep=seed=0:2", "--sweep_workers=3")
    assert command.config.sweep == "rho=0,0.3 seed=0:2"
    assert len(command.sweep.cells) == 4
    assert (command.sweep.workers, command.sweep.print_only, command.sweep.slurm) == (
        3,
        False,
        None,
    )


def test_an_experiment_holds_its_own_grid():
    command = parse(ABLATION)
    assert len(command.sweep.cells) == 4 * 2 * 3
    assert {cell.settings["router.agent"] for cell in command.sweep.cells} == {
        "single",
        "dispatched",
    }
    assert command.config.data.tasks == "superclass"


def test_an_axis_of_the_command_line_takes_the_place_of_the_experiments():
    command = parse(ABLATION, "--sweep=seed=5")
    assert len(command.sweep.cells) == 4 * 2
    assert {cell.settings["training.seed"] for cell in command.sweep.cells} == {5}


def test_an_emptied_grid_is_a_single_run():
    assert parse(ABLATION, "--config.sweep=").sweep is None


def test_the_configuration_that_cells_start_from_need_not_be_allowed():
    # By itself it has the rule wpl, which has no approximator.
    command = parse(
        DIGITS, "--config.router.policy=approximator", "--sweep=router.rule=reinforce,q_learning"
    )
    assert [cell.config.router.rule for cell in command.sweep.cells] == ["reinforce", "q_learning"]


@pytest.mark.parametrize("argument", [DIGITS, ABLATION])
def test_a_printed_command_gives_the_configuration_of_its_cell(argument):
    command = parse(
        argument,
        "--config.training.epochs=2",
        "--config.model.num_blocks=7",
        "--sweep=rho=0,0.5",
        "--sweep=seed=1,2",
        "--sweep=model.num_blocks=None,5",
        "--sweep_print",
    )
    root = Path("somewhere")
    printed = command.sweep.commands(command.launch, root)
    assert len(printed) == len(command.sweep.cells) == len(set(printed))
    for line, cell in zip(printed, command.sweep.cells, strict=True):
        python, *arguments = line.split()
        assert python == "python"
        alone = cli.parse(arguments)
        assert alone.config == cell.config
        assert alone.sweep is None
        assert alone.workdir.path.parent == root / "cells"
