"""Which program trains which cells of a sweep."""

import json
from types import SimpleNamespace

import pytest

from routing_jax.config import flatten
from routing_jax.errors import UserError
from routing_jax.sweep.axes import parse_axes
from routing_jax.sweep.parts import (
    plan_lines,
    plan_parts,
    read_parts,
    settings_of_start,
    side_by_side,
)
from routing_jax.sweep.plan import make_cells
from routing_jax.training import memory
from routing_jax.training.run import make_run
from routing_jax.workdir import Workdir


@pytest.fixture
def command(tiny_config, tmp_path):
    """A command that sweeps rho (4 values) for each agent."""
    config = tiny_config()
    config.sweep = "rho=0,0.1,0.3,1.0 router.agent=single,per_task"
    cells = make_cells(config, parse_axes([config.sweep]))
    sweep = SimpleNamespace(cells=cells, given=flatten(config), workers=None)
    return SimpleNamespace(
        workdir=Workdir(tmp_path), sweep=sweep, launch=("launch.py", "--config=a.py")
    )


def indices(parts):
    return [[cell.index for cell in part.cells] for part in parts]


def test_a_program_for_each_agent(command):
    parts = plan_parts(command, say=print)
    assert indices(parts) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert [part.title for part in parts] == ["program 1 of 2", "program 2 of 2"]
    assert parts[1].commands[0].startswith("python launch.py --config=a.py ")
    lines = plan_lines(parts)
    assert lines[0] == "The sweep has 8 cells in 2 programs:"
    assert lines[1].startswith("  program 1: 4 cells (router.agent = single), at least ")


def test_what_does_not_fit_is_split(command, tiny_config, digits, monkeypatch):
    needed = memory.estimate(make_run(tiny_config(router__agent="per_task"), digits))
    # Half of the memory takes the states of three cells of this agent, twice each, and no fourth.
    three = needed.data + 6 * needed.state + needed.gradients + needed.activations
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * three)
    parts = plan_parts(command, say=print)
    assert indices(parts)[-2:] == [[1, 3], [5, 7]]
    assert parts[-1].needed == three - 2 * needed.state
    # A later start keeps the split, whatever memory there is by then.
    monkeypatch.undo()
    assert indices(plan_parts(command, say=print)) == indices(parts)


def test_a_cell_that_does_not_fit_by_itself_is_refused(command, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(UserError, match="^The run needs at least"):
        plan_parts(command, say=print)
    assert not command.workdir.plan_path.exists()


def test_workers_each_get_a_share(command):
    command.sweep.workers = 3
    # 8 cells for 3 workers: at most 3 a program, so each agent's four cells are halved.
    assert indices(plan_parts(command, say=print)) == [[0, 2], [4, 6], [1, 3], [5, 7]]


def test_more_workers_than_fit_into_memory_take_turns(command, monkeypatch):
    parts = plan_parts(command, say=print)
    both = sum(part.needed for part in parts)
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * both)
    assert side_by_side(parts, 2) == 2
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * both - 2)
    assert side_by_side(parts, 2) == 1
    # A finished program takes no memory.
    parts[0].workdir.path.mkdir(parents=True)
    parts[0].outcomes_path.write_text("[]")
    assert side_by_side(parts, 2) == 2
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    assert side_by_side(parts, 5) == 5


def test_a_later_start_may_read_the_data_elsewhere(command, tiny_config):
    config = tiny_config()
    config.sweep = "rho=0,0.1,0.3,1.0 router.agent=single,per_task"
    command.workdir.claim(config)
    plan_parts(command, say=print)
    config.data.dir = "moved"
    parts = read_parts(command.workdir, settings_of_start(config))
    assert {cell.config.data.dir for part in parts for cell in part.cells} == {"moved"}
    stored = read_parts(command.workdir, {})
    assert {cell.config.data.dir for part in stored for cell in part.cells} != {"moved"}


def test_a_dispatcher_counts_its_agents(tiny_config, digits):
    def policies(**router):
        fields = {f"router__{name}": value for name, value in router.items()}
        config = tiny_config(router__rule="reinforce", model__num_blocks=1000, **fields)
        return memory.glance(make_run(config, digits)).state

    single, two = policies(agent="single"), policies(agent="dispatched", num_agents=2)
    depth = tiny_config().model.depth
    assert two - single == 4 * 1000 * depth  # float32 scores of one more agent
    assert policies(agent="dispatched") - single == 9 * (two - single)  # one for each of 10 tasks


def test_a_damaged_plan_is_told(command):
    command.workdir.plan_path.write_text(json.dumps({"programs": [{"cells": [99]}]}))
    with pytest.raises(
        UserError, match=r"plan.json cannot be read \(.*start anew with --overwrite"
    ):
        plan_parts(command, say=print)
