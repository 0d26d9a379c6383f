"""Picture files that are hard to read: sizes, long headers, other formats."""

import struct
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.portrait import MAX_PIXELS, decode_picture, read_picture
from mimicam.engine.types import Image


def _one_line(path: Path) -> str:
    with pytest.raises(EngineError) as caught:
        read_picture(path)
    text = str(caught.value)
    assert "\n" not in text
    assert ": " in text, "it says what to do"
    return text


def _encoded(suffix: str, image: Image) -> bytes:
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]))
    assert ok
    return data.tobytes()


def _ramp(height: int, width: int) -> Image:
    out = np.zeros((height, width, 3), np.uint8)
    out[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
    out[..., 2] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
    return out


def _bmp(width: int, height: int) -> bytes:
    head = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def _jpeg(width: int, height: int, *, profile_bytes: int = 0) -> bytes:
    """Return the start of a JPEG, with a colour profile of this length before its frame header."""
    segments = b""
    while profile_bytes > 0:
        size = min(profile_bytes, 60000)
        segments += b"\xff\xe2" + struct.pack(">H", size + 2) + b"\x11" * size
        profile_bytes -= size
    frame = b"\xff\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x01\x22\x00" * 3
    return b"\xff\xd8" + segments + frame + b"\0" * 200


def _webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


def _tiff(width: int, height: int) -> bytes:
    entries = struct.pack("<HHII", 256, 4, 1, width) + struct.pack("<HHII", 257, 4, 1, height)
    return b"II*\0" + struct.pack("<IH", 8, 2) + entries + b"\0" * 4


BOMBS = {
    "gif": b"GIF89a" + struct.pack("<HH", 12000, 9000) + b"\0" * 20,
    "tiff": _tiff(12000, 9000),
    "bmp": _bmp(12000, 9000),
    "bmp, top down": _bmp(12000, -9000),
    "bmp, far over OpenCV's own limit": _bmp(100_000, 100_000),
    "jpeg": _jpeg(12000, 9000),
    "jpeg behind 300 KB of profiles": _jpeg(12000, 9000, profile_bytes=300_000),
    "webp, extended": _webp(
        b"VP8X", b"\0" * 4 + (11999).to_bytes(3, "little") + (8999).to_bytes(3, "little")
    ),
    "webp, lossless": _webp(b"VP8L", b"\x2f" + struct.pack("<I", 11999 | 8999 << 14) + b"\0" * 20),
    "webp, lossy": _webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 12000, 9000) + b"\0" * 20),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("the bomb was decoded")

    monkeypatch.setattr(cv2, "imdecode", decode)
    path = tmp_path / "bomb.jpg"
    path.write_bytes(BOMBS[name])
    tracemalloc.start()
    text = _one_line(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "pixels" in text
    assert f"{MAX_PIXELS // 1_000_000} megapixels" in text
    assert peak < 10_000_000


@pytest.mark.parametrize("suffix", [".jp2", ".ppm", ".hdr"])
def test_a_format_whose_size_is_not_known_beforehand_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(_encoded(suffix, _ramp(40, 60)))
    assert "JPEG, PNG or WebP" in _one_line(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_cut_off_file_is_refused_without_decoder_output(
    suffix: str, share: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = _encoded(suffix, np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    assert "cut off" in _one_line(path)
    assert capfd.readouterr() == ("", "")


def test_a_picture_behind_long_profiles_is_read(tmp_path: Path) -> None:
    data = _encoded(".jpg", _ramp(90, 120))
    profile = b"\xff\xe2" + struct.pack(">H", 60002) + b"\x11" * 60000
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + 3 * profile + data[2:])
    assert np.abs(read_picture(path).astype(int) - _ramp(90, 120)).mean() < 5


@pytest.mark.parametrize(("height", "width"), [(1, 30000), (30000, 1), (3000, 4000)], ids=str)
def test_a_large_or_narrow_picture_is_reduced_to_2048_a_side(height: int, width: int, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_encoded(".png", _ramp(height, width)))
    image = read_picture(path)
    assert max(image.shape[:2]) == 2048
    assert min(image.shape[:2]) == max(round(min(height, width) * 2048 / max(height, width)), 1)
    assert image.flags.c_contiguous


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    assert "give the path of a picture" in _one_line(tmp_path)


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
@pytest.mark.parametrize("order", ["<", ">"], ids=["Intel", "Motorola"])
def test_every_way_a_camera_was_held_is_set_upright(turn: int, order: str, tmp_path: Path) -> None:
    upright = _ramp(90, 120)
    lying = np.rot90(upright, {1: 0, 3: 2, 6: 1, 8: 3}[turn])
    data = _encoded(".jpg", lying)
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    exif = b"Exif\0\0" + tiff + struct.pack(order + "HHIHH", 0x0112, 3, 1, turn, 0) + b"\0" * 4
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    image = read_picture(path)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 6


def test_half_transparent_is_half_grey(tmp_path: Path) -> None:
    bgra = np.full((8, 8, 4), 255, np.uint8)
    bgra[..., 3] = 128
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), bgra)
    assert np.abs(read_picture(path).astype(int) - round(128 + 127 * 128 / 255)).max() <= 1


def test_alpha_of_16_bits_is_read(tmp_path: Path) -> None:
    bgra = np.full((8, 8, 4), 65535, np.uint16)
    bgra[:4, :, 3] = 0
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), bgra)
    image = read_picture(path)
    assert (image[:4] == 128).all()
    assert (image[4:] == 255).all()


def test_bytes_are_read_like_a_file_and_errors_use_their_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 256, (60, 90, 4), np.uint8))
    assert (decode_picture(path.read_bytes()) == read_picture(path)).all()
    assert decode_picture(path.read_bytes(), max_side=45).shape == (30, 45, 3)
    with pytest.raises(EngineError, match="your upload is 90x60 pixels: give one under 0 megapixels"):
        decode_picture(path.read_bytes(), name="your upload", max_pixels=5000)
    with pytest.raises(EngineError, match="your upload is empty"):
        decode_picture(b"", name="your upload")
