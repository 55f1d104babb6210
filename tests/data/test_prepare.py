"""The command that prepares a set: what it writes, says and refuses, and what a kill leaves."""

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from privileges import open_to_all, unprivileged

from routing_jax import lock
from routing_jax.data import preparation, search, sources, tfds_writer
from routing_jax.data.prepare import main
from routing_jax.errors import UserError

ROOT = Path(preparation.__file__).parents[2]


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command with tmp_path/prepared as data directory: status, output and errors."""

    def command(*arguments):
        status = main(["prepare", *arguments, f"--data_dir={tmp_path / 'prepared'}"])
        return status, *capsys.readouterr()

    return command


def stock(data_dir, name="mnist"):
    """The set as TFDS's own reader finds it by its name."""
    import tensorflow_datasets as tfds

    return tfds.data_source(name, data_dir=data_dir, download=False)


def test_the_stock_reader_reads_what_is_prepared(run, small_mnist, tmp_path):
    status, said, errors = run("mnist", f"--from={small_mnist.folder}")
    folder = tmp_path / "prepared" / "mnist" / "3.0.1"
    assert (status, errors) == (0, "")
    assert said == (
        f"reading the original files in {small_mnist.folder}\n"
        "writing mnist train: 30 of 30 images\n"
        "writing mnist test: 20 of 20 images\n"
        f"mnist is prepared in {folder}\n"
    )
    found = stock(tmp_path / "prepared")
    assert set(found) == {"train", "test"}
    for split, source in found.items():
        examples = source.__getitems__(range(len(source)))
        pairs = sorted((example["image"].tobytes(), int(example["label"])) for example in examples)
        images, labels = small_mnist.images[split], small_mnist.labels[split]
        assert pairs == sorted(
            (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
        )
    # Nothing but the set is left in the data directory, and others may read it.
    assert os.listdir(tmp_path / "prepared") == ["mnist"]
    assert os.listdir(tmp_path / "prepared" / "mnist") == ["3.0.1"]
    assert stat.S_IMODE(folder.stat().st_mode) & 0o055 == 0o055


def test_preparing_twice_gives_the_same_bytes(small_mnist, prepare, tmp_path):
    first = prepare("mnist", small_mnist.folder)
    first.rename(tmp_path / "first")
    second = prepare("mnist", small_mnist.folder)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_a_set_that_is_there_is_left_alone(run, small_mnist, prepare):
    folder = prepare("mnist", small_mnist.folder)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    status, said, _ = run("mnist")
    assert (status, said) == (
        0,
        f"mnist is prepared already in {folder}. To prepare it anew, delete that first.\n",
    )
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("harm", ["shard cut", "shard missing", "information", "empty"])
def test_a_damaged_set_is_not_taken_for_prepared(run, small_mnist, prepare, harm):
    folder = prepare("mnist", small_mnist.folder)
    shard = next(folder.glob("mnist-train*"))
    if harm == "shard cut":
        os.truncate(shard, shard.stat().st_size // 2)
    elif harm == "shard missing":
        shard.unlink()
    else:
        (folder / "dataset_info.json").write_text("" if harm == "empty" else "{}")
    status, _, errors = run("mnist", f"--from={small_mnist.folder}")
    assert status == 2
    assert errors.startswith(
        f"error: {folder} is in the place of the prepared set, but is damaged or incomplete ("
    )
    assert errors.endswith("). Delete that directory and start again.\n")


def test_a_set_for_tensorflow_is_left_as_it_is(run, small_mnist, tmp_path):
    theirs = tmp_path / "prepared" / "mnist" / "3.0.1"
    theirs.mkdir(parents=True)
    (theirs / "mnist-train.tfrecord-00000-of-00001").write_bytes(b"theirs")
    status, _, errors = run("mnist", f"--from={small_mnist.folder}")
    assert status == 2
    assert errors.startswith(f"error: data: the set in {theirs} is stored as tfrecord, ")
    assert os.listdir(theirs) == ["mnist-train.tfrecord-00000-of-00001"]


def test_the_default_directory_is_that_of_the_reader(small_mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("ROUTING_JAX_DATA_DIR", str(tmp_path / "mine"))
    assert main(["prepare", "mnist", f"--from={small_mnist.folder}"]) == 0
    assert search.find_prepared("mnist", "") == tmp_path / "mine" / "mnist" / "3.0.1"


# Wrong input: one message, status 2, nothing left.


def test_an_unknown_set_is_answered_with_those_that_exist(run, tmp_path):
    status, said, errors = run("minst")
    assert (status, said) == (2, "")
    assert errors == (
        "error: there is no set 'minst'; choose one of: mnist, fashion_mnist, cifar100, omniglot, "
        "usps, mini_imagenet.\n"
    )
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["mnist", "cifar100"], ["mnist", "--form=x"], ["mnist", "--from="]]
)
def test_a_wrong_command_line_is_answered(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", *arguments])
    assert stopped.value.code == 2
    assert "usage: python -m routing_jax.data.prepare" in capsys.readouterr().err


def test_help_names_the_sets_and_is_quick(capsys):
    script = (
        "import sys; from routing_jax.data.prepare import main\n"
        "try: main(['prepare', '--help'])\n"
        "finally: print([name for name in ('jax', 'tensorflow_datasets') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert all(name in done.stdout for name in preparation.SETS)
    assert done.stdout.endswith("\n[]\n")


def test_a_directory_that_is_not_there(run, tmp_path):
    status, _, errors = run("mnist", f"--from={tmp_path / 'nowhere'}")
    assert (status, errors) == (
        2,
        f"error: --from={tmp_path / 'nowhere'}: there is no such directory.\n",
    )


@pytest.mark.parametrize("name", preparation.SETS)
def test_missing_files_are_named(run, tmp_path, name):
    (tmp_path / "empty").mkdir()
    status, _, errors = run(name, f"--from={tmp_path / 'empty'}")
    assert status == 2
    assert errors.startswith(f"error: {tmp_path / 'empty'} ")
    assert errors.count("\n") == 1
    for file in preparation.SETS[name].downloads[:1]:
        assert file.name in errors
    assert os.listdir(tmp_path / "prepared") == []


def test_a_set_that_may_not_be_passed_on_is_not_downloaded(run):
    status, _, errors = run("mini_imagenet")
    assert status == 2
    assert errors.startswith("error: mini_imagenet cannot be downloaded, as its images may not ")
    assert "--from=DIR: train.csv, val.csv and test.csv" in errors


def test_a_data_directory_that_is_a_file(run, small_mnist, tmp_path):
    (tmp_path / "prepared").write_text("in the way")
    status, _, errors = run("mnist", f"--from={small_mnist.folder}")
    assert status == 2
    assert errors.startswith(f"error: {tmp_path / 'prepared'}: mnist cannot be prepared there: ")


@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["read-only", "closed"])
def test_a_data_directory_that_may_not_be_written(small_mnist, capsys, mode):
    with open_to_all() as folder:
        shutil.copytree(small_mnist.folder, folder / "originals")
        closed = folder / "closed"
        closed.mkdir(mode=mode)
        with unprivileged():
            status = main(
                ["prepare", "mnist", f"--from={folder / 'originals'}", f"--data_dir={closed}"]
            )
    assert status == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: {closed}: mnist cannot be prepared there: [Errno 13] Permiss")


def test_original_files_that_may_not_be_read_are_named(small_mnist, capsys, tmp_path):
    with open_to_all() as folder:
        originals, closed = folder / "originals", folder / "closed"
        shutil.copytree(small_mnist.folder, originals)
        closed.mkdir(mode=0o000)
        file = originals / small_mnist.files[1].name
        file.chmod(0o000)
        (folder / "prepared").mkdir()
        (folder / "prepared").chmod(0o777)
        told = []
        for source in (closed, originals, small_mnist.files[0]):
            arguments = [f"--from={source}", f"--data_dir={folder / 'prepared'}"]
            with unprivileged() if source != small_mnist.files[0] else nullcontext():
                assert main(["prepare", "mnist", *arguments]) == 2
            told.append(capsys.readouterr().err)
        assert os.listdir(folder / "prepared") == []
    assert told[0] == f"error: --from={closed} cannot be read: Permission denied.\n"
    assert told[1].startswith(f"error: {file} cannot be read (PermissionError: ")
    assert told[2] == f"error: --from={small_mnist.files[0]} cannot be read: Not a directory.\n"


def test_another_version_that_is_there_stays_beside_the_one_needed(run, small_mnist, tmp_path):
    other = tmp_path / "prepared" / "mnist" / "2.0.0"
    other.mkdir(parents=True)
    (other / "dataset_info.json").write_text("theirs")
    status, said, _ = run("mnist", f"--from={small_mnist.folder}")
    needed = tmp_path / "prepared" / "mnist" / "3.0.1"
    assert (status, said.splitlines()[-1]) == (0, f"mnist is prepared in {needed}")
    assert (other / "dataset_info.json").read_text() == "theirs"


def test_a_full_disk_leaves_nothing(run, small_mnist, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        status, _, errors = run("mnist", f"--from={small_mnist.folder}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 2
    assert errors.startswith(f"error: {tmp_path / 'prepared'}: mnist cannot be prepared there: ")
    assert "File too large" in errors
    assert os.listdir(tmp_path / "prepared") == []


def test_a_set_that_does_not_read_back_is_not_put_in_place(small_mnist, prepare, monkeypatch):
    monkeypatch.setattr(tfds_writer, "_generate", lambda builder: None)
    with pytest.raises(UserError, match="mnist cannot be prepared there: .* is not whole: "):
        prepare("mnist", small_mnist.folder)


def test_an_interruption_leaves_nothing(run, small_mnist, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tfds_writer, "check", interrupt)
    status, said, _ = run("mnist", f"--from={small_mnist.folder}")
    assert status == 130
    assert said.endswith("stopped; nothing half-prepared is left. The same command starts again.\n")
    assert os.listdir(tmp_path / "prepared") == []


def test_two_at_once_are_kept_apart(run, small_mnist, tmp_path):
    (tmp_path / "prepared").mkdir()
    with lock.held(tmp_path / "prepared" / ".preparing-mnist.lock"):
        status, _, errors = run("mnist", f"--from={small_mnist.folder}")
    assert (status, errors) == (
        2,
        f"error: Another process is preparing mnist in {tmp_path / 'prepared'}: wait for its end."
        "\n",
    )


# From the network.


def test_a_set_is_downloaded_and_prepared(run, small_mnist, server, tmp_path):
    for path in small_mnist.files:
        server.files[f"/mnist/{path.name}"] = path.read_bytes()
    status, said, errors = run("mnist")
    assert (status, errors) == (0, "")
    downloads = tmp_path / "prepared" / "downloads" / "mnist"
    for path in small_mnist.files:
        assert (downloads / path.name).read_bytes() == path.read_bytes()
        assert f"downloading {server.address}/mnist/{path.name} to {downloads}\n" in said
    assert len(stock(tmp_path / "prepared")["train"]) == 30


def test_a_network_that_fails_is_told(run, small_mnist, server, tmp_path):
    status, _, errors = run("mnist")
    assert (status, errors) == (
        2,
        f"error: {server.address}/mnist/train-images-idx3-ubyte.gz cannot be downloaded: HTTP "
        "status 404 Not Found.\n",
    )
    assert search.find_prepared("mnist", str(tmp_path / "prepared")) is None


# Kills. The processes are children of one that has imported everything already.

KILLS = """
    import os, signal, sys
    from functools import partial
    from dataclasses import replace
    from pathlib import Path
    import tensorflow_datasets
    from routing_jax.data import preparation, tfds_writer
    from routing_jax.data.builders import mnist

    source, data_dir = map(Path, sys.argv[1:])
    counts = {"train": (3,) * 10, "test": (2,) * 10}
    original = replace(mnist.MNIST, read=partial(mnist.read, class_counts=counts))
    preparation.SETS["mnist"] = original

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    def after(activity):
        return lambda seen, *_, **__: die() if activity in seen else None

    def prepare(place, report=lambda *_, **__: None):
        preparation.prepare("mnist", source=source, data_dir=place, say=print, report=report)

    def in_check():
        tfds_writer.check = die

    def before_the_move():
        os.rename = die

    moments = {
        "train": lambda place: prepare(place, after("train")),
        "test": lambda place: prepare(place, after("test")),
        "written": lambda place: (in_check(), prepare(place)),
        "checked": lambda place: (before_the_move(), prepare(place)),
    }
    for name, moment in moments.items():
        child = os.fork()
        if not child:
            moment(data_dir / name)
            os._exit(0)
        print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_kill_leaves_nothing_that_looks_prepared(small_mnist, tmp_path):
    arguments = [sys.executable, "-c", textwrap.dedent(KILLS), small_mnist.folder, tmp_path]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    killed = [line for line in done.stdout.splitlines() if line.endswith(str(-signal.SIGKILL))]
    assert [line.split()[0] for line in killed] == ["train", "test", "written", "checked"]
    for name in ("train", "test", "written", "checked"):
        data_dir = tmp_path / name
        left = sorted(os.listdir(data_dir))
        assert ".preparing-mnist" in left  # it was killed in the midst of it
        assert search.find_prepared("mnist", str(data_dir)) is None
        preparation.prepare(
            "mnist",
            source=small_mnist.folder,
            data_dir=data_dir,
            say=lambda text: None,
            report=lambda *_, **__: None,
        )
        assert search.find_prepared("mnist", str(data_dir)) == data_dir / "mnist" / "3.0.1"
        assert os.listdir(data_dir) == ["mnist"]
        assert len(stock(data_dir)["test"]) == 20


def test_a_kill_while_downloading_is_made_up_for(small_mnist, server, prepare, tmp_path):
    for path in small_mnist.files:
        server.files[f"/mnist/{path.name}"] = path.read_bytes()
    downloads = tmp_path / "prepared" / "downloads" / "mnist"
    downloads.mkdir(parents=True)
    first = small_mnist.files[0]
    (downloads / f"{first.name}.part").write_bytes(first.read_bytes()[:500])
    prepare("mnist")
    assert server.requests[0] == ("GET", f"/mnist/{first.name}", "bytes=500-")
    assert len(stock(tmp_path / "prepared")["train"]) == 30


def test_what_is_prepared_is_read_by_the_loader(small_mnist, prepare, tmp_path):
    folder = prepare("mnist", small_mnist.folder)
    splits = sources.read_prepared(
        "mnist", folder, cache_dir=str(tmp_path / "cache"), say=lambda text: None
    )
    for split, found in splits.items():
        order = np.lexsort(found.images.reshape(len(found.labels), -1).T)
        expected = np.lexsort(small_mnist.images[split].reshape(len(order), -1).T)
        np.testing.assert_array_equal(
            found.images[order, ..., 0], small_mnist.images[split][expected]
        )
        np.testing.assert_array_equal(found.labels[order], small_mnist.labels[split][expected])
