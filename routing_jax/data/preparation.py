"""From a set's original files, on disk or on the web, to a prepared TFDS set."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from routing_jax import lock
from routing_jax.data import download, tfds_writer
from routing_jax.data.builders.cifar import CIFAR100
from routing_jax.data.builders.mini_imagenet import MINI_IMAGENET
from routing_jax.data.builders.mnist import FASHION_MNIST, MNIST
from routing_jax.data.builders.omniglot import OMNIGLOT
from routing_jax.data.builders.originals import Contents, OriginalSet
from routing_jax.data.builders.usps import USPS
from routing_jax.data.download import PATIENT, Patience
from routing_jax.data.prepared import open_prepared
from routing_jax.data.progress import Report
from routing_jax.errors import UserError

SETS = {
    original.name: original
    for original in (MNIST, FASHION_MNIST, CIFAR100, OMNIGLOT, USPS, MINI_IMAGENET)
}
PROBE_SECONDS = 3.0

Say = Callable[[str], None]


def prepare(
    name: str,
    *,
    source: Path | None,
    data_dir: Path,
    say: Say,
    report: Report,
    patience: Patience = PATIENT,
) -> Path:
    """Prepares a set, unless it is there, and returns its directory.

    Args:
        name: A key of SETS.
        source: The directory of the original files; None to download them.
        data_dir: The TFDS data directory; made if needed.
        say: Receives what is about to happen.
        report: Receives how far it is.
        patience: How long to try a download.

    Raises:
        UserError: The original files are missing, damaged or cannot be had, or `data_dir` cannot
            be written.
    """
    original = SETS[name]
    target = tfds_writer.version_folder(original, data_dir)
    try:
        if target.exists():
            _check_present(original, target, say)
            return target
        data_dir.mkdir(parents=True, exist_ok=True)
        with _alone(name, data_dir):
            if source is None:
                source = _download(original, data_dir, say, report, patience)
            contents = _read(original, source, say)
            tfds_writer.write(original, contents, data_dir, report=report)
    except OSError as error:
        raise UserError(
            f"{data_dir}: {name} cannot be prepared there: {error}. Nothing half-prepared is left; "
            "make room or name another directory with --data_dir."
        ) from error
    say(f"{name} is prepared in {target}")
    return target


def mnist_from_network(data_dir: Path, say: Say, report: Report) -> str:
    """Prepares MNIST in `data_dir` if its files can be downloaded.

    A network that does not answer costs at most three seconds.

    Returns:
        "" if it is prepared, else why not.
    """
    address = MNIST.downloads[0].address(MNIST.name)
    say(f"MNIST is not prepared; asking {address} (at most {PROBE_SECONDS:g} s)")
    silence = download.reachable(address, seconds=PROBE_SECONDS)
    if silence:
        return f"it cannot be downloaded: {silence}"
    say(f"downloading MNIST and preparing it in {data_dir}")
    patience = Patience(attempts=2, timeout=10.0)
    try:
        prepare("mnist", source=None, data_dir=data_dir, say=say, report=report, patience=patience)
    except UserError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def _alone(name: str, data_dir: Path) -> Iterator[None]:
    """Keeps out other processes that would prepare the same set."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock.held(data_dir / f".preparing-{name}.lock"))
        except UserError as error:
            raise UserError(
                f"Another process is preparing {name} in {data_dir}: wait for its end."
            ) from error
        yield


def _check_present(original: OriginalSet, folder: Path, say: Say) -> None:
    """Raises UserError if what is in the set's place is damaged or of another kind."""
    try:
        splits = open_prepared(folder).info.splits
        tfds_writer.check(folder, {name: split.num_examples for name, split in splits.items()})
        if not splits:
            raise OSError("it has no splits")
    except (UserError, PermissionError):  # of another kind, or closed: no damage
        raise
    except Exception as error:  # the readers raise anything from KeyError to SystemError
        raise UserError(
            f"{folder} is in the place of the prepared set, but is damaged or incomplete "
            f"({error}). Delete that directory and start again."
        ) from error
    say(f"{original.name} is prepared already in {folder}. To prepare it anew, delete that first.")


def _download(
    original: OriginalSet, data_dir: Path, say: Say, report: Report, patience: Patience
) -> Path:
    if not original.downloads:
        raise UserError(
            f"{original.name} cannot be downloaded, as its images may not be passed on. Name the "
            f"directory of the original files with --from=DIR: {original.wanted}."
        )
    folder = data_dir / "downloads" / original.name
    folder.mkdir(parents=True, exist_ok=True)
    for file in original.downloads:
        download.fetch(
            file, folder, set_name=original.name, say=say, report=report, patience=patience
        )
    return folder


def _read(original: OriginalSet, source: Path, say: Say) -> Contents:
    try:
        os.listdir(source)
    except FileNotFoundError:
        raise UserError(f"--from={source}: there is no such directory.") from None
    except OSError as error:
        raise UserError(f"--from={source} cannot be read: {error.strerror}.") from error
    say(f"reading the original files in {source}")
    try:
        return original.read(source)
    except OSError as error:
        raise UserError(
            f"{error.filename or source} cannot be read: {error.strerror}. Mend that, or name "
            "another directory of the original files with --from=DIR."
        ) from error
