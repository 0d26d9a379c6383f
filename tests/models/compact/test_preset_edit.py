"""Presets on the targets of a portrait."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.engine.models.compact.edit import MotionEdit
from mimicam.engine.models.compact.preset_edit import PresetEdit
from mimicam.engine.presets.mix import mix_presets
from mimicam.engine.presets.preset import Preset
from mimicam.engine.types import EditSettings, MotionCode
from tests.stages.material import NAMES, motion, pose

PORTRAIT = motion(pose(yaw=5), jawOpen=0.3, mouthSmileLeft=0.4)
DRIVER = motion(pose(yaw=20), jawOpen=0.6)
SMILE = Preset(name="smile", blendshapes={"mouthSmile": 0.5})
NEUTRAL = Preset(name="neutral", replaces=True)
LEFT_CORNER, RIGHT_CORNER = 291, 61


def driven(settings: EditSettings) -> MotionCode:
    return MotionEdit(PORTRAIT)(DRIVER, None, settings)


def amount(target: MotionCode, name: str) -> float:
    return float(target.expression[NAMES.index(name)])


def with_presets(target: MotionCode, *presets: tuple[Preset, float]) -> MotionCode:
    return PresetEdit(PORTRAIT)(target, mix_presets(presets))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("gain", [0.0, 1.0])
def test_a_preset_shows_whatever_gain_and_mirror_are(gain: float, mirror: bool) -> None:
    before = driven(EditSettings(expression_gain=gain, mirror=mirror))
    after = with_presets(before, (SMILE, 1.0))
    for side in ("Left", "Right"):
        name = f"mouthSmile{side}"
        assert amount(after, name) == pytest.approx(amount(before, name) + 0.5, abs=1e-5)
    for corner in (LEFT_CORNER, RIGHT_CORNER):
        assert after.shape[corner, 1] < before.shape[corner, 1] - 0.01, "corners of the mouth rise"
    assert after.pose is before.pose


def test_neutral_puts_the_face_at_rest_whatever_the_driver_does() -> None:
    calm = driven(EditSettings(expression_gain=0.0))
    for jaw in (0.0, 0.9):
        target = MotionEdit(PORTRAIT)(motion(pose(), jawOpen=jaw), None, EditSettings())
        after = with_presets(target, (NEUTRAL, 1.0))
        np.testing.assert_allclose(after.expression, calm.expression, atol=1e-6)
        np.testing.assert_allclose(after.shape, calm.shape, atol=1e-5)
    half = with_presets(driven(EditSettings()), (NEUTRAL, 0.5))
    assert amount(half, "jawOpen") == pytest.approx((0.6 + amount(calm, "jawOpen")) / 2, abs=0.05)


def test_landmarks_follow_only_what_the_range_leaves() -> None:
    full = with_presets(driven(EditSettings()), (Preset(name="a", blendshapes={"jawOpen": 1.0}), 2.0))
    once = with_presets(driven(EditSettings()), (Preset(name="a", blendshapes={"jawOpen": 0.4}), 1.0))
    assert amount(full, "jawOpen") == 1.0
    np.testing.assert_allclose(full.shape, once.shape, atol=1e-4)
