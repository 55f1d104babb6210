"""USPS from both of its forms: what is checked, and that the reader takes it."""

import bz2
import gzip
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from routing_jax.data import preparation, sources
from routing_jax.data.builders import usps
from routing_jax.errors import UserError

COUNTS = {"train": (2,) * 10, "test": (1,) * 10}


def split(seed, counts):
    """Digits and integer grey levels 0 to 2000, which the files write as -1 to 1."""
    rng = np.random.default_rng(seed)
    digits = rng.permutation(np.repeat(np.arange(10), counts))
    levels = rng.integers(0, 2001, (digits.size, 256))
    # Not in the middle between two of 256 grey levels, where binary fractions decide.
    return digits, levels - (levels * 51 % 400 == 200)


SPLITS = {name: split(seed, counts) for seed, (name, counts) in enumerate(COUNTS.items())}


def text_file(digits, levels) -> bytes:
    rows = zip(digits, levels / 1000 - 1, strict=True)
    lines = [f"{digit:.4f} " + " ".join(f"{value:.4f}" for value in row) for digit, row in rows]
    return gzip.compress(" \n".join(lines).encode() + b" \n")


def libsvm_file(digits, levels) -> bytes:
    lines = []
    for digit, row in zip(digits, levels / 1000 - 1, strict=True):
        pairs = [f"{place}:{value:.3f}" for place, value in enumerate(row, start=1) if value]
        lines.append(f"{digit + 1} " + " ".join(pairs))
    return bz2.compress("\n".join(lines).encode() + b"\n")


FORMS = {"text": (usps.TEXT, text_file), "libsvm": (usps.LIBSVM, libsvm_file)}


@pytest.fixture
def originals(tmp_path, monkeypatch):
    """An empty directory for the files of a small USPS."""
    small = replace(usps.USPS, read=partial(usps.read, class_counts=COUNTS))
    monkeypatch.setitem(preparation.SETS, "usps", small)
    folder = tmp_path / "originals"
    folder.mkdir()
    return folder


def write(folder, form):
    names, encode = FORMS[form]
    for name, (digits, levels) in SPLITS.items():
        (folder / names[name]).write_bytes(encode(digits, levels))


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_become_the_same_images(originals, prepare, tmp_path, form):
    write(originals, form)
    folder = prepare("usps", originals)
    assert folder.parts[-2:] == ("usps", "1.0.0")
    found = sources.read_prepared("usps", folder, cache_dir=str(tmp_path), say=lambda text: None)
    for name, (digits, levels) in SPLITS.items():
        images = found[name].images
        assert images.shape == (digits.size, 16, 16, 1)
        expected = np.rint(levels * (255 / 2000)).astype(np.uint8)
        pairs = zip(images, found[name].labels, strict=True)
        assert sorted((image.tobytes(), int(label)) for image, label in pairs) == sorted(
            (row.tobytes(), int(digit)) for row, digit in zip(expected, digits, strict=True)
        )
        assert found[name].class_names == tuple("0123456789")


@pytest.mark.parametrize(
    ("form", "harm"),
    [
        *((form, harm) for form in FORMS for harm in ("cut", "no archive", "a word")),
        ("text", "a line cut"),  # of the other form, levels that are left out are zeros
    ],
)
def test_a_damaged_file_is_named(originals, prepare, form, harm):
    write(originals, form)
    names, encode = FORMS[form]
    path = originals / names["train"]
    content = path.read_bytes()
    pack = gzip if form == "text" else bz2
    lines = pack.decompress(content)
    path.write_bytes(
        {
            "cut": content[:-20],
            "no archive": b"<html>",
            "a line cut": pack.compress(lines[: len(lines) - 300]),
            "a word": pack.compress(lines.replace(b"1", b"one", 1)),
        }[harm]
    )
    with pytest.raises(UserError) as caught:
        prepare("usps", originals)
    assert str(caught.value).startswith(f"{path} cannot be read (")


def test_another_set_is_told(originals, prepare):
    write(originals, "text")
    digits, levels = SPLITS["train"]
    path = originals / usps.TEXT["train"]
    path.write_bytes(text_file(digits[:-1], levels[:-1]))
    with pytest.raises(UserError, match=f"has 1 examples of class {digits[-1]} where the publ"):
        prepare("usps", originals)
    path.write_bytes(text_file(digits, levels * 2))
    with pytest.raises(UserError, match=r"has grey levels outside of \[-1, 1\]"):
        prepare("usps", originals)


@pytest.mark.real_data("usps")
def test_the_published_counts_are_those_of_the_real_set(real_data_dir, real_cache_dir):
    found = sources.read_prepared(
        "usps",
        real_data_dir / "usps" / "1.0.0",
        cache_dir=str(real_cache_dir / "cache"),
        say=lambda text: None,
    )
    for name, counts in usps.USPS.read.keywords["class_counts"].items():
        np.testing.assert_array_equal(np.bincount(found[name].labels), counts)
