"""How long it takes to prepare MNIST and CIFAR-100 from their original files.

    python -m benchmarks.prepare_data --from=DIR [--rounds=5]

DIR has a directory mnist and a directory cifar100 with the original files. Every round runs the
command `python -m routing_jax.data.prepare` anew for each set, into an empty directory; its time is
that of the whole process. A CIFAR-100 that is not in DIR but is prepared already is written back
into the form of its binary archive first, which is not timed; its settings say so.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.timing import print_line, spread
from routing_jax.data import search, sources
from routing_jax.data.builders.cifar import BINARY
from routing_jax.data.sources import LabelledImages
from routing_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
SETS = ("mnist", "cifar100")

Prepare = Callable[[str, Path, Path], None]
"""Takes a set's name, the directory of its original files, and the data directory."""


def times_of(
    originals: dict[str, Path], *, rounds: int, prepare: Prepare
) -> dict[str, list[float]]:
    """Milliseconds of preparing each set, per round; all sets take their turn in every round."""
    times: dict[str, list[float]] = {name: [] for name in originals}
    for _ in range(rounds):
        for name, source in originals.items():
            with tempfile.TemporaryDirectory() as data_dir:
                began = time.perf_counter()
                prepare(name, source, Path(data_dir))
                times[name].append(1000 * (time.perf_counter() - began))
    return times


def run_command(name: str, source: Path, data_dir: Path) -> None:
    """Prepares a set as a user does, in a process of its own."""
    arguments = [name, f"--from={source}", f"--data_dir={data_dir}"]
    command = [sys.executable, "-m", "routing_jax.data.prepare", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def write_archive(splits: dict[str, LabelledImages], folder: Path) -> Path:
    """Writes CIFAR-100's binary archive from the images and labels of a prepared set."""
    train = splits["train"]
    inside, path = folder / BINARY, folder / f"{BINARY}.tar.gz"
    inside.mkdir(parents=True)
    for level, names in (("fine", train.class_names), ("coarse", train.superclass_names)):
        (inside / f"{level}_label_names.txt").write_text("\n".join(names) + "\n", "utf-8")
    for split, images in splits.items():
        coarse = images.superclass_of_class[images.labels]
        pixels = images.images.transpose(0, 3, 1, 2).reshape(len(coarse), -1)
        rows = np.column_stack([coarse, images.labels, pixels]).astype(np.uint8)
        (inside / f"{split}.bin").write_bytes(rows.tobytes())
    with tarfile.open(path, "w:gz", compresslevel=6) as archive:
        archive.add(inside, arcname=BINARY)
    for file in inside.iterdir():
        file.unlink()
    inside.rmdir()
    return path


def find_originals(folder: Path, scratch: Path) -> tuple[dict[str, Path], list[str]]:
    """The directories of the original files, and the sets whose archive had to be written back.

    Raises:
        UserError: a set is neither in the folder nor prepared.
    """
    found = {name: folder / name for name in SETS if (folder / name).is_dir()}
    if "mnist" not in found:
        raise UserError(f"--from={folder} has no directory mnist.")
    if "cifar100" in found:
        return found, []
    prepared = search.find_prepared("cifar100", "")
    if prepared is None:
        raise UserError(f"--from={folder} has no directory cifar100, and it is not prepared.")
    decoded = sources.read_prepared("cifar100", prepared, cache_dir="", say=_say)
    write_archive(decoded, scratch / "cifar100")
    return found | {"cifar100": scratch / "cifar100"}, ["cifar100"]


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main(arguments: Sequence[str] | None = None, *, prepare: Prepare = run_command) -> int:
    """Prepares both sets a few times and prints a JSON line for each; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        default=os.environ.get("ROUTING_JAX_ORIGINALS_DIR"),
        help="directory of the original files (default: $ROUTING_JAX_ORIGINALS_DIR)",
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    if options.source is None:
        parser.error("--from is missing: the directory of the original files")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            originals, restored = find_originals(Path(options.source), Path(scratch))
        except UserError as error:
            parser.error(str(error))
        times = times_of(originals, rounds=options.rounds, prepare=prepare)
    for name, milliseconds in times.items():
        settings = {"rounds": options.rounds, "archive_written_back": name in restored}
        print_line("prepare_data", name, settings, {"milliseconds": spread(milliseconds)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
