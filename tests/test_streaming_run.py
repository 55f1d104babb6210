"""Whole runs on a set that is streamed: from folders, stopped and resumed, on two processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from test_processes import SECONDS, assert_same_run, run
from tiny_runs import ROOT, TINY, read, start, stop_after

import launch
from benchmarks.kill_and_resume import outcome
from routing_jax.data import loading
from routing_jax.data.sampling import draw_batch
from routing_jax.data.sources import embedded_digits
from routing_jax.experiment import load_config
from routing_jax.training.run import make_run
from routing_jax.training.state import make_keys


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """240 of the embedded digits as a folder of classes, 160 of them to train on."""
    folder = tmp_path_factory.mktemp("digits")
    for split, count in (("train", 160), ("test", 80)):
        images = embedded_digits()[split]
        for number in range(count):
            place = folder / split / images.class_names[images.labels[number]]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images.images[number, ..., 0]).save(place / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def arguments(digits) -> tuple[str, ...]:
    return (
        *TINY,
        "--config.data.name=class_folders",
        f"--config.data.dir={digits}",
        "--config.data.input=stream",
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, arguments) -> Path:
    workdir = tmp_path_factory.mktemp("finished") / "run"
    assert start(workdir, *arguments) == 0
    return workdir


def test_a_streamed_run_leaves_what_one_in_memory_leaves(finished, arguments, tmp_path):
    assert start(tmp_path / "run", *arguments, "--config.data.input=memory") == 0
    assert_same_run(finished, tmp_path / "run")
    results = read(finished)
    assert results["dataset"]["num_train"] == 160
    assert 0 < results["seconds"]["wait"] < results["seconds"]["train"]
    assert read(tmp_path / "run")["seconds"]["wait"] == 0


@pytest.mark.slow
@jax.numpy_dtype_promotion("standard")  # Adam of optax promotes types inside
def test_the_study_of_reuse_takes_a_folder_in_the_layout_of_imagenet(digits, tmp_path):
    shrunk = (
        f"--config.data.dir={digits}",
        "--config.data.image_size=16",
        "--config.data.input=stream",
        "--config.model.width=8",
        "--config.model.resolution=4",
        "--config.training.examples_per_task=8",
        "--config.training.epochs=None",
        "--config.training.steps=2",
    )
    experiment = "compositional_reuse.py:data=folders,network=resnet,depth=4"
    assert start(tmp_path, *shrunk, experiment=experiment) == 0
    results = read(tmp_path)
    assert results["curve"][0][-1]["step"] == 2
    # Channels 1-2, 2-2, 2-4, 4-8 before the stage: 22 + 80 + 232 + 896; four templates of
    # 9 x (8 x 8 + 8 x 8) and four numbers a channel; 4 x 4 mixing weights; a head of 8 x 10 + 10.
    assert results["parameters"] == 1230 + 4 * 1184 + 16 + 90


@pytest.mark.slow
def test_a_run_stopped_mid_epoch_resumes_bit_for_bit(
    finished, arguments, tmp_path, monkeypatch, capsys
):
    workdir = tmp_path / "run"
    with monkeypatch.context() as patched:
        stop_after(patched, 6, signal.SIGTERM)  # 6 x 8 of 160 images: in the first epoch
        assert start(workdir, *arguments) == 0
    (stopped,) = {int(path.name) for path in workdir.glob("checkpoints/*")} - {5}
    manifest = workdir / "checkpoints" / str(stopped) / "manifest.json"
    position = json.loads(manifest.read_text().partition("\n")[2])["content"]["input"]
    assert position["first"] == 0
    assert position["state"]
    capsys.readouterr()
    assert start(workdir, *arguments) == 0
    assert f"resuming after step {stopped} of 12" in capsys.readouterr().out
    assert outcome(workdir) == outcome(finished)
    # As if it had been killed behind its last step.
    (workdir / "results.json").unlink()
    assert start(workdir, *arguments) == 0
    assert read(workdir)["test"] == read(finished)["test"]


def test_a_streamed_run_is_evaluated_and_exported(finished, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    assert launch.main(["launch.py", "--mode=evaluate", f"--workdir={workdir}"]) == 0
    assert "checkpoint of step 12" in capsys.readouterr().out
    assert launch.main(["launch.py", "--mode=export", f"--workdir={workdir}", "--task=3"]) == 0


def test_an_image_that_cannot_be_read_ends_the_run_by_its_name(digits, arguments, tmp_path, capsys):
    folder = tmp_path / "digits"
    shutil.copytree(digits, folder)
    for broken in folder.glob("train/*/*.png"):
        broken.write_bytes(broken.read_bytes()[:60])
    place = f"--config.data.dir={folder}"
    assert start(tmp_path / "run", *arguments, place) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {folder}/train/")
    assert ".png cannot be read as an image: " in error
    assert "Traceback" not in error


def test_a_sweep_is_refused(arguments, tmp_path, capsys):
    assert start(tmp_path / "run", *arguments, "--sweep=training.seed=0,1") == 2
    assert capsys.readouterr().err == (
        "error: data.input = stream and a sweep clash: the cells of a program share a data set in "
        "memory; set data.input to memory.\n"
    )


@pytest.mark.slow
@pytest.mark.alone
def test_two_processes_leave_what_one_leaves(finished, arguments, tmp_path):
    given = [argument for argument in arguments if argument not in TINY]
    run(tmp_path / "run", 2, *given)
    assert_same_run(tmp_path / "run", finished)


def streamed_batches(count: int, out: Path, environment: dict[str, str]) -> np.ndarray:
    """The first batches of CIFAR-MTL, read by so many processes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    script = [sys.executable, "tests/streamed_batches.py", address, str(count)]
    started = [
        subprocess.Popen([*script, str(number), str(out)], cwd=ROOT, env=environment)
        for number in range(count)
    ]
    assert [process.wait(SECONDS) for process in started] == [0] * count
    return np.load(out)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.real_data("cifar100")
def test_cifar_100_gives_the_same_batches_on_one_and_two_processes_as_in_memory(
    tmp_path, real_data_dir
):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "ROUTING_JAX_DATA_DIR": str(real_data_dir),
    }
    one, two = (streamed_batches(count, tmp_path / f"{count}.npy", environment) for count in (1, 2))
    np.testing.assert_array_equal(one, two)
    config = load_config("experiments/cifar_mtl.py", ROOT)
    config.data.dir, config.training.steps, config.training.epochs = str(real_data_dir), 3, None
    held = make_run(config, loading.load(config.data, say=lambda _: None))
    for step in range(3):
        batch = draw_batch(
            held.tasks.train,
            key=make_keys(held.hyper.seed).data,
            step=jnp.int32(step),
            examples=held.examples_per_task,
            shared=False,
        )
        np.testing.assert_array_equal(one[step], batch.images)
