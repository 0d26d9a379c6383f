"""The two rows of teeth that are drawn inside the lips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.geometry import place
from mimicam.engine.face.motion import shape_change
from mimicam.engine.models.compact.conditioning import draw_opening_masks
from mimicam.engine.models.compact.teeth import draw_teeth, teeth_points
from mimicam.engine.types import Float, MotionCode
from tests.stages.material import motion, pose, shapes


def _with(head: object = None, **values: float) -> MotionCode:
    face = motion(pose() if head is None else head, **values)  # type: ignore[arg-type]
    return replace(face, shape=face.shape + shape_change(shapes(**values)))


def _drawn(face: MotionCode, size: int = 128) -> Float:
    return draw_teeth(face, draw_opening_masks(place(face.shape, face.pose), size)[0])


def test_an_open_mouth_shows_teeth_inside_its_lips_and_rows_do_not_overlap() -> None:
    face = _with(jawOpen=0.5, mouthUpperUpLeft=0.6, mouthUpperUpRight=0.6)
    lips = draw_opening_masks(place(face.shape, face.pose), 128)[0]
    upper, lower = _drawn(face)
    assert upper.sum() > 5
    assert not (upper + lower)[lips == 0].any()
    assert (upper + lower).max() <= 1.0 + 1e-6


def test_upper_teeth_stay_with_the_skull_and_lower_ones_go_with_the_jaw() -> None:
    shut, wide = (teeth_points(_with(jawOpen=jaw)) for jaw in (0.0, 1.0))
    assert wide[0] == pytest.approx(shut[0], abs=1e-4)
    assert (wide[1] - shut[1])[..., 1].min() > 0.2


def test_upper_teeth_lie_above_lower_ones_and_turn_with_the_head() -> None:
    upper, lower = teeth_points(_with(jawOpen=0.6))
    assert upper[..., 1].mean() < lower[..., 1].mean()
    left, right = (_drawn(_with(pose(yaw=y), jawOpen=0.6)).sum(0) for y in (-25, 25))
    assert left.sum() > 5
    as_mirrored, as_is = (np.abs(left - other).mean() for other in (right[:, ::-1], right))
    assert as_mirrored < 0.2 * as_is, "turned to the other side they mirror"


def test_neighbouring_teeth_have_a_gap_between_them() -> None:
    face = _with(pose(scale=0.9), jawOpen=0.8)
    upper = draw_teeth(face, np.ones((512, 512), np.float32))[0]
    row = upper[int(np.nonzero(upper.sum(1))[0].mean())]
    inside = row[np.nonzero(row)[0][0] : np.nonzero(row)[0][-1]]
    assert (np.diff((inside > 0.5).astype(int)) == -1).sum() >= 5


def test_closed_lips_and_faces_out_of_the_picture_show_none() -> None:
    assert not draw_teeth(_with(), np.zeros((64, 64), np.float32)).any()
    assert not _drawn(_with(pose(at=(1e9, 0.0)), jawOpen=1.0)).any()
