"""The main job as a user starts it: its quality, and its time on two cores."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

import pytest

ROOT = Path(__file__).parent.parent


def run_main_job(workdir: Path, environment: dict[str, str]) -> tuple[dict, float]:
    command = [sys.executable, "launch.py", "--config=experiments/mnist_mtl.py"]
    began = time.monotonic()
    subprocess.run(
        [*command, f"--workdir={workdir}"], cwd=ROOT, check=True, env=os.environ | environment
    )
    seconds = time.monotonic() - began
    return json.loads((workdir / "results.json").read_text()), seconds


def as_committed(results: dict, name: str) -> None:
    """The run lies within the spread of the committed seeds.

    Of five seeds and one run more, all alike, one in a hundred runs lies outside:
    t(0.995, 4 degrees of freedom) * sqrt(1 + 1 / 5) = 4.60 * 1.10 = 5.0 standard deviations.
    """
    committed = json.loads((ROOT / "results" / name).read_text())
    for metric, found in results["test"].items():
        seeds = committed["test"][metric]["per_seed"]
        # The resolution of a test set of 360 images, should all seeds happen to agree.
        spread = max(stdev(seeds), 1 / 360 / 10)
        assert abs(found["mean"] - fmean(seeds)) <= 5 * spread, metric


@pytest.mark.slow
@pytest.mark.alone
def test_embedded_digits(tmp_path):
    results, seconds = run_main_job(tmp_path, {"ROUTING_JAX_DATA_DIR": ""})
    assert results["dataset"]["embedded_fallback"]
    assert results["test"]["accuracy"]["mean"] >= 0.985
    assert results["test"]["balanced_accuracy"]["mean"] >= 0.95
    assert seconds <= 60
    as_committed(results, "mnist_mtl_digits.json")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.real_data("mnist")
def test_mnist(tmp_path, real_data_dir):
    results, seconds = run_main_job(tmp_path, {"ROUTING_JAX_DATA_DIR": str(real_data_dir)})
    assert results["dataset"]["name"] == "mnist"
    assert results["test"]["accuracy"]["mean"] >= 0.992
    assert results["test"]["balanced_accuracy"]["mean"] >= 0.975
    assert seconds <= 180
    assert results["peak_memory_bytes"] < 3 * 2**30
