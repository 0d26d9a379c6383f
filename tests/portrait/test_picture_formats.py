"""Pictures as phones, browsers and image editors write them."""

import io
import resource
import struct
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mimicam.engine.errors import EngineError
from mimicam.engine.picture_file import decode_picture, read_picture
from mimicam.engine.render import check_names, write_picture
from mimicam.engine.sources.file import is_picture
from mimicam.engine.types import Image
from tests.heif_files import write_heic

UNDO = {1: 0, 3: 2, 6: 1, 8: 3}
"""Quarter turns counter-clockwise that a camera of this EXIF orientation has made of the scene."""


def _picture(width: int = 128, height: int = 64) -> Image:
    """Return a smooth picture of which each corner has another colour."""
    out = np.zeros((height, width, 3), np.uint8)
    out[..., 0] = np.linspace(20, 230, width, dtype=np.uint8)
    out[..., 2] = np.linspace(20, 230, height, dtype=np.uint8)[:, None]
    out[..., 1] = 90
    return out


def _error(a: Image, b: Image) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


def _encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    colours = image[..., [2, 1, 0, 3]] if image.shape[2] == 4 else image[..., ::-1]
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(colours), options)
    assert ok
    return data.tobytes()


def _gif(images: list[Image]) -> bytes:
    memory = io.BytesIO()
    with av.open(memory, "w", format="gif") as out:
        stream = out.add_stream("gif", rate=10)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "rgb8"
        for image in images:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="rgb8")))
        out.mux(stream.encode(None))
    return memory.getvalue()


def _exif(turn: int) -> bytes:
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, turn, 0, 0)


def _png_with_exif(png: bytes, turn: int) -> bytes:
    exif, at = _exif(turn), png.find(b"IDAT") - 4
    chunk = b"eXIf" + exif
    return png[:at] + struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[at:]


def _webp_with_exif(image: np.ndarray, turn: int) -> bytes:
    plain = _encoded(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 101)
    at = plain.find(b"VP8L")
    length = struct.unpack_from("<I", plain, at + 4)[0]
    body = plain[at : at + 8 + length + length % 2]
    flags = 0x08 | (0x10 if image.shape[2] == 4 else 0)
    size = (image.shape[1] - 1).to_bytes(3, "little") + (image.shape[0] - 1).to_bytes(3, "little")
    head = b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + size
    exif = _exif(turn)
    content = b"WEBP" + head + body + b"EXIF" + struct.pack("<I", len(exif)) + exif
    return b"RIFF" + struct.pack("<I", len(content)) + content


@pytest.mark.parametrize("tile", [None, 64], ids=["one image", "grid"])
def test_heic_of_a_phone_is_read(tile: int | None) -> None:
    image = _picture(256, 128)
    assert _error(decode_picture(write_heic(image, tile=tile)), image) < 3


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirror", [None, 0, 1])
def test_heic_is_set_upright(turns: int, mirror: int | None) -> None:
    image = _picture(128, 64)
    want = np.rot90(image, turns)
    if mirror is not None:
        want = want[::-1] if mirror == 0 else want[:, ::-1]
    assert _error(decode_picture(write_heic(image, turns=turns, mirror=mirror)), want) < 3


def test_heic_that_is_larger_than_allowed_is_refused_by_its_header() -> None:
    with pytest.raises(EngineError, match="12000x9000 pixels: give one under 50 megapixels"):
        decode_picture(write_heic(_picture(), claims=(12000, 9000)))


def test_heic_that_hides_its_size_is_refused_while_decoding() -> None:
    data = write_heic(_picture(512, 512), claims=(64, 64))
    with pytest.raises(EngineError, match="is a broken picture"):
        decode_picture(data, max_pixels=100_000)


@pytest.mark.parametrize("alpha", [False, True])
def test_avif_is_read(alpha: bool) -> None:
    image = _picture()
    if not alpha:
        assert _error(decode_picture(_encoded(".avif", image, cv2.IMWRITE_AVIF_QUALITY, 95)), image) < 4
        return
    see_through = np.dstack([image, np.full(image.shape[:2], 128, np.uint8)])
    got = decode_picture(_encoded(".avif", see_through, cv2.IMWRITE_AVIF_QUALITY, 95))
    assert _error(got, np.rint(image * 0.502 + 128 * 0.498).astype(np.uint8)) < 4


def test_a_gifs_first_picture_is_read() -> None:
    first, second = np.full((64, 96, 3), (224, 32, 64), np.uint8), np.full((64, 96, 3), 255, np.uint8)
    assert _error(decode_picture(_gif([first, second])), first) < 20


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_tiff_is_read(depth: type) -> None:
    image = _picture()
    stored = image if depth is np.uint8 else image.astype(np.uint16) * 257
    assert _error(decode_picture(_encoded(".tiff", stored)), image) <= 1


@pytest.mark.parametrize("turn", UNDO)
def test_a_tiffs_orientation_is_applied(turn: int) -> None:
    image = _picture()
    data = bytearray(_encoded(".tiff", np.rot90(image, UNDO[turn])))
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    entries = {
        struct.unpack_from("<H", data, at)[0]: at for at in range(start + 2, start + 2 + 12 * count, 12)
    }
    # The planar configuration that OpenCV states is the default, so its place is free.
    struct.pack_into("<HHII", data, entries[284], 274, 3, 1, turn)
    assert _error(decode_picture(bytes(data)), image) <= 1


@pytest.mark.parametrize("turn", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "cut out"])
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_exif_orientation_is_applied_with_and_without_alpha(kind: str, alpha: bool, turn: int) -> None:
    upright = _picture()
    mirrored = upright[:, ::-1] if turn in (2, 4, 5, 7) else upright
    stored = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}[turn]
    image = np.ascontiguousarray(np.rot90(upright, stored) if turn in UNDO else np.rot90(mirrored, stored))
    if alpha:
        image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    data = _png_with_exif(_encoded(".png", image), turn) if kind == "png" else _webp_with_exif(image, turn)
    assert _error(decode_picture(data), upright) <= 2


@pytest.mark.parametrize(
    "name", ["a.jfif", "a.jpe", "a.JPG", "a.avif", "a.heic", "a.HEIF", "a.tif", "photo [1]: me.jpg", "-x.png"]
)
def test_names_of_pictures_are_known_and_taken_literally(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(_encoded(".png", _picture()))
    assert is_picture(path)
    assert _error(read_picture(path), _picture()) == 0
    check_names(path, tmp_path / "out.jfif")


def test_a_format_that_is_not_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"is a picture, so OUT must be one too: end it in \.png, \.jpg"):
        check_names(tmp_path / "a.png", tmp_path / "out.heic")


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.JPG", "a.png"])
def test_pictures_are_written_under_every_name_of_their_format(name: str, tmp_path: Path) -> None:
    write_picture(tmp_path / name, _picture())
    assert _error(read_picture(tmp_path / name), _picture()) < 3


@pytest.mark.parametrize(
    "make", [lambda: write_heic(_picture(256, 128), tile=64), lambda: _gif([_picture()])]
)
def test_a_cut_off_file_is_one_line(make: object) -> None:
    data = make()  # type: ignore[operator]
    for share in (0.05, 0.3, 0.6):
        with pytest.raises(EngineError, match="cut off") as caught:
            decode_picture(data[: int(len(data) * share)])
        assert "\n" not in str(caught.value)


def test_a_large_picture_of_16_bits_takes_little_more_than_its_pixels() -> None:
    rgba = np.zeros((3000, 3000, 4), np.uint16)
    data = _encoded(".png", rgba)
    del rgba
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    decode_picture(data)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) * 1024
    assert grown < 3000 * 3000 * 8 * 2.5, "measured 1.4 to 2.2 times the 72 MB of the decoded picture"
