"""Files that somebody else made: bounded memory, no code, ValueError at worst."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimicam.engine.checked_files import integer, one_line, parse_json, read_arrays, read_json
from mimicam.engine.network_spec import TensorSpec

POINTS = TensorSpec(name="points", shape=(4, 3))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _npz(path: Path, content: bytes, *, name: str = "points.npy", method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)
    return path


def test_arrays_are_those_that_were_written(tmp_path: Path) -> None:
    points = np.arange(12, dtype=np.float32).reshape(4, 3)
    for written in (points, np.asfortranarray(points)):
        np.savez(tmp_path / "a.npz", points=written, other=np.zeros(10**5))
        (read,) = read_arrays(tmp_path / "a.npz", [POINTS]).values()
        assert (read == points).all()
        read[:] = 0


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64", "float16"])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (1, 2, 3, 4)])
def test_every_shape_and_type_is_read(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    np.savez(tmp_path / "a.npz", points=array)
    read = read_arrays(tmp_path / "a.npz", [TensorSpec(name="points", shape=shape, dtype=dtype)])["points"]
    assert (read.shape, read.dtype, (read == 1).all()) == (shape, array.dtype, True)


def _with_shape(shape: str) -> bytes:
    """A header that states a shape, with 48 bytes of data."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    head = b"\x93NUMPY\x01\x00"
    text += " " * (-(len(head) + 2 + len(text) + 1) % 64) + "\n"
    return head + len(text).to_bytes(2, "little") + text.encode() + bytes(48)


@pytest.mark.parametrize(
    "content",
    [
        _npy(np.zeros((4, 4), np.float32)), _npy(np.zeros((4, 3), np.float64)), _npy(np.zeros((4, 3), "f4,i8")),
        _npy(np.array([print] * 12, object).reshape(4, 3)), _npy(np.zeros((4, 3), np.float32))[:-4],
        _with_shape("(1000000000000, 3)"), _with_shape("(-4, 3)"), _with_shape("(" * 5000), _with_shape("(4, 3"),
        b"", b"\x93NUMPY\x09\x00", b"PK", _npy(np.zeros((4, 3), np.float32)).replace(b"<f4", b"<q9"),
    ],
)  # fmt: skip
def test_arrays_of_another_form_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_arrays(_npz(tmp_path / "a.npz", content), [POINTS])


def test_a_compressed_array_is_refused_unread(tmp_path: Path) -> None:
    path = _npz(tmp_path / "a.npz", _npy(np.zeros((4, 3), np.float32)), method=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        read_arrays(path, [POINTS])


def test_a_missing_array_or_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="points"):
        read_arrays(_npz(tmp_path / "a.npz", b"", name="others.npy"), [POINTS])
    (tmp_path / "b.npz").write_bytes(b"PK\3\4")
    with pytest.raises(ValueError, match="zip"):
        read_arrays(tmp_path / "b.npz", [POINTS])


def test_an_archive_that_contradicts_itself_is_refused_in_a_short_line(tmp_path: Path) -> None:
    """`zipfile` quotes the whole name in the entry's own header, here half of the file."""
    path = _npz(tmp_path / "a.npz", _npy(np.zeros((400, 3), np.float32)))
    content = bytearray(path.read_bytes())
    content[26:28] = (3000).to_bytes(2, "little")  # length of that name
    path.write_bytes(content)
    with pytest.raises(ValueError, match="File name in directory") as refused:
        read_arrays(path, [TensorSpec(name="points", shape=(400, 3))])
    assert len(str(refused.value)) < 300


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = _npz(tmp_path / "a.npz", _npy(np.zeros((4, 3), np.float32)))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(ValueError):
        assert read_arrays(path, [POINTS])["points"].shape == (4, 3)


@pytest.mark.parametrize(
    "text", ["", "[]", "1", "{", "[" * 100_000, '{"a":' * 100_000, "NaN", '"a"', "\ud800"]
)
def test_only_json_objects_are_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_a_large_json_file_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"a": "x" * 2_000_000}))
    with pytest.raises(ValueError, match="larger than 1 MiB"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("value", [None, 3, "a\nb", "\x1b[2J", "x" * 256])
def test_names_fit_into_a_line(value: object) -> None:
    with pytest.raises(ValueError, match="at most 255"):
        one_line(value)
    assert one_line("Zoë, 3") == "Zoë, 3"


@pytest.mark.parametrize("value", [None, True, 2.0, "3", 0, 9, 10**400])
def test_numbers_lie_in_their_range(value: object) -> None:
    with pytest.raises(ValueError, match=r"1\.\.8"):
        integer(value, 1, 8)
    assert integer(8, 1, 8) == 8
