"""CIFAR-100 from all the forms in which it is passed on, and pickles that try to do things."""

import io
import pickle
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from routing_jax.data import preparation
from routing_jax.data.builders import cifar, cifar_pickle
from routing_jax.errors import UserError

CLASSES, SUPERCLASSES = 6, 3
PER_CLASS = {"train": 2, "test": 1}
NAMES = {
    "fine": ["apple", "bee", "cup", "dog", "elm", "fox"],
    "coarse": ["food", "animals", "others"],
}
COARSE_OF = np.array([0, 1, 2, 1, 2, 0])


def arrays(seed=0):
    """For each split: pixels as stored, fine and coarse labels."""
    rng = np.random.default_rng(seed)
    for split, count in PER_CLASS.items():
        fine = rng.permutation(np.repeat(np.arange(CLASSES), count))
        yield split, rng.integers(0, 256, (fine.size, 3072), np.uint8), fine, COARSE_OF[fine]


def python_files() -> dict[str, bytes]:
    files = {}
    for split, pixels, fine, coarse in arrays():
        files[split] = pickle.dumps(
            {
                "data": pixels,
                "fine_labels": fine.tolist(),
                "coarse_labels": coarse.tolist(),
                "batch_label": f"{split}ing batch 1 of 1",
                "filenames": [f"picture_{row}.png" for row in range(fine.size)],
            },
            protocol=2,
        )
    files["meta"] = pickle.dumps(
        {f"{level}_label_names": names for level, names in NAMES.items()}, protocol=2
    )
    return files


def binary_files() -> dict[str, bytes]:
    files = {
        f"{level}_label_names.txt": ("\n".join(names) + "\n").encode()
        for level, names in NAMES.items()
    }
    for split, pixels, fine, coarse in arrays():
        rows = np.concatenate([coarse[:, None], fine[:, None], pixels], axis=1)
        files[f"{split}.bin"] = rows.astype(np.uint8).tobytes()
    return files


FILES = {cifar.BINARY: binary_files, cifar.PYTHON: python_files}


def write(folder: Path, kind: str, form: str, files: dict[str, bytes]) -> Path:
    """Writes the files of an archive, and returns what an error names."""
    if form == "archive":
        path = folder / f"{kind}.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(f"{kind}/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path
    place = folder / kind if form == "folder" else folder
    place.mkdir(exist_ok=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    return place


@pytest.fixture
def originals(tmp_path, monkeypatch):
    """An empty directory for the files of a CIFAR-100 of six classes."""
    read = partial(cifar.read, classes=CLASSES, superclasses=SUPERCLASSES, per_class=PER_CLASS)
    monkeypatch.setitem(preparation.SETS, "cifar100", replace(cifar.CIFAR100, read=read))
    folder = tmp_path / "originals"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("form", ["archive", "folder", "files"])
def test_every_form_becomes_the_same_set(originals, prepare, tmp_path, kind, form):
    import tensorflow_datasets as tfds

    write(originals, kind, form, FILES[kind]())
    folder = prepare("cifar100", originals)
    assert folder.parts[-2:] == ("cifar100", "3.0.2")
    sources = tfds.data_source("cifar100", data_dir=tmp_path / "prepared", download=False)
    for split, pixels, fine, coarse in arrays():
        found = sources[split].__getitems__(range(len(sources[split])))
        assert sorted(example["id"] for example in found) == [
            f"{split}_{row:05d}".encode() for row in range(fine.size)
        ]
        for example in found:
            row = int(example["id"][-5:])
            image = pixels[row].reshape(3, 32, 32).transpose(1, 2, 0)
            np.testing.assert_array_equal(example["image"], image)
            assert (example["label"], example["coarse_label"]) == (fine[row], coarse[row])
    features = tfds.builder_from_directory(folder).info.features
    assert features["label"].names == NAMES["fine"]
    assert features["coarse_label"].names == NAMES["coarse"]


def refused(prepare, originals, message):
    with pytest.raises(UserError) as caught:
        prepare("cifar100", originals)
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", FILES)
def test_a_cut_archive_is_named(originals, prepare, kind):
    path = write(originals, kind, "archive", FILES[kind]())
    path.write_bytes(path.read_bytes()[:5000])
    refused(prepare, originals, f"{path} cannot be read (")


@pytest.mark.parametrize("kind", FILES)
def test_an_archive_without_a_file_is_named(originals, prepare, kind):
    files = FILES[kind]()
    del files[cifar.LAYOUTS[kind][1]]
    path = write(originals, kind, "archive", files)
    refused(prepare, originals, f"{path} cannot be read (KeyError: ")


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("file", range(3))
def test_a_cut_file_is_named(originals, prepare, kind, file):
    place = write(originals, kind, "folder", FILES[kind]())
    path = place / cifar.LAYOUTS[kind][file]
    path.write_bytes(path.read_bytes()[:-7])
    refused(prepare, originals, f"{place} ")


def test_missing_images_are_told(originals, prepare):
    files = binary_files()
    files["train.bin"] = files["train.bin"][3074:]
    place = write(originals, cifar.BINARY, "folder", files)
    refused(prepare, originals, f"{place} has 1 examples of class ")


def test_a_class_of_two_superclasses_is_told(originals, prepare):
    files = binary_files()
    rows = np.frombuffer(files["train.bin"], np.uint8).reshape(-1, 3074).copy()
    one, other = (np.flatnonzero(rows[:, 0] == group)[0] for group in (0, 1))
    rows[[one, other], 0] = rows[[other, one], 0]
    files["train.bin"] = rows.tobytes()
    place = write(originals, cifar.BINARY, "folder", files)
    refused(prepare, originals, f"{place} has classes that belong to several superclasses")


def test_too_few_names_are_told(originals, prepare):
    files = binary_files() | {"fine_label_names.txt": b"apple\nbee\n"}
    place = write(originals, cifar.BINARY, "folder", files)
    refused(prepare, originals, f"{place} names 2 classes, not 6")


# Pickles.


class Evil:
    """Creates a file when a pickle of it is loaded the ordinary way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("file", cifar.LAYOUTS[cifar.PYTHON])
def test_a_malicious_pickle_does_nothing(originals, prepare, tmp_path, protocol, file):
    victim = tmp_path / "victim"
    files = python_files() | {file: pickle.dumps({"data": Evil(victim)}, protocol)}
    place = write(originals, cifar.PYTHON, "folder", files)
    refused(prepare, originals, f"{place} cannot be read (UnpicklingError: it asks for ")
    assert not victim.exists()
    pickle.loads(files[file])  # it is a real attack
    assert victim.exists()


@pytest.mark.parametrize(
    "attack",
    [
        b"cos\nsystem\n(S'touch %s'\ntR.",
        b'c__builtin__\neval\n(S\'open("%s", "w")\'\ntR.',
        b'cbuiltins\nexec\n(S\'open("%s", "w")\'\ntR.',
        b"cnumpy\nload\n(S'%s'\ntR.",
        b"cnumpy\ndtype.__class__.__base__\n.",
    ],
)
def test_no_name_but_those_of_arrays_is_looked_up(tmp_path, attack):
    victim = tmp_path / "victim"
    content = attack % str(victim).encode() if b"%s" in attack else attack
    with pytest.raises(pickle.UnpicklingError, match="^it asks for .*, which no image set needs$"):
        cifar_pickle.load(content)
    assert not victim.exists()


def python2_bytes(value: bytes) -> bytes:
    return b"T" + len(value).to_bytes(4, "little") + value


def python2_array(array: np.ndarray, code: bytes = b"u1") -> bytes:
    """A uint8 array in the words of Python 2's pickle: byte strings, and the old module's name."""
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + python2_bytes(b"b")
    shape = b"(" + b"".join(b"I%d\n" % side for side in array.shape) + b"t"
    dtype = b"cnumpy\ndtype\n(" + python2_bytes(code) + b"I0\nI1\ntR"
    dtype += b"(I3\n" + python2_bytes(b"|") + b"NNNI-1\nI-1\nI0\ntb"
    return head + b"tR(I1\n" + shape + dtype + b"I00\n" + python2_bytes(array.tobytes()) + b"tb"


def test_a_pickle_of_python_2_is_read():
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = b"\x80\x02}(" + python2_bytes(b"data") + python2_array(array)
    content += python2_bytes(b"fine_labels") + b"](I3\nI4\ne"
    content += python2_bytes(b"names") + b"](" + python2_bytes(b"apple") + b"eu."
    assert set(pickle.loads(content, encoding="bytes")) == {b"data", b"fine_labels", b"names"}
    found = cifar_pickle.load(content)
    np.testing.assert_array_equal(found["data"], array)
    assert found["data"].dtype == np.uint8
    assert (found["fine_labels"], found["names"]) == ([3, 4], ["apple"])


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_comes_back_as_it_was(protocol, order):
    array = np.asarray(np.arange(12, dtype=np.uint8).reshape(3, 4), order=order)
    found = cifar_pickle.load(pickle.dumps({"data": array}, protocol))
    np.testing.assert_array_equal(found["data"], array)


@pytest.mark.parametrize("array", [np.zeros(2), np.array([None]), np.zeros(2, "u2")])
def test_an_array_of_something_else_is_refused(array):
    with pytest.raises(pickle.UnpicklingError, match="an array is not of bytes"):
        cifar_pickle.load(pickle.dumps({"data": array}, 2))


def test_a_pickle_of_something_else_is_refused():
    with pytest.raises(pickle.UnpicklingError, match="it holds a list, not a dictionary"):
        cifar_pickle.load(pickle.dumps([1], 2))


def test_a_cut_pickle_is_refused_wherever_it_is_cut():
    content = python_files()["test"]
    for size in range(0, len(content), 97):
        with pytest.raises(pickle.UnpicklingError):
            cifar_pickle.load(content[:size])


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("meta", {"fine_label_names": 3}),
        ("meta", {"coarse_label_names": None}),
        ("train", {"fine_labels": [1000] * 12}),
        ("train", {"coarse_labels": ["food"] * 12}),
        ("train", {"data": None}),
        ("test", {"data": [1, 2, 3]}),
        ("test", {"fine_labels": 7}),
    ],
)
def test_a_pickle_of_other_things_is_named(originals, prepare, file, change):
    files = python_files()
    files[file] = pickle.dumps(pickle.loads(files[file]) | change, 2)
    place = write(originals, cifar.PYTHON, "folder", files)
    refused(prepare, originals, f"{place} cannot be read (")


# The real set, as its authors' Python archive would hold it.


@pytest.mark.slow
@pytest.mark.real_data("cifar100")
def test_the_real_cifar100_is_the_stock_one(real_data_dir, tmp_path, prepare, same_sets):
    import tensorflow_datasets as tfds

    stock = real_data_dir / "cifar100" / "3.0.2"
    builder = tfds.builder_from_directory(stock)
    files = {}
    for split in cifar.SPLITS:
        source = builder.as_data_source(split=split)
        rows = sorted(source.__getitems__(range(len(source))), key=lambda example: example["id"])
        files[split] = pickle.dumps(
            {
                "data": np.stack([row["image"].transpose(2, 0, 1).ravel() for row in rows]),
                "fine_labels": [int(row["label"]) for row in rows],
                "coarse_labels": [int(row["coarse_label"]) for row in rows],
            },
            2,
        )
    names = {"fine_label_names": "label", "coarse_label_names": "coarse_label"}
    meta = {name: builder.info.features[feature].names for name, feature in names.items()}
    files["meta"] = pickle.dumps(meta, 2)
    write(tmp_path, cifar.PYTHON, "folder", files)
    same_sets(prepare("cifar100", tmp_path), stock)
