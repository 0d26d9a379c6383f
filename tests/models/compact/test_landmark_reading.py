"""Landmarks are moved until they read as the expression that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.geometry import place
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.motion import shape_change
from mimicam.engine.face.networks import BlendshapeReader
from mimicam.engine.models.compact.edit import AS_ASKED, MotionEdit
from mimicam.engine.models.compact.landmark_reading import LandmarkReading
from mimicam.engine.stages.neutral import resting_face
from mimicam.engine.types import EditSettings, Float, Mode, MotionCode, Response
from tests.stages.material import motion

NAMES = list(BLENDSHAPE_NAMES)
MOUTH = [0, 13, 14, 17, 61, 78, 81, 87, 178, 291, 308, 311, 317, 402]


def with_wide_mouth() -> MotionCode:
    """A face at rest whose mouth is 1.3 times as wide as the mean."""
    face = motion()
    shape = face.shape.copy()
    shape[MOUTH, 0] *= 1.3
    return replace(face, shape=shape)


def asked(**change: float) -> Float:
    out = resting_face().expression.copy()
    for name, value in change.items():
        out[NAMES.index(name)] += value
    return out


def read(face: MotionCode, shape: Float) -> Float:
    return BlendshapeReader()(place(shape, face.pose))


def test_a_face_at_rest_stays_as_it_is() -> None:
    face = with_wide_mouth()
    still = LandmarkReading(face).corrected(face.shape, asked())
    assert still == pytest.approx(face.shape, abs=1e-5)


@pytest.mark.parametrize("name", ["jawOpen", "mouthPucker"])
def test_a_correction_brings_the_reading_nearer(name: str) -> None:
    face, column = with_wide_mouth(), NAMES.index(name)
    wanted = asked(**{name: 0.5})
    plain = face.shape + shape_change(wanted - resting_face().expression)
    mended = LandmarkReading(face).corrected(plain, wanted)
    own = read(face, face.shape)[column]
    missing = [abs(0.5 - (read(face, shape)[column] - own)) for shape in (plain, mended)]
    assert missing[1] < 0.9 * missing[0]


def test_lids_are_left_to_the_driver() -> None:
    face = motion()
    blink = {"eyeBlinkLeft": 0.7, "eyeBlinkRight": 0.7}
    closed = face.shape + shape_change(asked(**blink) - resting_face().expression)
    reading = LandmarkReading(face)
    assert np.array_equal(reading.corrected(closed, asked(**blink)), reading.corrected(closed, asked()))


def test_only_a_measured_portrait_is_corrected() -> None:
    driver, measured = motion(jawOpen=0.6), AS_ASKED * np.float32(1)
    measured[NAMES.index("mouthFunnel")] = 1.2
    settings = EditSettings(mode=Mode.EXP)
    without = replace(settings, response=Response.NONE)
    plain, unread, off, corrected = (
        MotionEdit(with_wide_mouth(), response)(driver, None, chosen).shape
        for response, chosen in (
            (None, settings),
            (AS_ASKED, settings),
            (measured, without),
            (measured, settings),
        )
    )
    assert np.array_equal(unread, plain)
    assert np.array_equal(off, plain)
    assert np.abs(corrected - plain).max() > 1e-3
