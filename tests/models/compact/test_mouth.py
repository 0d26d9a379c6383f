"""Painted mouth: teeth, cavity, and the light on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.face.geometry import place
from mimicam.engine.face.motion import shape_change
from mimicam.engine.models.compact.conditioning import (
    ConditioningBuilder,
    draw_opening_masks,
    read_mouth_colours,
)
from mimicam.engine.models.compact.mouth import LAYERS, MouthPainter
from mimicam.engine.models.compact.mouth_colours import GUMS, TEETH, WHITE_LIGHT, light_on, mouth_colours
from mimicam.engine.types import Float, Image, MotionCode
from tests.stages.material import motion, pose, shapes

SIZE = 128


UPPER, LOWER = [13, 82, 81, 80, 191, 312, 311, 310, 415], [14, 87, 178, 88, 95, 317, 402, 318, 324]
"""Inner edges of the lips, from the middle."""


def _with(head: object = None, **values: float) -> MotionCode:
    """Return closed lips with these shapes added; the mean face's lips are slightly open."""
    face = motion(pose(at=(0.0, -0.5), scale=0.7) if head is None else head, **values)  # type: ignore[arg-type]
    shape = face.shape.copy()
    shape[LOWER] = shape[UPPER]
    return replace(face, shape=shape + shape_change(shapes(**values)))


def _drawn(target: MotionCode, source: MotionCode | None = None, size: int = SIZE) -> Float:
    out = np.full((LAYERS, size, size), 7.0, np.float32)
    MouthPainter(source or _with(), size)(target, place(target.shape, target.pose), out)
    return out


def _brightness(drawn: Float) -> Float:
    """Brightness of the painted pixels, 0..1; 0 elsewhere."""
    opacity = drawn[3]
    light: Float = np.where(opacity > 0.5, (drawn[:3].mean(axis=0) / np.maximum(opacity, 0.5) + 1) / 2, 0)
    return light


def test_the_mouth_is_painted_inside_the_lips_only() -> None:
    face = _with(jawOpen=0.7)
    lips = draw_opening_masks(place(face.shape, face.pose), SIZE)[0]
    drawn = _drawn(face)
    assert drawn[3].max() == pytest.approx(1.0, abs=1e-3)
    assert np.abs(drawn[3] - lips).mean() < 0.003
    assert not drawn[:, drawn[3] == 0].any(), "nothing of the mouth before is left"
    assert np.abs(drawn[:3]).max() <= 1.0


def test_an_open_mouth_shows_light_teeth_before_dark() -> None:
    light = _brightness(_drawn(_with(jawOpen=0.8, mouthUpperUpLeft=0.5, mouthUpperUpRight=0.5)))
    inside = light[light > 0]
    assert np.quantile(inside, 0.95) > 2 * np.quantile(inside, 0.2)
    column = light[:, SIZE // 2]
    seen = np.flatnonzero(column)
    upper, middle = column[seen[: len(seen) // 3]].max(), column[seen[len(seen) // 2]]
    assert upper > 1.5 * middle, "the upper row hangs before the dark"


def test_single_teeth_are_distinguishable() -> None:
    face = _with(pose(at=(0.0, -0.7), scale=0.95), jawOpen=0.8, mouthUpperUpLeft=0.8, mouthUpperUpRight=0.8)
    light = _brightness(_drawn(face, size=256))
    seen = np.flatnonzero(light.max(axis=1))
    best = 0
    for row in light[seen[0] + 2 : seen[len(seen) // 2]]:
        bright = row[row > 0]
        dips = (np.diff(np.sign(np.diff(bright))) > 0) & (bright[1:-1] < 0.97 * np.quantile(bright, 0.9))
        best = max(best, int(dips.sum()))
    assert best >= 5


def test_upper_row_follows_skull_and_lower_row_chin() -> None:
    source = _with()

    def edges(jaw: float) -> tuple[int, int]:
        """Return rows of the upper and lower teeth's edges, along the middle of the face."""
        column = _brightness(_drawn(_with(jawOpen=jaw), source, 256))[:, 128]
        light = column > 0.45
        seen = np.flatnonzero(light)
        gap = int(np.argmax(np.diff(seen)))
        return int(seen[gap]), int(seen[gap + 1])

    (upper, lower), (upper_wide, lower_wide) = edges(0.75), edges(1.0)
    assert abs(upper_wide - upper) <= 1
    assert lower_wide - lower >= 3


def test_lips_cast_a_shadow_behind_them() -> None:
    drawn = _drawn(_with(jawOpen=0.8), size=256)
    light = _brightness(drawn)
    column = light[:, 128][light[:, 128] > 0]
    assert column[1] < 0.9 * column[:12].max()


def test_closed_lips_and_mouths_out_of_the_picture_draw_nothing() -> None:
    assert _drawn(_with())[3].max() < 0.5
    for away in ((50.0, 0.0), (1e9, 0.0), (0.0, -1e9)):
        assert not _drawn(_with(pose(at=away), jawOpen=1.0)).any()


def test_a_mouth_that_the_edge_cuts_is_drawn_up_to_it() -> None:
    whole = _drawn(_with(jawOpen=1.0))
    cut = _drawn(_with(pose(at=(1.0, -0.5), scale=0.7), jawOpen=1.0))
    assert 0.2 * whole[3].sum() < cut[3].sum() < 0.8 * whole[3].sum()


def test_own_teeth_are_kept_where_the_mouth_is_about_as_open() -> None:
    portrait = _with(jawOpen=0.5)
    own_teeth = MouthPainter(portrait, SIZE).own_teeth
    assert own_teeth(portrait) == pytest.approx(1.0, abs=1e-3)
    # The warp would stretch them with the lips, or squash them.
    assert own_teeth(_with(jawOpen=0.9)) == pytest.approx(-1.0)
    assert own_teeth(_with(jawOpen=0.1)) == pytest.approx(-1.0)


def test_nothing_is_exchanged_in_a_mouth_that_hardly_changes() -> None:
    # As in a video whose own frames are the portraits: what they show stays, teeth or none.
    for jaw in (0.0, 0.1, 0.3, 0.8):
        painter, before = MouthPainter(_with(jawOpen=jaw), SIZE), _with(jawOpen=jaw)
        assert painter.own_teeth(before) >= 0
        assert painter.own_teeth(_with(jawOpen=jaw + 0.05)) == pytest.approx(painter.own_teeth(before))


def test_own_teeth_are_exchanged_gradually_on_the_way_to_another_target() -> None:
    portrait = _with(jawOpen=0.5)
    build = ConditioningBuilder(portrait, map_px=64, buffers=3)
    kept, painted = build(portrait), build(_with(jawOpen=0.9))
    half = kept.towards(painted, 0.5).source_shows_teeth
    assert half == pytest.approx((kept.source_shows_teeth + painted.source_shows_teeth) / 2)
    assert kept.source_shows_teeth > painted.source_shows_teeth


def test_conditionings_keep_and_mix_their_mouths() -> None:
    source = _with()
    depart = ConditioningBuilder(source, map_px=64, buffers=2)
    shut, wide = depart(_with()), depart(_with(jawOpen=1.0))
    kept = wide.mouth.maps.copy()
    half = shut.towards(wide, 0.5)
    assert half.mouth.maps == pytest.approx(0.5 * (shut.mouth.maps + kept), abs=1e-6)
    assert half.mouth.part is not None
    beside = half.mouth.maps.copy()
    beside[:, half.mouth.part[0], half.mouth.part[1]] = 0
    assert not beside.any()
    depart(_with(jawOpen=0.5))
    assert (wide.mouth.maps == kept).all()


def test_the_mouth_covers_only_its_own_pixels() -> None:
    face = _with(jawOpen=0.8)
    out = np.zeros((LAYERS, SIZE, SIZE), np.float32)
    mouth = MouthPainter(_with(), SIZE)(face, place(face.shape, face.pose), out)
    painted = np.full((SIZE, SIZE, 3), 200, np.uint8)
    mouth.cover(painted)
    exact = 200 * (1 - out[3]) + (out[:3] + out[3]) * 127.5
    assert np.abs(painted - exact.transpose(1, 2, 0)).max() <= 1.01
    assert (painted[out[3] == 0] == 200).all()


def _face(
    colour: tuple[int, int, int], mouth: tuple[int, int, int] | None = None
) -> tuple[Image, Float, Float]:
    landmarks = (place(_with().shape, _with().pose) + 1) * (SIZE / 2) - 0.5
    inside = np.zeros((SIZE, SIZE), np.float32)
    inside[60:72, 50:78] = 1.0
    picture = np.full((SIZE, SIZE, 3), colour, np.uint8)
    if mouth is not None:
        picture[60:72, 50:78] = mouth
    return picture, landmarks.astype(np.float32), inside


def test_teeth_stand_in_the_light_that_the_skin_stands_in() -> None:
    usual, dim, warm = (
        mouth_colours(*_face(c, (60, 20, 20))) for c in ((225, 185, 165), (90, 72, 62), (230, 170, 90))
    )
    assert dim.teeth.sum() < 0.5 * usual.teeth.sum()
    assert warm.teeth[0] / warm.teeth[2] > 1.3 * usual.teeth[0] / usual.teeth[2]
    assert usual.gums / usual.teeth == pytest.approx(GUMS / TEETH, rel=1e-6)
    assert light_on(np.array([0.45 * 1.35, 0.45 * 0.92, 0.45 * 0.73])) == pytest.approx(np.ones(3), abs=0.05)


def test_teeth_that_the_portrait_shows_give_their_own_colour() -> None:
    seen = mouth_colours(*_face((200, 160, 140), (240, 230, 180)))
    assert seen.teeth == pytest.approx((np.array([240, 230, 180]) / 255) ** 2.2, rel=1e-3)


def test_a_face_outside_of_its_picture_has_colours_all_the_same() -> None:
    picture, landmarks, inside = _face((200, 160, 140))
    far = mouth_colours(picture, landmarks + 1e4, np.zeros_like(inside))
    assert np.isfinite(far.teeth).all()
    assert read_mouth_colours(_with(), picture).teeth.shape == WHITE_LIGHT.teeth.shape
