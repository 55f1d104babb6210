"""The benchmark of streaming: what it prints."""

import json

import pytest
from streamed_sets import streamed

from benchmarks import streaming
from routing_jax.data import loading
from routing_jax.experiment import load_config
from routing_jax.training.run import make_run


@pytest.fixture
def tiny(monkeypatch):
    """The job on the embedded digits and a small network, its images read from a shelf."""
    config = load_config("experiments/mnist_mtl.py:digits", streaming.EXPERIMENT.parent)
    config.model.encoder, config.model.width = "flatten", 16
    config.training.epochs, config.training.examples_per_task = None, 96

    def run_of(config, kind):
        config.training.steps = 1_000_000
        tasks = loading.load(config.data, say=lambda _: None)
        return make_run(config, streamed(tasks) if kind == "stream" else tasks)

    monkeypatch.setattr(streaming, "run_of", run_of)
    return config


@pytest.mark.slow
def test_waits_memory_and_both_sides_are_printed(tiny, capsys):
    streaming.measure(tiny, {"epochs": 1}, rounds=2)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == ["epoch", "memory", "stream", "reading alone"]
    epoch, _, stream, alone = lines
    assert epoch["steps"] == 1437 // 96
    assert 0 < epoch["waiting_share"] < 1
    memory = epoch["resident_mib"]
    assert 0 < memory["start"] <= memory["highest_at_start"] <= memory["highest"]
    assert stream["ratio"]["to"] == "memory"
    assert alone["images_per_second"]["median"] > 0
    # A step of ten tasks looks at the same 96 images.
    rate = alone["needed_in_memory"]["max"]
    assert rate == pytest.approx(1000 * 96 / lines[1]["milliseconds"]["min"], rel=0.01)
