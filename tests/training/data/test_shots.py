"""Where clips begin and end, with a tracker that says what the test wants."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.stages.crop import portrait_box
from mimicam.engine.types import Face, Image
from mimicam.training.data.prepare import Clip, PrepareOptions, find_clips

OPTIONS = PrepareOptions(min_s=0.4, max_s=2.0)
WIDTH, HEIGHT = 1280, 720


class Script:
    """Gives the faces of a list; x, y and scale in pixels, or None."""

    def __init__(self, places: list[tuple[float, float, float] | None]) -> None:
        self._places = iter(places)

    def reset(self) -> None:
        """A new shot."""

    def __call__(self, _: Image) -> Face | None:
        place = next(self._places)
        if place is None:
            return None
        landmarks = face_geometry().mean * np.float32(place[2])
        landmarks[:, :2] += np.array(place[:2], np.float32)
        return Face(landmarks=landmarks, blendshapes=np.zeros(52, np.float32), presence=1.0)


def _clips(
    places: list[tuple[float, float, float] | None],
    levels: list[int] | None = None,
    options: PrepareOptions = OPTIONS,
) -> list[Clip]:
    images = (np.full((HEIGHT, WIDTH, 3), level, np.uint8) for level in levels or [90] * len(places))
    return find_clips(images, Script(places), options)  # type: ignore[arg-type]


def _spans(clips: list[Clip]) -> list[tuple[int, int]]:
    return [(clip.first, clip.last) for clip in clips]


STILL = (640.0, 360.0, 60.0)


def test_a_still_face_is_one_clip_in_the_portraits_own_box() -> None:
    (clip,) = _clips([STILL] * 20)
    face = Script([STILL])(np.zeros((1, 1, 3), np.uint8))
    assert face is not None
    wanted = portrait_box(face)
    assert (clip.first, clip.last) == (0, 19)
    got = (clip.box.x_px, clip.box.y_px, clip.box.size_px)
    assert got == pytest.approx((wanted.x_px, wanted.y_px, wanted.size_px), abs=1e-2)


def test_a_moving_face_stays_inside_one_box() -> None:
    (clip,) = _clips([(640.0 + 4 * n, 360.0, 60.0) for n in range(20)])
    assert clip.box.size_px == pytest.approx(300 + 4 * 19, abs=1)


def test_a_new_shot_ends_a_clip_although_the_face_stays() -> None:
    assert _spans(_clips([STILL] * 30, [90] * 15 + [160] * 15)) == [(0, 14), (15, 29)]


def test_a_face_that_jumps_or_is_lost_ends_a_clip() -> None:
    elsewhere = (800.0, 360.0, 60.0)
    assert _spans(_clips([STILL] * 15 + [elsewhere] * 15)) == [(0, 14), (15, 29)]
    assert _spans(_clips([STILL] * 15 + [None] + [STILL] * 14)) == [(0, 14), (16, 29)]


def test_a_clip_is_split_where_the_face_wanders_far() -> None:
    clips = _clips([(320.0 + 13 * n, 360.0, 60.0) for n in range(40)])
    assert _spans(clips) == [(0, 13), (14, 27), (28, 39)]
    assert all(clip.box.size_px <= 1.6 * 300 + 1 for clip in clips)


def test_long_shots_are_split_and_short_ones_left_out() -> None:
    assert _spans(_clips([STILL] * 120)) == [(0, 49), (50, 99), (100, 119)]
    assert _clips([STILL] * 9) == []


def test_too_small_and_too_large_faces_are_left_out() -> None:
    assert _clips([(640.0, 360.0, 20.0)] * 20) == []
    assert _clips([(640.0, 360.0, 300.0)] * 20) == []
    (clip,) = _clips([(640.0, 360.0, 160.0)] * 20)
    assert clip.box.size_px == pytest.approx(720), "a close-up gets a smaller box rather than repeated edges"
    assert clip.box.y_px == pytest.approx(0)
