"""The matte of an enrolled portrait, and what happens without one."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.engine import portrait as module
from mimicam.engine.face.person_matte import PersonMatte
from mimicam.engine.face.tracker import FaceDetector
from mimicam.engine.portrait import enroll
from mimicam.engine.stages.composite import Composite
from tests.pipeline.fake_model import FakeModel
from tests.stages.material import bundled


def test_the_matte_has_the_pictures_size_and_covers_the_face() -> None:
    portrait = enroll(bundled("kai.jpg"), model=FakeModel())
    matte = portrait.person_matte()
    assert matte is not None
    assert matte.shape == portrait.picture.shape[:2]
    centre = portrait.box.x_px + portrait.box.size_px / 2, portrait.box.y_px + portrait.box.size_px / 2
    assert matte[int(centre[1]), int(centre[0])] == 1.0
    texture = Composite(portrait.picture, portrait.box, (160, 120), matte=portrait.person_matte).texture(64)
    assert texture.background is not None
    assert 0.2 < (texture.texture[..., 3] == 255).mean() < 0.8


def test_without_a_usable_matte_all_moves_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    portrait = enroll(bundled("kai.jpg"), model=FakeModel(), name="kai")
    unusable = PersonMatte(opacity=None, problem="no background is seen")
    monkeypatch.setattr(module, "person_matte", lambda *_: unusable)
    texture = Composite(portrait.picture, portrait.box, (160, 120), matte=portrait.person_matte).texture(64)
    assert texture.background is None
    assert (texture.texture[..., 3] == 255).all()
    assert caplog.messages == ["the background of kai moves with the head: no background is seen"]


def test_the_matte_is_asked_for_the_face_that_the_detector_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    portrait = enroll(bundled("astronaut.jpg"), model=FakeModel())
    seen: list[np.ndarray] = []

    def keep(_: object, face: np.ndarray) -> PersonMatte:
        seen.append(face)
        return PersonMatte(opacity=None, problem="not asked")

    monkeypatch.setattr(module, "person_matte", keep)
    portrait.person_matte()
    found = FaceDetector()(portrait.picture)[0].region
    assert seen[0].mean(axis=0) == pytest.approx((found.x_px, found.y_px), abs=0.1 * found.size_px)
