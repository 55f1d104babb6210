"""Reads CIFAR's Python pickles without executing anything from them.

A pickle may name any importable function and call it. Of the names in a file only those are taken
that arrays of bytes need, and none of them is looked up: each stands for a class below, which can
do nothing but hold the bytes of an array. Any other name ends the reading.
"""

import io
import pickle
from typing import Any

import numpy as np


def load(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle; its byte strings become text, its arrays uint8 arrays.

    Raises:
        pickle.UnpicklingError: It is damaged, or holds something other than built-in values and
            arrays of bytes.
    """
    try:
        # Pickles of Python 2, like these, keep text and the contents of arrays as byte strings.
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything, as pickle's manual says
        raise pickle.UnpicklingError(str(error)) from error
    if not isinstance(found, dict):
        raise pickle.UnpicklingError(f"it holds a {type(found).__name__}, not a dictionary")
    return {_plain(key): _plain(value) for key, value in found.items()}


class _Array:
    """Stands for numpy.ndarray and for the function that makes an empty one."""

    def __init__(self, *arguments: object) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, in_fortran_order, content = state
        if not isinstance(dtype, _Dtype) or dtype.code not in ("u1", b"u1", "|u1", b"|u1"):
            raise ValueError("an array is not of bytes")
        order = "F" if in_fortran_order else "C"
        self.value = np.frombuffer(content, np.uint8).reshape(shape, order=order)


class _Dtype:
    """Stands for numpy.dtype."""

    def __init__(self, code: str | bytes, *arguments: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and the like mean nothing for bytes."""


class _Encoded(bytes):
    """Stands for the function by which Python 3 writes bytes in the old protocols."""

    def __new__(cls, text: str, encoding: str = "latin1") -> "_Encoded":
        return super().__new__(cls, text, "latin1")

    def __setstate__(self, state: object) -> None:
        """There is none."""


_STAND_INS = {
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encoded,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no image set needs")
        return _STAND_INS[module, name]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, _Array) else value
