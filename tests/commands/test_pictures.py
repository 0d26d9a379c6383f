"""The pictures of the documentation, as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.motion import read_motion
from mimicam.engine.face.person_matte import PersonMatte
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.portrait import Portrait
from mimicam.engine.types import CropBox, EditSettings
from scripts.moments import (
    LABEL_PX,
    MOMENTS,
    PORTRAITS_SHOWN,
    REST,
    SIDE,
    Moment,
    draw_moments,
    driver_face,
)
from scripts.pictures import FADE_FRAMES, without_seam, write_moving
from tests.fake_tracker import FakeTracker
from tests.pipeline.fake_model import FakeModel
from tests.stages.material import motion
from tests.videos import grey

README = Path(__file__).parents[2] / "README.md"
MOVING = Path(__file__).parents[2] / "docs" / "mimicam.webp"
MOMENTS_PICTURE = MOVING.with_name("moments.jpg")


def _animation(data: bytes) -> tuple[int, list[int]]:
    """Repetitions (0: for ever) and durations of a WebP's frames, milliseconds."""
    repeats, durations, at = -1, [], 12
    while at < len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"ANIM":
            repeats = int.from_bytes(data[at + 12 : at + 14], "little")
        if kind == b"ANMF":
            durations.append(int.from_bytes(data[at + 20 : at + 23], "little"))
        at += 8 + size + size % 2
    return repeats, durations


def test_the_end_goes_over_into_the_beginning() -> None:
    levels = [int(image[0, 0, 0]) for image in without_seam([grey(10 * n) for n in range(24)])]
    assert len(levels) == 24 - FADE_FRAMES
    assert levels[0] == 10 * FADE_FRAMES, "it starts after what is faded into"
    assert abs(levels[-1] - levels[0]) < 50, "24 pictures of a ramp: 150 without the fade"


def test_a_moving_picture_repeats_for_ever(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_moving(tmp_path / "a.webp", [rng.integers(0, 255, (32, 48, 3), np.uint8) for _ in range(6)], 10)
    repeats, durations = _animation((tmp_path / "a.webp").read_bytes())
    assert repeats == 0
    assert durations == pytest.approx([100] * 6)


def test_the_readme_opens_with_a_small_moving_picture() -> None:
    assert (
        "(docs/mimicam.webp)" in README.read_text(encoding="utf-8").partition("\n\n")[2].partition("\n\n")[0]
    )
    repeats, durations = _animation(MOVING.read_bytes())
    assert repeats == 0
    assert 4000 <= sum(durations) <= 6000
    assert MOVING.stat().st_size < 3_000_000


def test_the_page_of_moments_shows_a_small_picture_of_all_of_them() -> None:
    picture = cv2.imread(str(MOMENTS_PICTURE))
    assert picture is not None
    assert picture.shape[:2] == (LABEL_PX + PORTRAITS_SHOWN * SIDE, (1 + len(MOMENTS)) * SIDE)
    assert (PORTRAITS_SHOWN, len(MOMENTS)) >= (12, 6)
    assert MOMENTS_PICTURE.stat().st_size < 1_500_000
    page = MOMENTS_PICTURE.with_name("portraits.md").read_text(encoding="utf-8")
    assert "(moments.jpg)" in page
    assert all(f"| {moment.caption} |" in page for moment in MOMENTS)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.caption)
def test_a_synthetic_driver_shows_what_is_asked_of_them(moment: Moment) -> None:
    unknown = [
        stem for stem in moment.shapes if not any(n in (stem, f"{stem}Left", f"{stem}Right") for n in BLENDSHAPE_NAMES)
    ]  # fmt: skip
    assert not unknown, "no such blendshape"
    face = driver_face(moment)
    read = read_motion(face.landmarks, face.blendshapes)
    assert set(moment.shapes.values()) <= {round(float(v), 3) for v in read.expression}
    assert np.rad2deg(read.pose.angles_rad()) == pytest.approx(moment.turn, abs=2.0)


def test_irises_go_where_the_moment_says() -> None:
    def irises(caption: str) -> np.ndarray:
        (moment,) = [each for each in MOMENTS if each.caption == caption]
        face = driver_face(replace(moment, turn=(0.0, 0.0, 0.0)))
        return face.landmarks[[468, 473], 0] - driver_face(REST).landmarks[[468, 473], 0]

    assert irises("look aside").min() > 1, "both to the picture's right, pixels of 256"
    inwards = irises("cross-eyed") * (1, -1)
    assert inwards.min() > 1


def test_a_portrait_is_drawn_once_in_each_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = PersonMatte(opacity=None, problem="not looked for")
    monkeypatch.setattr("mimicam.engine.portrait.person_matte", lambda *_: nowhere)
    model, picture = FakeModel(), grey(90)
    box = CropBox(x_px=0.0, y_px=0.0, size_px=float(len(picture)))
    features = model.encode(picture)
    portrait = Portrait(name="p", picture=picture, box=box, crop=picture, motion=motion(), features=features)
    track: Any = FakeTracker()
    pipeline = Pipeline(model=model, portrait=portrait, edit=EditSettings(), smooth=False, track=track)
    assert len(draw_moments(pipeline, MOMENTS)) == len(MOMENTS)
    jaw = BLENDSHAPE_NAMES.index("jawOpen")
    rest, *jaws = (float(each["expression"][1, jaw]) for each in model.conditionings)
    asked = [moment.shapes.get("jawOpen", rest) for moment in MOMENTS]
    assert jaws == pytest.approx(asked, abs=0.02), "calibrated at rest, each moment arrives as it is"
