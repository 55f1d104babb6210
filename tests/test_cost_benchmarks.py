"""The benchmarks of single costs and of kills: what they print, and one tiny round."""

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import (
    gumbel_cost,
    kill_and_resume,
    products_on_cpu,
    routers_cost,
    saving_cost,
    start_up,
    step_cost,
    step_parts,
    sweep_cost,
    timing,
)
from routing_jax.data import loading
from routing_jax.training.checkpointing import Checkpoints
from routing_jax.training.run import make_run


@pytest.fixture
def lines(capsys):
    """Reads the JSON lines printed since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_spread_has_four_digits():
    assert timing.spread([30.0, 0.123456, 1.0]) == {"median": 1.0, "min": 0.1235, "max": 30.0}


def test_a_line_says_what_was_measured_and_on_what(lines):
    timing.print_line("made_up", "side", {"batch": 3}, {"kills": 2})
    (line,) = lines()
    assert list(line) == [
        *("benchmark", "name", "settings", "kills"),
        *("device", "versions", "command", "git_commit"),
    ]
    assert (line["benchmark"], line["name"], line["settings"]) == ("made_up", "side", {"batch": 3})
    assert line["kills"] == 2
    assert line["device"].endswith(f", {os.cpu_count()} cores")
    assert line["command"].startswith("python ")


def test_ratios_are_taken_round_by_round(lines):
    timing.report("made_up", {}, {"a": [1.0, 2.0, 4.0], "b": [2.0, 6.0, 4.0]}, against="a")
    assert [line["ratio"] for line in lines()] == [
        {"median": 1.0, "min": 1.0, "max": 1.0, "to": "a"},
        {"median": 2.0, "min": 1.0, "max": 3.0, "to": "a"},
    ]


# Saving.


def test_the_jobs_are_those_of_the_experiment_at_its_own_interval():
    config = saving_cost.job("digits", data_dir="", steps=None)
    assert (config.data.name, config.training.checkpoint_every) == ("digits", 500)
    config = saving_cost.job("", data_dir="there", steps=7)
    assert (config.data.name, config.data.dir) == ("mnist", "there")
    assert config.training.checkpoint_every == 7


def test_every_round_has_a_stretch_with_and_one_without_saving(tmp_path):
    config = saving_cost.job("digits", data_dir="", steps=4)
    config.model.encoder, config.model.width = "flatten", 16
    config.model.depth, config.model.num_blocks = 1, 2
    config.training.eval_every, config.training.examples_per_task = 3, 4
    run = make_run(config, loading.load(config.data, say=print))
    checkpoints = Checkpoints(tmp_path, dataset="digits")
    times = saving_cost.measure(run, checkpoints, rounds=2)
    assert tuple(times) == saving_cost.SIDES
    for whole, *parts in zip(*(times[side] for side in saving_cost.SIDES[1:]), strict=True):
        assert whole == pytest.approx(sum(parts))
    assert [len(values) for values in times.values()] == [2, 2, 2, 2]
    assert min(min(values) for values in times.values()) > 0
    # After a stretch to warm up, four of four steps: without, saving at 8, saving at 12, without.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["12", "8"]


def test_the_cost_of_saving_is_printed(lines, monkeypatch):
    times = dict(zip(saving_cost.SIDES, ([100.0], [103.0], [102.0], [1.0]), strict=True))
    monkeypatch.setattr(saving_cost, "measured", lambda config, rounds: (config.data.name, times))
    assert saving_cost.main(["--rounds=1"]) == 0
    found = lines()  # of the digits alone, as the tests see no MNIST
    assert [line["name"] for line in found] == list(saving_cost.SIDES)
    assert [line["ratio"]["median"] for line in found] == [1.0, 1.03, 1.02, 0.01]
    assert found[0]["settings"] == {
        "data": "digits",
        "rounds": 1,
        "checkpoint_every": 500,
        "eval_every": 100,
    }


# Kills.


@pytest.mark.parametrize(("differing", "status"), [([], 0), (["run 0: state"], 1)])
def test_the_outcome_of_the_kills_is_a_line(lines, monkeypatch, differing, status):
    found = {"kills": 3, "exact": 3 if not differing else 0, "differing": differing}
    monkeypatch.setattr(kill_and_resume, "kill_and_resume", lambda *_, **__: found)
    assert kill_and_resume.main(["--kills=3", "--seed=5"]) == status
    (line,) = lines()
    assert (line["benchmark"], line["settings"]["seed"]) == ("kill_and_resume", 5)
    assert {name: line[name] for name in found} == found


# Steps, parts, start, routers: one tiny round each.

TINY = step_cost.Setting(num_blocks=3, width=16, batch=14)


@pytest.fixture
def tiny_rounds(monkeypatch):
    """Rounds of three steps at most."""
    monkeypatch.setattr(timing, "_ROUND_SECONDS", 0.0)


def assert_fields(line, benchmark, settings):
    """What every line of a benchmark has."""
    assert line["benchmark"] == benchmark
    assert settings.items() <= line["settings"].items()
    assert 0 < line["milliseconds"]["min"] <= line["milliseconds"]["max"]
    assert line["ratio"]["median"] > 0
    assert {"device", "versions", "command", "git_commit"} <= line.keys()


def test_both_sides_of_a_step_do_the_batch_that_is_printed(lines, tiny_rounds):
    step_cost.measure(TINY, ("dense",), rounds=1)
    found = lines()
    assert [line["name"] for line in found] == ["dense one path", "all blocks"]
    for line in found:
        # Three tasks, four examples of each.
        assert_fields(line, "step_cost", {"batch": 12, "num_tasks": 3, "routing": "even"})
        seconds = line["milliseconds"]["median"] / 1000
        assert line["examples_per_second"] == pytest.approx(12 / seconds, rel=0.01)


def test_only_the_blocks_differ_where_more_blocks_are_compared():
    few = step_cost.Setting(10, 128, 1024, num_tasks=16)
    many = few._replace(num_blocks=160)
    assert (few.tasks, few.examples) == (many.tasks, many.examples) == (16, 1024)
    assert step_cost.Setting(10, 128, 1024).examples == 1020
    assert step_cost.Setting(160, 128, 256).tasks == 64


@pytest.mark.parametrize(("routing", "used"), [("one_each", [0, 1, 2]), ("one_block", [0])])
def test_certain_policies_stay_so_and_use_their_blocks(routing, used):
    setting = TINY._replace(num_blocks=4, num_tasks=3, routing=routing)
    run = step_cost.routed(setting, "grouped")
    before, after = (jax.device_get(run(steps)[0]) for steps in (0, 3))
    table = after.pop("router")["policy"]["table"]
    np.testing.assert_array_equal(table, step_cost.table_of(setting))
    assert table.argmax(-1)[:, 0].tolist() == ([0, 1, 2] if routing == "one_each" else [0, 0, 0])
    del before["router"]
    moved = [
        np.any(a != b, axis=tuple(range(1, a.ndim)))
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    ]
    assert np.flatnonzero(np.any(moved, axis=0)).tolist() == used


def test_strategies_are_named(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(step_cost, "measure", lambda setting, names, rounds: asked.append(names))
    step_cost.main(["--quick", "--strategies=dense,ragged"])
    step_cost.main(["--quick"])
    assert asked == [["dense", "ragged"], ("auto",)]
    with pytest.raises(SystemExit):
        step_cost.main(["--strategies=auto,gather"])
    assert "'gather' is none of auto, dense, grouped, ragged" in capsys.readouterr().err


def test_parts_that_go_through_a_bank_print_its_bytes(lines, tiny_rounds):
    step_parts.main(["--num_blocks=3", "--width=8", "--batch=12", "--rounds=1"])
    found = {line["name"]: line for line in lines()}
    for line in found.values():
        assert_fields(line, "step_parts", {"num_blocks": 3, "width": 8, "batch": 12})
    streaming = {name for name, line in found.items() if "gigabytes_per_second" in line}
    assert streaming == set(step_parts._STREAMED)
    copied = found["copy a bank"]
    # 3 blocks of 8 x 8 numbers of 4 bytes, read and written.
    speed = 1536e-9 / (copied["milliseconds"]["median"] / 1000)
    assert copied["gigabytes_per_second"]["median"] == pytest.approx(speed, rel=0.01)


def test_the_wait_for_the_first_step_is_printed_by_part(lines, monkeypatch):
    def process(*arguments, status=0, **environment):
        for flag in arguments:
            if flag.startswith("--workdir="):
                workdir = Path(flag.removeprefix("--workdir="))
                workdir.mkdir()
                seconds = {"compile": 2.0, "first_step": 3.0}
                (workdir / "results.json").write_text(json.dumps({"seconds": seconds}))
        return 4000.0

    monkeypatch.setattr(start_up, "_python", process)
    start_up.main(["--quick"])
    found = {line["name"]: line for line in lines()}
    for line in found.values():
        assert_fields(line, "start_up", {"experiment": "mnist_mtl:digits"})
    assert found["compilation, cold cache"]["milliseconds"]["median"] == 2000
    assert found["to the first step, warm cache"]["ratio"]["median"] == 0.75


def test_a_process_that_ends_otherwise_than_asked_stops_the_benchmark():
    assert start_up._python("-c", "raise SystemExit(3)", status=3) > 0
    with pytest.raises(SystemExit, match="ended with 3"):
        start_up._python("-c", "raise SystemExit(3)")


def test_a_side_of_the_routers_trains(monkeypatch):
    for name, value in {"TASKS": 2, "EXAMPLES": 2, "POOL": 4}.items():
        monkeypatch.setattr(routers_cost, name, value)
    config = dict(routers_cost.configs(routed_part=True))[routers_cost.REFERENCE]
    config.model.depth, config.model.width = 2, 8
    state, *_ = routers_cost.stepping(config, (2, 4, 1))(1)
    assert int(state.step) == 1


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")  # Adam of optax promotes types inside
def test_the_plain_side_computes_what_the_network_with_all_switches_on_does(monkeypatch):
    monkeypatch.setattr(gumbel_cost, "EXAMPLES", 2)
    config = gumbel_cost.experiment()
    model, params = gumbel_cost.model_and_params(config)
    plain = gumbel_cost.plain_loss(model)
    # Without dropout both are the same function of the same random images.
    monkeypatch.setattr(jax.random, "bernoulli", lambda key, p, shape: jnp.ones(shape, bool))
    images, labels = gumbel_cost.random_batch(gumbel_cost.SHAPE, 2)
    on = gumbel_cost.FixedAllocation(((((1,) * 4),) * 3,) * 4)
    routed = model.clone(router=on, dropout=0.0).apply(
        {"params": {name: value for name, value in params.items() if name != "router"}},
        images,
        exploration=gumbel_cost.Exploration(),
        rngs={"router": jax.random.key(0)},
    )
    # The plain side doubles what dropout keeps, here everything: undone in the head.
    head = params["head"]["blocks"]["Dense_0"]
    halved = params | {"head": {"blocks": {"Dense_0": head | {"kernel": head["kernel"] / 2}}}}
    expected = optax.softmax_cross_entropy_with_integer_labels(routed.logits, labels).mean()
    np.testing.assert_allclose(plain(halved, jax.random.key(0)), expected, rtol=1e-5)


@jax.numpy_dtype_promotion("standard")
def test_both_sides_of_learned_allocation_run(monkeypatch, lines):
    monkeypatch.setattr(gumbel_cost, "EXAMPLES", 2)
    monkeypatch.setattr(gumbel_cost, "EVALUATED", 3)
    monkeypatch.setattr("sys.argv", ["gumbel_cost", "--rounds=1"])
    monkeypatch.setattr(timing, "_ROUND_SECONDS", 0.01)
    gumbel_cost.main()
    names = [(line["benchmark"], line["name"]) for line in lines()]
    assert names == [
        ("gumbel_step_cost", "plain sum"),
        ("gumbel_step_cost", "gumbel_matrix"),
        ("gumbel_evaluation_cost", "all blocks on"),
        ("gumbel_evaluation_cost", "2 of 4 blocks on"),
        ("gumbel_evaluation_cost", "1 of 4 blocks on"),
    ]


def test_growth_counts_the_steps_of_all_cells(monkeypatch, lines):
    counts = []

    def stepping(program, hyper, tasks):
        cells = hyper.seed.shape[0]
        counts.append((cells, program.together))
        return lambda steps: None

    monkeypatch.setattr(sweep_cost, "_stepping", stepping)
    milliseconds = {"1": [2.0, 4.0], "2": [3.0, 5.0], "4": [8.0, 8.0]}
    monkeypatch.setattr(sweep_cost, "interleaved", lambda sides, rounds: milliseconds)
    sweep_cost.growth(4, rounds=2)
    assert counts == [(1, 1), (2, 1), (4, 1)]  # on CPU cells take turns
    found = lines()
    assert [line["settings"]["cells"] for line in found] == [1, 2, 4]
    # Two cells in 3 and 5 ms: 667 and 400 steps a second, of 1 in 2 and 4: 1.5 and 1.25 times.
    assert found[1]["cell_steps_per_second"] == {"median": 533.3, "min": 400.0, "max": 666.7}
    assert found[1]["ratio"] == {"median": 1.375, "min": 1.25, "max": 1.5, "to": "1 cell"}


def test_products_are_timed_by_both_libraries(monkeypatch, lines):
    monkeypatch.setattr(products_on_cpu, "SIZES", [products_on_cpu.Size(2, 3, 4)] * 4)
    monkeypatch.setattr(timing, "_ROUND_SECONDS", 0.001)
    products_on_cpu.main(["--quick", "--rounds=1"])
    found = {line["name"]: line for line in lines()}
    kinds = ("products", "gradient of rows", "gradient of kernels")
    both = [f"{kind}, {library}" for library in ("default", "Eigen") for kind in kinds]
    assert list(found) == [products_on_cpu.ONE, *both]
    # 2 blocks x 3 rows x 4 x 4 multiply-adds, two operations each, are 192 in all.
    assert products_on_cpu.Size(2, 3, 4).gigaflop == pytest.approx(192e-9)
    for line in found.values():
        assert line["gigaflop_per_second"]["median"] > 0
