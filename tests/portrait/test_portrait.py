"""Enrolling of good and bad pictures, with a fake model and the real tracker."""

import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.commands import main
from mimicam.engine.errors import EngineError
from mimicam.engine.face.geometry import place
from mimicam.engine.models.base import Features, ReadFace
from mimicam.engine.portrait import Portrait, enroll, load_portrait, read_picture, save_portrait
from mimicam.engine.types import Float, Image, MotionCode, WarpFields
from tests.models.fakes import TrackerDriven

ASTRONAUT = ASSETS / "portraits" / "astronaut.jpg"


class FakeModel(TrackerDriven):
    """Model that keeps the mean colour of the crop."""

    name, backend, sha256, size = "fake", "none", "0" * 64, 64

    def __init__(self, sha256: str = "0" * 64) -> None:
        self.sha256 = sha256
        self.encoded = 0

    def feature_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"colour": (3,)}

    def encode(self, crop: Image) -> Features:
        self.encoded += 1
        return Features(arrays={"colour": crop.mean(axis=(0, 1)).astype(np.float32)}, model=self.sha256)

    def generate(self, features: Features, conditioning: object) -> WarpFields:  # noqa: ARG002
        raise AssertionError("enrolling generates nothing")


@pytest.fixture(scope="module")
def astronaut() -> Image:
    return read_picture(ASTRONAUT)


@pytest.fixture(scope="module")
def enrolled() -> Portrait:
    return enroll(ASTRONAUT, model=FakeModel())


def _save(path: Path, image_rgb: Image) -> Path:
    assert cv2.imwrite(str(path), np.ascontiguousarray(image_rgb[..., ::-1]))
    return path


def _canvas(face: Image, side_px: int, canvas: tuple[int, int]) -> Image:
    """Return the picture, ``side_px`` wide, in the middle of grey; ``canvas`` is width, height."""
    small = cv2.resize(face, (side_px, side_px), interpolation=cv2.INTER_AREA)
    out = np.full((canvas[1], canvas[0], 3), 128, np.uint8)
    top, left = (canvas[1] - side_px) // 2, (canvas[0] - side_px) // 2
    out[top : top + side_px, left : left + side_px] = small
    return out


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_usual_formats_are_read(tmp_path: Path, astronaut: Image, suffix: str) -> None:
    image = read_picture(_save(tmp_path / f"a{suffix}", astronaut))
    assert np.abs(image.astype(int) - astronaut).mean() < 4


def test_an_enrolled_picture_is_cropped_around_its_face(enrolled: Portrait) -> None:
    assert enrolled.crop.shape == (64, 64, 3)
    assert enrolled.name == "astronaut"
    middle = enrolled.box.x_px + enrolled.box.size_px / 2, enrolled.box.y_px + enrolled.box.size_px / 2
    assert middle == pytest.approx((225, 115), abs=40), "her face is at 225, 115 in the picture"


def test_a_picture_lying_on_its_side_is_turned_by_its_exif(tmp_path: Path, astronaut: Image) -> None:
    lying = np.ascontiguousarray(np.rot90(astronaut, 1))  # EXIF 6: turn it clockwise to see it upright
    ok, jpeg = cv2.imencode(".jpg", lying[..., ::-1])
    assert ok
    data = jpeg.tobytes()
    tiff = b"MM\x00*" + struct.pack(">IH", 8, 1) + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + b"\0" * 4
    exif = b"Exif\0\0" + tiff
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    upright = read_picture(path)
    assert np.abs(upright.astype(int) - astronaut).mean() < 6


def test_transparent_parts_become_neutral_grey(tmp_path: Path, astronaut: Image) -> None:
    bgra = np.dstack([astronaut[..., ::-1], np.full(astronaut.shape[:2], 255, np.uint8)])
    bgra[:50] = 0
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), bgra)
    image = read_picture(path)
    assert (image[:50] == 128).all()
    assert (image[50:] == astronaut[50:]).all()


def test_grey_and_16_bit_pictures_become_rgb(tmp_path: Path, astronaut: Image) -> None:
    grey = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    cv2.imwrite(str(tmp_path / "b.png"), grey.astype(np.uint16) * 257)
    for name in ("a.png", "b.png"):
        image = read_picture(tmp_path / name)
        assert image.dtype == np.uint8
        assert image.shape == astronaut.shape
        assert np.abs(image[..., 0].astype(int) - grey).max() <= 1


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"nowhere\.png"):
        enroll(tmp_path / "nowhere.png", model=FakeModel())


def test_an_empty_picture_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(EngineError, match="is empty"):
        enroll(tmp_path / "a.png", model=FakeModel())


def test_text_with_a_pictures_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture at all " * 50)
    with pytest.raises(EngineError, match="not a picture"):
        enroll(tmp_path / "a.png", model=FakeModel())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_truncated_picture_is_refused(tmp_path: Path, astronaut: Image, suffix: str) -> None:
    whole = _save(tmp_path / f"whole{suffix}", astronaut).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(EngineError, match=r"cut off|not a picture"):
        enroll(path, model=FakeModel())


def test_a_picture_without_a_face_gives_a_remedy(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(90, 160, (300, 300, 3), np.uint8)
    with pytest.raises(EngineError, match="shows no face, or one in profile: give a picture"):
        enroll(_save(tmp_path / "a.png", noise), model=FakeModel())


def test_a_picture_with_several_faces_asks_for_one(tmp_path: Path, astronaut: Image) -> None:
    half = astronaut[0:300, 70:370]
    two = np.hstack([half, np.ascontiguousarray(half[:, ::-1])])
    with pytest.raises(EngineError, match="shows 2 faces"):
        enroll(_save(tmp_path / "a.png", two), model=FakeModel())


def test_a_face_of_20_pixels_is_too_small(tmp_path: Path, astronaut: Image) -> None:
    face = astronaut[60:200, 150:290]  # her face fills most of it
    with pytest.raises(EngineError, match=r"pixels tall|no face"):
        enroll(_save(tmp_path / "a.png", _canvas(face, 24, (160, 160))), model=FakeModel())


def test_a_picture_of_one_pixel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="1x1 pixels"):
        enroll(_save(tmp_path / "a.png", np.zeros((1, 1, 3), np.uint8)), model=FakeModel())


def test_a_huge_picture_is_refused_before_decoding(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0" * (9000 * (12000 // 8 + 1)), 9)  # one bit a pixel: some kilobytes on disk
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12000, 9000, 1, 0, 0, 0, 0))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    with pytest.raises(EngineError, match="12000x9000 pixels: give one under"):
        enroll(path, model=FakeModel())


def test_an_enrolled_folder_loads_without_encoding_again(tmp_path: Path, enrolled: Portrait) -> None:
    model, before = FakeModel(), enrolled
    save_portrait(before, tmp_path / "me")
    after = load_portrait(tmp_path / "me", model=model)
    assert model.encoded == 0
    assert after.name == before.name
    assert (after.crop == before.crop).all()
    assert (after.picture == before.picture).all()
    assert (after.features.arrays["colour"] == before.features.arrays["colour"]).all()
    assert (after.motion.expression == before.motion.expression).all()
    assert after.box == before.box


def test_a_folder_of_other_weights_is_enrolled_again(tmp_path: Path, enrolled: Portrait) -> None:
    save_portrait(enrolled, tmp_path / "me")
    other = FakeModel(sha256="1" * 64)
    assert load_portrait(tmp_path / "me", model=other).features.model == "1" * 64
    assert other.encoded == 1


def test_a_damaged_folder_says_enroll_again(tmp_path: Path, enrolled: Portrait) -> None:
    save_portrait(enrolled, tmp_path / "me")
    (tmp_path / "me" / "portrait.npz").write_bytes(b"PK broken")
    with pytest.raises(EngineError, match="enroll the picture again"):
        load_portrait(tmp_path / "me", model=FakeModel())


def test_a_folder_with_other_things_in_it_is_not_written_over(tmp_path: Path, enrolled: Portrait) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(EngineError, match="choose another folder"):
        save_portrait(enrolled, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_refused_picture_leaves_no_folder_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    assert main(["enroll", str(tmp_path / "a.png"), "-o", str(tmp_path / "me")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


class Calibrated(FakeModel):
    """Model that counts how often it measures a response."""

    def __init__(self) -> None:
        super().__init__()
        self.measured = 0

    def measure_response(self, crop: Image, motion: MotionCode, features: Features, read: ReadFace) -> Float:
        assert read(crop, place(motion.shape, motion.pose) * 32 + 32) is not None, "the crop shows the face"
        assert features.model == self.sha256
        self.measured += 1
        return np.full(52, 1.25, np.float32)


def test_the_response_is_measured_once_and_kept(tmp_path: Path) -> None:
    model = Calibrated()
    portrait = enroll(ASTRONAUT, model=model)
    save_portrait(portrait, tmp_path / "a")
    again = load_portrait(tmp_path / "a", model=model)
    assert model.measured == 1
    for each in (portrait, again):
        assert each.response is not None
        assert (each.response == 1.25).all()


def test_a_folder_of_an_earlier_version_is_measured_when_it_is_loaded(
    tmp_path: Path, enrolled: Portrait
) -> None:
    save_portrait(enrolled, tmp_path / "a")
    assert load_portrait(tmp_path / "a", model=FakeModel()).response is None
    model = Calibrated()
    loaded = load_portrait(tmp_path / "a", model=model)
    assert model.measured == 1
    assert model.encoded == 0
    assert loaded.response is not None


def test_a_response_of_an_earlier_version_is_measured_again(tmp_path: Path, enrolled: Portrait) -> None:
    save_portrait(replace(enrolled, response=np.full(52, 1.1, np.float32)), tmp_path / "a")
    facts = json.loads((tmp_path / "a" / "portrait.json").read_text())
    (tmp_path / "a" / "portrait.json").write_text(json.dumps(facts | {"format": 3}))
    again = load_portrait(tmp_path / "a", model=Calibrated())
    assert again.response is not None
    assert (again.response == 1.25).all()


def test_a_response_out_of_range_is_refused(tmp_path: Path, enrolled: Portrait) -> None:
    save_portrait(replace(enrolled, response=np.full(52, 9, np.float32)), tmp_path / "a")
    with pytest.raises(EngineError, match="its response is outside of its range"):
        load_portrait(tmp_path / "a", model=FakeModel())
