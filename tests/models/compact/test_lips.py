"""Lips that touch, and the outline of what opens between them."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from mimicam.engine.assets_manifest import demo_clip
from mimicam.engine.face.geometry import place
from mimicam.engine.face.landmarks import INNER_LIPS
from mimicam.engine.face.motion import shape_change
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.models.compact.edit import MotionEdit
from mimicam.engine.models.compact.lips import (
    LOWER,
    UPPER,
    inner_outline,
    lip_gaps,
    touching,
    with_lips_closed,
)
from mimicam.engine.models.load import load_model
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.portrait import enroll
from mimicam.engine.sources.file import VideoFile
from mimicam.engine.types import EditSettings, Float, Frame, Image, Mode, MotionCode
from tests.stages.material import motion, pose, shapes

EYES = [33, 133, 159, 145, 263, 362, 386, 374, 4]


def with_jaw(value: float) -> MotionCode:
    """Return the mean face with lips that touch, then the jaw opened."""
    face = motion(pose(), jawOpen=value)
    shape = face.shape.copy()
    shape[LOWER] = shape[UPPER]
    return replace(face, shape=shape + shape_change(shapes(jawOpen=value)))


def test_lips_of_a_closed_driver_touch_whatever_the_portrait_does() -> None:
    portrait = with_jaw(0.6)
    target = MotionEdit(portrait)(with_jaw(0.0), None, EditSettings(mode=Mode.EXP))
    assert (lip_gaps(target.shape) == 0).all()
    # They overlap: the warp narrows an open mouth, and never quite to nothing.
    assert (target.shape[LOWER, 1] - target.shape[UPPER, 1] < 0).any()


def test_wide_mouths_and_eyes_stay_as_they_were() -> None:
    shape, own = with_jaw(0.7).shape, lip_gaps(with_jaw(0.3).shape)
    wide = np.full(len(UPPER), 0.5, np.float32)
    assert (with_lips_closed(shape, wide, own) == shape).all()
    closed = with_lips_closed(shape, 0 * wide, own)
    np.testing.assert_allclose(closed[EYES], shape[EYES], atol=0.01)
    # The whole lower lip comes up, not its edge alone.
    assert closed[17, 1] < shape[17, 1] - 0.3 * (shape[14, 1] - shape[13, 1])


def test_a_gain_of_nothing_shuts_the_mouth() -> None:
    still = EditSettings(mode=Mode.EXP, expression_gain=0.0)
    target = MotionEdit(with_jaw(0.4))(with_jaw(0.8), None, still)
    assert (lip_gaps(target.shape) == 0).all()


def test_lips_that_overlap_touch_in_what_is_painted() -> None:
    face = with_jaw(0.0)
    shape = face.shape.copy()
    shape[LOWER, 1] -= 0.1
    landmarks = place(shape, face.pose)
    met = touching(shape, landmarks)
    assert (met[LOWER] == met[UPPER]).all()
    others = np.setdiff1d(np.arange(len(met)), [*UPPER, *LOWER])
    assert (met[others] == landmarks[others]).all()
    assert touching(face.shape, landmarks) is landmarks


def test_the_outline_runs_through_the_landmarks_and_has_two_corners() -> None:
    face = with_jaw(0.8)
    points = place(face.shape, face.pose)[INNER_LIPS, :2]
    outline = inner_outline(points)
    np.testing.assert_allclose(outline[::4], points, atol=1e-6)
    turns = np.abs(_turns(outline))
    corners = [0, 40]
    assert set(np.argsort(turns)[-2:]) == set(corners)
    assert turns[np.setdiff1d(np.arange(80), corners)].max() < np.abs(_turns(points)).max() / 1.5


def _turns(outline: Float) -> Float:
    """Return the angle by which an outline turns at each of its points."""
    steps = np.roll(outline, -1, axis=0) - outline
    angle = np.arctan2(steps[:, 1], steps[:, 0])
    turned = angle - np.roll(angle, 1)
    return np.arctan2(np.sin(turned), np.cos(turned))


@pytest.fixture(scope="module")
def talking() -> tuple[Image, list[Image]]:
    """Return the bundled driver with the mouth widest open, and ten frames with it nearly shut."""
    images = [timed.image for timed in islice(VideoFile(demo_clip()), 150)]
    tracker, gaps = FaceTracker(), []
    for image in images:
        face = tracker(image)
        gaps.append(1.0 if face is None else _gap(face.landmarks))
    order = np.argsort(gaps)
    widest = max((gap, number) for number, gap in enumerate(gaps) if gap < 1.0)[1]
    return images[widest], [images[order[0]]] * 10


def test_a_portrait_who_talks_shuts_the_mouth(talking: tuple[Image, list[Image]]) -> None:
    model = load_model("compact", "auto", threads=1)
    portrait = enroll(talking[0], model=model)
    pipeline = Pipeline(model=model, portrait=portrait, edit=EditSettings(mode=Mode.EXP))
    shown = [
        pipeline.step(Frame(image=image, seq=seq, captured_ns=seq * 40_000_000)).image
        for seq, image in enumerate(talking[1])
    ]
    tracker = FaceTracker()
    own, face = tracker(portrait.picture), tracker(np.ascontiguousarray(shown[-1]))
    assert own is not None
    assert face is not None
    assert _gap(own.landmarks) > 0.1
    assert _gap(face.landmarks) < 0.025


def _gap(landmarks: Float) -> float:
    """Return the distance between the lips over that of the eyes."""
    apart, eyes = (
        float(np.linalg.norm(landmarks[a, :2] - landmarks[b, :2])) for a, b in ((13, 14), (33, 263))
    )
    return apart / eyes
