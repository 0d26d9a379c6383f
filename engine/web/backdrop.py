"""Replaces a portrait's background by a plain colour, before the portrait is enrolled.

The mask is the person's matte (`engine.face.person_matte`). Where none is usable, as on some
drawings, it comes from GrabCut (Rother, Kolmogorov and Blake, "GrabCut", SIGGRAPH 2004),
initialised with an ellipse for the head and a trapezium for the shoulders.
"""

from __future__ import annotations

import logging
from typing import Literal

import cv2
import numpy as np

from mimicam.engine.face.person_matte import person_matte
from mimicam.engine.face.tracker import Region
from mimicam.engine.types import Float, Image

Background = Literal["kept", "plain", "green"]
_COLOURS: dict[Background, tuple[int, int, int]] = {"plain": (96, 104, 116), "green": (0, 177, 64)}
"""RGB. The green is the default of OBS's chroma key filter."""
_FACE = (0.26, 0.36)
"""Half width and half height of an ellipse inside the face, in sides of its region."""
_LOG = logging.getLogger(__name__)
_SIDE = 384
"""Longest side in pixels at which GrabCut runs. At 512 it takes half a second on one core."""
_ROUNDS = 5
_SPECK = 0.02
"""Largest hole that is filled, as a share of the picture's area."""
_SOFT_PX = 1.2


def replaced(picture: Image, face: Region | None, background: Background) -> Image:
    """Return a portrait with another background.

    Args:
        picture: RGB uint8 ``[H, W, 3]``.
        face: region of its face. None: the upper middle is assumed.
        background: with ``kept`` the picture itself is returned.
    """
    if background == "kept":
        return picture
    height, width = picture.shape[:2]
    face = face or Region(x_px=width / 2, y_px=height * 0.45, size_px=min(height, width) * 0.6, roll_rad=0.0)
    matte = person_matte(picture, _outline(face))
    if matte.opacity is None:
        _LOG.info("background by GrabCut, since %s", matte.problem)
    opacity = (_grab_cut(picture, face) if matte.opacity is None else matte.opacity)[..., None]
    colour = np.array(_COLOURS[background], np.float32)
    return (picture * opacity + colour * (1 - opacity)).round().astype(np.uint8)


def _outline(face: Region) -> Float:
    """Return points around the face, ``[32, 2]``, image pixels."""
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    around = face.size_px * np.array(_FACE) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    centre = np.array((face.x_px, face.y_px))
    return (centre + around).astype(np.float32)


def _grab_cut(picture: Image, face: Region) -> Float:
    """Mask of the person, float32 ``[H, W]`` in 0..1."""
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    x, y, size = face.x_px * scale, face.y_px * scale, face.size_px * scale
    labels = _guess(small.shape[0], small.shape[1], x, y, size)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small[:, :, ::-1].copy(), labels, None, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    person = _one_piece(np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8), x, y)
    large = cv2.resize(person.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(large, (0, 0), _SOFT_PX / scale)
    # Move the edge inwards: a rim of the old background is more visible than a pixel less of hair.
    opacity: Float = np.clip((soft - 0.45) / 0.45, 0.0, 1.0).astype(np.float32)
    return opacity


def _guess(height: int, width: int, x: float, y: float, size: float) -> np.ndarray:
    """Initial labels for GrabCut, from a face's centre and side in pixels."""
    labels = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    shoulders = [(x - 0.35 * size, y + 0.45 * size), (x + 0.35 * size, y + 0.45 * size),
                 (x + 1.1 * size, height), (x - 1.1 * size, height)]  # fmt: skip
    cv2.fillPoly(labels, [np.array(shoulders, np.int32)], cv2.GC_PR_FGD)
    _ellipse(labels, x, y - 0.08 * size, 0.5 * size, 0.68 * size, cv2.GC_PR_FGD)
    border = max(2, width // 40)
    top = max(border, int(y - 0.2 * size))
    # Surely background: the upper rim. The lower one belongs to the shoulders.
    for strip in (labels[:border], labels[:top, :border], labels[:top, -border:]):
        strip[strip == cv2.GC_PR_BGD] = cv2.GC_BGD
    _ellipse(labels, x, y + 0.02 * size, _FACE[0] * size, _FACE[1] * size, cv2.GC_FGD)
    return labels


def _ellipse(
    labels: np.ndarray, x: float, y: float, half_width: float, half_height: float, label: int
) -> None:
    axes = (max(1, int(half_width)), max(1, int(half_height)))
    cv2.ellipse(labels, (int(x), int(y)), axes, 0, 0, 360, label, -1)


def _one_piece(person: np.ndarray, x: float, y: float) -> np.ndarray:
    """Keep the connected component around the face, and fill its small holes."""
    pieces = cv2.connectedComponents(person)[1]
    row = min(max(int(y), 0), person.shape[0] - 1)
    person = (pieces == pieces[row, min(max(int(x), 0), person.shape[1] - 1)]).astype(np.uint8)
    _, holes, facts, _ = cv2.connectedComponentsWithStats(1 - person)
    small = [i for i in range(1, len(facts)) if facts[i, cv2.CC_STAT_AREA] < _SPECK * person.size]
    # Small ones only: the gap between an arm and the body is background.
    person[np.isin(holes, small)] = 1
    return person
