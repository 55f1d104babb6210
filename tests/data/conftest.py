"""Labelled images made up for a test, tiny prepared TFDS sets, original files, and a web server."""

import gzip
import hashlib
import io
import json
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from routing_jax.config import base_config
from routing_jax.data import preparation
from routing_jax.data.builders import mnist
from routing_jax.data.labelled_images import LabelledImages
from routing_jax.data.versions import VERSIONS


@pytest.fixture
def labelled() -> Callable[..., LabelledImages]:
    """Makes an image set; image number i has the value i in its only pixel."""

    def make(
        labels: Sequence[int], groups: Sequence[int] | None = None, *, classes: int | None = None
    ) -> LabelledImages:
        labels = np.asarray(labels, np.int32)
        names = range(classes or int(labels.max()) + 1)
        pixels = np.arange(labels.size).astype(np.uint8)
        images = LabelledImages(
            "made_up", pixels[:, None, None, None], labels, tuple(f"class {i}" for i in names)
        )
        if groups is None:
            return images
        table = np.full(len(images.class_names), -1, np.int32)
        table[labels] = groups
        names = tuple(f"group {i}" for i in range(max(groups) + 1))
        return replace(images, superclass_of_class=table, superclass_names=names)

    return make


@pytest.fixture(scope="session")
def real_cache_dir(tmp_path_factory) -> Path:
    """Where tests of real data keep what they decoded, so that it is done once."""
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture
def data_config(tmp_path) -> Callable[..., object]:
    """Makes the data part of a configuration that looks for data and caches in tmp_path."""

    def make(**values: object) -> object:
        (tmp_path / "tfds").mkdir(exist_ok=True)
        config = base_config().data
        config.dir, config.cache_dir = str(tmp_path / "tfds"), str(tmp_path / "cache")
        config.update(values)
        return config

    return make


Split = tuple[np.ndarray, dict[str, np.ndarray]]
"""Images, and the labels of each label feature."""


@pytest.fixture
def prepare_tfds() -> Callable[..., Path]:
    """Writes a prepared TFDS set, and returns its version directory."""
    return _prepare_tfds


def _prepare_tfds(
    data_dir: Path,
    set_name: str,
    splits: dict[str, Split],
    *,
    label_names: dict[str, Sequence[str]] | None = None,
    version: str | None = None,
) -> Path:
    """Writes the splits; a label without names is a number, as in MNIST."""
    import tensorflow_datasets as tfds

    images, columns = splits["train"]
    features = {"image": tfds.features.Image(shape=images.shape[1:])}
    for column, labels in columns.items():
        if label_names:
            features[column] = tfds.features.ClassLabel(names=label_names[column])
        else:
            features[column] = tfds.features.ClassLabel(num_classes=int(labels.max()) + 1)

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = set_name
        VERSION = tfds.core.Version(version or VERSIONS[set_name])

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                description="made up",
                features=tfds.features.FeaturesDict(features),
            )

        def _split_generators(self, _):
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split):
            images, columns = splits[split]
            for row, image in enumerate(images):
                labels = {column: int(values[row]) for column, values in columns.items()}
                yield row, {"image": _png(image), **labels}

    tfds.disable_progress_bar()
    builder = Builder(data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def _png(image: np.ndarray) -> io.BytesIO:
    out = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(out, "png")
    out.seek(0)
    return out


def _idx(array: np.ndarray) -> bytes:
    """A uint8 array in the format of MNIST's files, compressed."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes(), 1)


@dataclass(frozen=True)
class SmallMnist:
    """The original files of a MNIST of 30 + 20 images, and what is in them."""

    folder: Path
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]

    @property
    def files(self) -> list[Path]:
        return [self.folder / name for names in mnist.FILES.values() for name in names]

    def write(self, split: str, *, images: np.ndarray | None = None, labels=None) -> None:
        """Writes the files of a split; with other contents than ours where they are given."""
        contents = (images, self.images[split]), (labels, self.labels[split])
        for name, (other, own) in zip(mnist.FILES[split], contents, strict=True):
            (self.folder / name).write_bytes(_idx(own if other is None else other))


@pytest.fixture
def small_mnist(tmp_path, monkeypatch) -> SmallMnist:
    """Original files, in whose place and number preparation takes them for the published MNIST."""
    rng = np.random.default_rng(0)
    counts = {"train": (3,) * 10, "test": (2,) * 10}
    small = SmallMnist(
        tmp_path / "originals",
        {split: rng.integers(0, 256, (sum(n), 28, 28), np.uint8) for split, n in counts.items()},
        {split: rng.permutation(np.repeat(np.arange(10), n)) for split, n in counts.items()},
    )
    small.folder.mkdir()
    for split in counts:
        small.write(split)
    downloads = tuple(
        replace(
            file,
            size=(small.folder / file.name).stat().st_size,
            checksum=hashlib.sha256((small.folder / file.name).read_bytes()).hexdigest(),
        )
        for file in mnist.MNIST.downloads
    )
    read = partial(mnist.read, class_counts=counts)
    original = replace(mnist.MNIST, read=read, downloads=downloads)
    monkeypatch.setitem(preparation.SETS, "mnist", original)
    monkeypatch.setattr(preparation, "MNIST", original)
    return small


@pytest.fixture
def prepare(tmp_path) -> Callable[..., Path]:
    """Prepares a set in tmp_path/prepared and returns its directory."""

    def run(name: str, source: Path | None = None, *, said: list[str] | None = None) -> Path:
        return preparation.prepare(
            name,
            source=source,
            data_dir=tmp_path / "prepared",
            say=(said if said is not None else []).append,
            report=lambda *_, **__: None,
        )

    return run


@dataclass
class FileServer:
    """A web server on this machine; requests are (method, path, Range header)."""

    address: str
    requests: list[tuple[str, str, str | None]]
    files: dict[str, bytes]
    ranges: bool = True
    """Whether it understands ranges."""
    faults: list[int | str] = field(default_factory=list)
    """What the next GET requests meet: a status; "cut", half of the answer; "hang", no answer."""


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _answer(self) -> None:
        here: FileServer = self.server.here
        wanted = self.headers.get("Range")
        here.requests.append((self.command, self.path, wanted))
        fault = here.faults.pop(0) if here.faults and self.command == "GET" else None
        content = here.files.get(self.path)
        if isinstance(fault, int) or content is None:
            self.send_error(fault or 404)
            return
        if fault == "hang":
            self.server.closing.wait(10)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and here.ranges else 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        if self.command == "GET":
            self.wfile.write(rest[: len(rest) // 2] if fault == "cut" else rest)


@pytest.fixture
def server(monkeypatch) -> Iterator[FileServer]:
    """The mirror from which downloads come in this test."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as listening:
        address = f"http://127.0.0.1:{listening.server_address[1]}"
        listening.here = FileServer(address, [], {})
        listening.closing = threading.Event()
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("ROUTING_JAX_MIRROR", address)
        yield listening.here
        listening.closing.set()
        listening.shutdown()
        thread.join()


@pytest.fixture
def same_sets() -> Callable[[Path, Path], None]:
    """Compares two prepared sets: features, names, and all examples in their order."""
    return _assert_same_sets


def _assert_same_sets(ours: Path, theirs: Path) -> None:
    import tensorflow_datasets as tfds

    for path in [theirs / "features.json", *theirs.glob("*.labels.txt")]:
        assert (ours / path.name).read_bytes() == path.read_bytes()
    found, expected = (
        json.loads((folder / "dataset_info.json").read_text()) for folder in (ours, theirs)
    )
    # Another PNG encoder, and the class that wrote it.
    for info in (found, expected):
        del info["moduleName"]
        for split in info["splits"]:
            del split["numBytes"]
    assert found == expected
    sources = tfds.data_source(ours.parent.name, data_dir=ours.parents[1], download=False)
    others = tfds.builder_from_directory(theirs).as_data_source()
    assert sources.keys() == others.keys()
    for split, source in sources.items():
        for start in range(0, len(source), 1000):
            rows = range(start, min(start + 1000, len(source)))
            one, other = (_columns(reader.__getitems__(rows)) for reader in (source, others[split]))
            assert one.keys() == other.keys()
            for name, column in one.items():
                np.testing.assert_array_equal(column, other[name], strict=True)


def _columns(examples: list[dict[str, object]]) -> dict[str, np.ndarray]:
    return {name: np.array([example[name] for example in examples]) for name in examples[0]}
