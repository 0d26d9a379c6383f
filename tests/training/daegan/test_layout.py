"""Maps of mouth, lips, eyes and irises, drawn from landmarks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.landmarks import INNER_LIPS, LEFT_LIDS, RIGHT_LIDS
from mimicam.engine.types import LANDMARKS
from mimicam.training.daegan.layout import OUTER_LIPS, draw_layout, layout_loss

SIDE, FINE = 64, 16


def _face() -> Tensor:
    points = torch.from_numpy(face_geometry().mean[:, :2].copy()).float()
    assert points.shape == (LANDMARKS, 2)
    points = points * (0.6 / points.abs().max())
    # An open mouth, and eyes that look aside.
    lower = [87, 14, 317, 402, 318, 178, 88, 146, 91, 181, 84, 17, 314, 405, 321, 375]
    points[lower] += torch.tensor([0.0, 0.08])
    points[468:478] += torch.tensor([0.01, 0.0])
    return points


def _polygon(outline: Tensor) -> np.ndarray:
    canvas = np.zeros((SIDE * FINE, SIDE * FINE), np.uint8)
    corners = ((outline + 1) * (SIDE * FINE / 2) - 0.5).round().numpy().astype(np.int32)
    cv2.fillPoly(canvas, [corners], 1)
    return cv2.resize(canvas.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def test_parts_cover_what_their_outlines_do() -> None:
    face = _face()
    mouth, lips, eyes, _ = draw_layout(face[None], SIDE)[0].numpy()
    want_mouth = _polygon(face[INNER_LIPS])
    assert want_mouth.sum() > 15, "the mouth is open"
    # OpenCV fills the pixels on the outline too, a sixteenth of ours.
    assert np.abs(mouth - want_mouth).max() < 0.25
    assert np.abs(lips - (_polygon(face[list(OUTER_LIPS)]) - want_mouth)).max() < 0.35
    assert np.abs(eyes - _polygon(face[RIGHT_LIDS]) - _polygon(face[LEFT_LIDS])).max() < 0.25


def test_irises_stay_within_the_eyes() -> None:
    _, _, eyes, irises = draw_layout(_face()[None], SIDE)[0]
    assert irises.sum() > 1
    assert (irises <= eyes + 1e-6).all()
    shut = _face()
    for upper, lower in zip((161, 160, 159, 158, 157), (163, 144, 145, 153, 154), strict=True):
        shut[upper] = shut[lower]
    assert draw_layout(shut[None], SIDE)[0, 3].sum() < 0.6 * irises.sum(), "one eye is shut"


def test_the_loss_tells_an_open_mouth_from_a_shut_one() -> None:
    opened = _face()[None]
    shut = opened.clone()
    shut[:, INNER_LIPS, 1] = shut[:, INNER_LIPS, 1].mean(1, keepdim=True)
    logits = torch.logit(draw_layout(opened, SIDE).clamp(0.001, 0.999))
    assert layout_loss(logits, opened) < 0.5 * layout_loss(logits, shut)


def test_parts_beyond_the_picture_are_left_out() -> None:
    away = _face()[None] + torch.tensor([3.0, 0.0])
    assert draw_layout(away, SIDE).abs().max() < 1e-6
    half = draw_layout(_face()[None] + torch.tensor([0.0, 1.0 - _face()[14, 1]]), SIDE)
    assert half[0, 0].sum() == pytest.approx(draw_layout(_face()[None], SIDE)[0, 0].sum().item(), rel=0.2)
