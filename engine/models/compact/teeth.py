"""Where a head's teeth are, whether the portrait shows them or not.

A portrait with closed lips says nothing about its teeth, and the mean over many people's is a grey band. But where teeth
are is no mystery: the upper ones are fixed to the skull, the lower ones to the jaw. So two average rows of teeth are
hung into the head's own frame and drawn inside the lips, as a guide for the generator to paint by.

Lengths are about those of an adult's dental arches, in millimetres, turned into the mean face's units by the distance
between its irises; the lower row's resting place was fitted to open mouths of the training clips (`training/LOG.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from mimicam.engine.face.geometry import face_geometry, place
from mimicam.engine.models.compact.rasterise import SHIFT, MaskRasteriser, Part
from mimicam.engine.types import Float, HeadPose, MotionCode

_IRISES = (468, 473)
_IRIS_DISTANCE_MM = 63.0
UPPER_LIP = 13
CHIN = [152, 199, 200]
_UPPER_WIDTHS_MM = (8.5, 6.6, 7.6, 7.0, 6.8)
_LOWER_WIDTHS_MM = (5.4, 5.9, 6.9, 7.0, 7.1)
_UPPER_CROWNS_MM = (10.5, 9.2, 10.0, 8.5, 7.5)
_LOWER_CROWNS_MM = (8.8, 9.2, 10.3, 8.5, 7.5)
_OVERBITE_MM = 2.0
_BEHIND_LIP_MM = 5.0
_OVERJET_MM = 2.5
_ARCH_MM = 22.0
"""Half the width of the arch where it is as deep as wide: a parabola ``z = x^2 / _ARCH_MM``."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """How rows stand. The generator was trained on rows as they are by default."""

    shown_mm: float = 2.0
    """How far the upper edge hangs below the resting lip."""
    freeway_mm: float = 3.5
    """Teeth of a resting face do not touch: its lips are closed, its jaw is not."""
    gap: float = 0.1
    """Of a tooth's width: the dark line between neighbours."""
    worn: bool = False
    """Corners are hardly rounded."""


def draw_teeth(target: MotionCode, lips_hh: Float) -> Float:
    """``[2, size, size]`` in 0..1: upper and lower teeth of ``target`` inside the opening of its lips.

    Args:
        target: shape and expression say where jaw and skull are.
        lips_hh: the inside of the lips, 0..1 (`engine.models.compact.conditioning.draw_opening_masks`).
    """
    size = lips_hh.shape[0]
    out = np.empty((2, size, size), np.float32)
    paint_teeth(target, lips_hh, canvas=MaskRasteriser(size), out=out)
    return out


def paint_teeth(target: MotionCode, lips_hh: Float, *, canvas: MaskRasteriser, out: Float) -> None:
    """`draw_teeth` into ``out``, on a canvas of the maps' size."""
    out.fill(0)
    part = _filled(lips_hh)
    if part is None:
        return
    for row, points in zip(out, teeth_points(target), strict=True):
        _paint_row(points, target.pose, canvas)
        canvas.average(row, part)
    upper, lower, lips = out[0][part], out[1][part], lips_hh[part]
    lower *= 1 - upper
    lower *= lips
    upper *= lips


def teeth_points(face: MotionCode) -> tuple[Float, Float]:
    """Outlines of the upper and the lower teeth in the head's own frame, ``[T, P, 3]`` each."""
    upper, lower = rows(Row())
    moved = np.tensordot(face.expression, lip_and_chin_moves(), axes=(0, 0))
    lip = face.shape[UPPER_LIP] - moved[0]
    jaw = moved[1:].mean(axis=0)
    return upper + lip, lower + (lip + jaw)


def _filled(map_hh: Float) -> Part | None:
    """The smallest part outside of which the map is 0; None if it is 0 everywhere."""
    rows, columns = (np.flatnonzero(map_hh.max(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _paint_row(points_TP3: Float, pose: HeadPose, canvas: MaskRasteriser) -> None:
    placed = place(points_TP3.reshape(-1, 3), pose).reshape(points_TP3.shape)
    drawing = canvas.blank()
    for tooth in canvas.points(placed):
        cv2.fillConvexPoly(drawing, tooth, (255,), shift=SHIFT)


@cache
def lip_and_chin_moves() -> Float:
    """Of the upper lip's edge and the chin, per unit of each blendshape, ``[52, 4, 3]``."""
    return face_geometry().shape_from_expression[:, [UPPER_LIP, *CHIN]]


@cache
def rows(row: Row) -> tuple[Float, Float]:
    """Outlines of the upper and the lower teeth about the resting upper lip's inner edge, canonical units."""
    mean = face_geometry().mean
    unit_mm = _IRIS_DISTANCE_MM / float(np.linalg.norm(mean[_IRISES[0]] - mean[_IRISES[1]]))
    edge = row.shown_mm
    upper = _row(_UPPER_WIDTHS_MM, _UPPER_CROWNS_MM, row, edge_mm=edge, up=-1.0)
    low = edge - _OVERBITE_MM + row.freeway_mm
    lower = _row(_LOWER_WIDTHS_MM, _LOWER_CROWNS_MM, row, edge_mm=low, up=1.0)
    upper[..., 2] += _BEHIND_LIP_MM
    lower[..., 2] += _BEHIND_LIP_MM + _OVERJET_MM
    return (upper / unit_mm).astype(np.float32), (lower / unit_mm).astype(np.float32)


def _row(
    widths_mm: tuple[float, ...], crowns_mm: tuple[float, ...], row: Row, *, edge_mm: float, up: float
) -> Float:
    """Outlines from the back of one side to the back of the other, ``[T, 8, 3]``; ``up``: the gum's direction in y."""
    ends = np.cumsum((0.0, *widths_mm))
    sides = zip(ends, ends[1:], crowns_mm, strict=False)
    half = [_tooth(a, b, crown, edge_mm, up, row) for a, b, crown in sides]
    other = [tooth * np.array([-1.0, 1.0, 1.0]) for tooth in half]
    return np.stack([*half[::-1], *other])


def _tooth(start_mm: float, end_mm: float, crown_mm: float, edge_mm: float, up: float, row: Row) -> Float:
    """One outline along the arch: a box with rounded corners, narrower at the gum."""
    width = end_mm - start_mm
    centre = (start_mm + end_mm) / 2
    flat, round_, gum = (0.38, 0.05, 0.30) if row.worn else (0.32, 0.12, 0.25)
    along = np.array([-0.5, -flat, flat, 0.5, 0.46, gum, -gum, -0.46]) * (1 - row.gap)
    height = np.array([round_, 0.0, 0.0, round_, 0.75, 1.0, 1.0, 0.75])
    x = _across((centre + along * width).astype(np.float32))
    return np.stack([x, edge_mm + up * height * crown_mm, x**2 / _ARCH_MM], axis=1)


def _across(arc_mm: Float) -> Float:
    """x of a length along the parabola, by its inverse table."""
    x = np.linspace(-40.0, 40.0, 1601)
    step = np.hypot(1.0, 2 * x / _ARCH_MM) * (x[1] - x[0])
    length = np.cumsum(step) - np.cumsum(step)[800]
    return np.interp(arc_mm, length, x).astype(np.float32)
