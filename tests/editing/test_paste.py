"""Pasting back: what does not move stays bit for bit, what moves has the frame's own pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mimicam.engine.editing.paste import Edited, edit_window, paste_face
from mimicam.engine.stages.crop import portrait_box
from mimicam.engine.types import CropBox, Float, Image, WarpFields
from tests.editing.material import face

SIZE = 64
RNG = np.random.default_rng(0)


def noise(height: int = 240, width: int = 320) -> Image:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def fields(*, flow: tuple[float, float] = (0.0, 0.0), visibility: float = 1.0) -> WarpFields:
    return WarpFields(
        inpaint=np.full((SIZE, SIZE, 3), 200, np.uint8),
        visibility=np.full((SIZE, SIZE), visibility, np.float32),
        flow=np.broadcast_to(np.array(flow, np.float32), (SIZE // 2, SIZE // 2, 2)).copy(),
    )


def crop_of(x_px: float, y_px: float, **amounts: float) -> tuple[CropBox, Float]:
    """Return the resting face's box on whole pixels, and the landmarks of an expression in it."""
    resting, shown = face(x_px, y_px, scale_px=30), face(x_px, y_px, scale_px=30, **amounts)
    box = portrait_box(resting)
    box = CropBox(x_px=round(box.x_px), y_px=round(box.y_px), size_px=2 * round(box.size_px / 2))
    return box, box.from_image(shown.landmarks)


def paste(
    frame: Image, drawn: WarpFields, x_px: float = 160, y_px: float = 120, **amounts: float
) -> Edited | None:
    box, before = crop_of(x_px, y_px)
    _, after = crop_of(x_px, y_px, **amounts)
    return paste_face(frame, drawn, edit_window(box, before, after))


def test_an_expression_that_is_kept_changes_nothing() -> None:
    assert paste(noise(), fields(flow=(0.1, 0.1), visibility=0.0)) is None


def test_pixels_outside_the_window_are_the_frame_s() -> None:
    frame = noise()
    edited = paste(frame, fields(flow=(0.02, 0.03), visibility=0.5), jawOpen=0.7)
    assert edited is not None
    kept = np.ones(frame.shape[:2], bool)
    kept[edited.rows, edited.columns] = edited.opacity <= 0
    np.testing.assert_array_equal(edited.image[kept], frame[kept])
    assert not np.array_equal(edited.image, frame)
    assert kept[:, :60].all(), "the background left of the face is kept"
    assert kept[:60].all(), "so is what lies above it"


def test_opaque_pixels_that_do_not_move_are_the_frame_s_inside_the_window_too() -> None:
    frame = noise()
    edited = paste(frame, fields(), jawOpen=0.7)
    assert edited is not None
    np.testing.assert_array_equal(edited.image, frame)


def test_moved_pixels_come_from_the_frame_at_its_own_resolution() -> None:
    frame = noise()
    box, _ = crop_of(160, 120)
    pixels = 4
    edited = paste(frame, fields(flow=(2 * pixels / box.size_px, 0.0)), jawOpen=0.9)
    assert edited is not None
    full = edited.opacity >= 1
    assert full.sum() > 300
    expected = frame[edited.rows, edited.columns.start + pixels : edited.columns.stop + pixels]
    shown = edited.image[edited.rows, edited.columns]
    assert np.abs(shown[full].astype(int) - expected[full]).max() <= 1


def test_the_eyes_stay_while_the_jaw_opens() -> None:
    box, before = crop_of(160, 120)
    _, after = crop_of(160, 120, jawOpen=0.5)
    eye, lip = ((before[index, :2] + 1) / 2 * box.size_px for index in (159, 14))
    cell = box.size_px / 64
    opacity = edit_window(box, before, after).opacity
    assert opacity[int(eye[1] / cell), int(eye[0] / cell)] == 0
    assert opacity[int(lip[1] / cell), int(lip[0] / cell)] == 1


def test_the_window_does_not_reach_into_another_face() -> None:
    box, before = crop_of(160, 120)
    _, after = crop_of(160, 120, jawOpen=0.7)
    alone = edit_window(box, before, after).opacity
    beside = edit_window(box, before, after, others=[before + np.array([0.5, 0, 0], np.float32)]).opacity
    right = slice(46, 64)
    assert alone[:, right].max() > 0.5
    assert beside[:, right].max() < 1e-4, "only the rim of the other outline is left"
    np.testing.assert_array_equal(beside[:, :24], alone[:, :24])


@pytest.mark.parametrize("place", [(0.0, 0.0), (319.0, 239.0), (160.0, -5.0)])
def test_a_face_at_the_frame_s_edge_is_pasted_as_far_as_it_shows(place: tuple[float, float]) -> None:
    frame = noise()
    edited = paste(frame, fields(flow=(0.05, 0.0)), *place, jawOpen=0.7)
    assert edited is None or edited.image.shape == frame.shape


def test_a_face_outside_the_frame_changes_nothing() -> None:
    assert paste(noise(), fields(flow=(0.05, 0.0)), 900, 120, jawOpen=0.7) is None


def test_the_window_follows_a_face_smoothly() -> None:
    opacities = []
    for step in range(9):
        box, before = crop_of(160, 120)
        moved = before + np.array([0.002 * step, 0, 0], np.float32)
        _, after = crop_of(160, 120, jawOpen=0.5)
        opacities.append(edit_window(box, moved, after + moved - before).opacity)
    steps = [np.abs(b - a).max() for a, b in pairwise(opacities)]
    assert max(steps) < 0.12, "a quarter of a pixel of 256 may not switch whole cells on or off"
