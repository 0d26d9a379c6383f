"""Read JSON and arrays from files that somebody else may have made.

Whatever such a file holds, reading it takes bounded memory, runs no code, and raises ValueError at
worst.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mimicam.engine.network_spec import TensorSpec

_MAX_JSON = 1 << 20
"""Bytes. The largest that is written, an export's manifest, has 20 kB."""
_MAX_NAME = 255
ZIP_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    struct.error,
)
"""Errors that reading a damaged ``.npz`` raises, beside ValueError."""
_QUOTED = 200
"""Characters of another library's error that are kept."""
_HEADER = re.compile(
    rb"\{'descr': '([<|][a-z]\d{1,2})', 'fortran_order': (True|False), 'shape': \(((?:\d{1,9},? ?){0,8})\), \}\s*"
)
"""Header of an array as NumPy writes it (NEP 1)."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large or no JSON object.
    """
    if path.stat().st_size > _MAX_JSON:
        raise ValueError(f"{path.name} is larger than {_MAX_JSON >> 20} MiB")
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: it is none.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    return values


def one_line(value: object) -> str:
    """Return a text that fits into a line of a report.

    Raises:
        ValueError: it is no text, too long, or has control characters.
    """
    if not isinstance(value, str) or len(value) > _MAX_NAME or not value.isprintable():
        raise ValueError(f"a name must be a line of at most {_MAX_NAME} characters")
    return value


def integer(value: object, low: int, high: int) -> int:
    """Return a whole number within a range.

    Raises:
        ValueError: it is none, or lies outside.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"a number must lie in {low}..{high}, got {str(value)[:32]}")
    return value


def read_arrays(path: Path, tensors: Iterable[TensorSpec]) -> dict[str, npt.NDArray[Any]]:
    """Read the named arrays of an ``.npz`` that `numpy.savez` wrote. Others in it are not read.

    Sizes are compared with the specs before anything is read.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or an array is missing or differs from its spec.
    """
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(file)
            return {tensor.name: _array(archive, tensor) for tensor in tensors}
        except ZIP_ERRORS as error:  # an OSError for offsets outside of the file
            raise ValueError(f"{path.name}: {brief(error)}") from error


def brief(error: Exception) -> str:
    """Return the first line of an error of another library, cut: some quote what they read, which
    may be a whole file."""
    return str(error).splitlines()[0][:_QUOTED] if str(error) else type(error).__name__


def _array(archive: zipfile.ZipFile, tensor: TensorSpec) -> npt.NDArray[Any]:
    member = archive.getinfo(f"{tensor.name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:  # savez compresses nothing; a bomb would be compressed
        raise ValueError(f"'{tensor.name}' is compressed")
    with archive.open(member) as file:
        header = _header(file)
        wanted = (np.dtype(tensor.dtype).str, tensor.shape)
        if header[:2] != wanted:
            raise ValueError(f"'{tensor.name}' has another shape or type")
        # A copy, since bytes cannot be written to.
        content = file.read(math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize)
        if file.read(1):
            raise ValueError(f"'{tensor.name}' has more values than its shape")
        flat = np.frombuffer(content, tensor.dtype).copy()
    if header[2]:
        return flat.reshape(tensor.shape[::-1]).T
    return flat.reshape(tensor.shape)


def _header(file: IO[bytes]) -> tuple[str, tuple[int, ...], bool]:
    """Read type, shape, and whether the array is stored by columns.

    NumPy's own reader evaluates the header as Python, which fails in many ways.
    """
    if file.read(8) != b"\x93NUMPY\x01\x00":
        raise ValueError("it is no array")
    text = file.read(int.from_bytes(file.read(2), "little"))
    found = _HEADER.fullmatch(text)
    if found is None:
        raise ValueError("the header of an array is damaged")
    descr, by_columns, sides = (group.decode() for group in found.groups())
    shape = tuple(int(side) for side in sides.split(",") if side.strip())
    return descr, shape, by_columns == "True"
