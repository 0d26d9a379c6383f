"""Position of a head's teeth, whether the portrait shows them or not.

A portrait with closed lips does not show its teeth, and the mean over many people's teeth is a grey
band. But the upper teeth are fixed to the skull and the lower ones to the jaw. So two average rows
are placed in the head's own frame and drawn inside the lips, to guide the generator.

Lengths are those of an adult's dental arches in millimetres, scaled to the mean face by the
distance between its irises. The lower row's resting position was fitted to open mouths of the
training clips (`training/LOG.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from mimicam.engine.face.geometry import face_geometry, place
from mimicam.engine.models.compact.rasterise import MaskRasteriser, Part
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
"""Vertical overlap of the closed rows."""
_BEHIND_LIP_MM = 5.0
"""Distance of the upper row behind the lip."""
_OVERJET_MM = 2.5
"""Distance of the lower row behind the upper one."""
_ARCH_MM = 22.0
"""Width of the dental arch: a parabola ``z = x^2 / _ARCH_MM``."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Position and shape of the rows. The generator was trained on the default rows."""

    shown_mm: float = 2.0
    """Length of the upper row below the edge of the resting lip."""
    freeway_mm: float = 3.5
    """Gap between the rows of a resting face, whose lips are closed and whose jaw is not."""
    gap: float = 0.1
    """Gap between neighbouring teeth, as a share of a tooth's width."""
    worn: bool = False
    """Whether corners are worn, so that they are hardly rounded."""


def draw_teeth(target: MotionCode, lips_hh: Float) -> Float:
    """Return masks ``[2, size, size]`` in 0..1: upper and lower teeth inside the target's lips.

    Args:
        target: motion, whose shape and expression place jaw and skull.
        lips_hh: the inside of the lips, 0..1
            (`engine.models.compact.conditioning.draw_opening_masks`).
    """
    size = lips_hh.shape[0]
    out = np.empty((2, size, size), np.float32)
    paint_teeth(target, lips_hh, canvas=MaskRasteriser(size), out=out)
    return out


def paint_teeth(target: MotionCode, lips_hh: Float, *, canvas: MaskRasteriser, out: Float) -> None:
    """Draw the masks of `draw_teeth` into ``out``; ``canvas`` has the masks' size."""
    out.fill(0)
    part = _filled(lips_hh)
    if part is None:
        return
    for row, points in zip(out, teeth_points(target), strict=True):
        _paint_row(points, target.pose, canvas)
        canvas.average(row, part)
    upper, lower, lips = out[0][part], out[1][part], lips_hh[part]
    # The upper row covers the lower one, and the lips cover both.
    lower *= 1 - upper
    lower *= lips
    upper *= lips


def teeth_points(face: MotionCode) -> tuple[Float, Float]:
    """Return outlines of upper and lower teeth in the head's own frame, ``[T, P, 3]`` each."""
    upper, lower = batch_teeth_points(face.shape[None, UPPER_LIP], face.expression[None])
    return upper[0], lower[0]


def batch_teeth_points(lip_N3: Float, expression_NE: Float) -> tuple[Float, Float]:
    """Return the outlines of `teeth_points` of several faces, ``[N, T, P, 3]`` each.

    ``lip_N3``: their landmark `UPPER_LIP`, in the heads' own frames.
    """
    upper, lower = rows(Row())
    # The upper row stays with the skull, so remove the expression from the lip it hangs on.
    # A product for each face: one for all of them would round otherwise.
    moves = lip_and_chin_moves()
    moved = (expression_NE[:, None] @ moves.reshape(len(moves), -1)).reshape(-1, *moves.shape[1:])
    lip = lip_N3 - moved[:, 0]
    jaw = moved[:, 1:].mean(axis=1)
    return upper + lip[:, None, None], lower + (lip + jaw)[:, None, None]


def _filled(map_hh: Float) -> Part | None:
    """Return the smallest part outside of which the map is 0; None if it is 0 everywhere."""
    rows, columns = (np.flatnonzero(map_hh.max(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _paint_row(points_TP3: Float, pose: HeadPose, canvas: MaskRasteriser) -> None:
    placed = place(points_TP3.reshape(-1, 3), pose).reshape(points_TP3.shape)
    canvas.clear()
    for tooth in canvas.points(placed):
        canvas.fill_convex(tooth)


@cache
def lip_and_chin_moves() -> Float:
    """Return displacements of upper lip and chin per unit of each blendshape, ``[52, 4, 3]``."""
    return face_geometry().shape_from_expression[:, [UPPER_LIP, *CHIN]]


@cache
def rows(row: Row) -> tuple[Float, Float]:
    """Return outlines of upper and lower teeth about the resting upper lip, canonical units."""
    mean = face_geometry().mean
    unit_mm = _IRIS_DISTANCE_MM / float(np.linalg.norm(mean[_IRISES[0]] - mean[_IRISES[1]]))
    edge = row.shown_mm
    upper = _row(_UPPER_WIDTHS_MM, _UPPER_CROWNS_MM, row, edge_mm=edge, up=-1.0)
    low = edge - _OVERBITE_MM + row.freeway_mm
    lower = _row(_LOWER_WIDTHS_MM, _LOWER_CROWNS_MM, row, edge_mm=low, up=1.0)
    upper[..., 2] += _BEHIND_LIP_MM
    lower[..., 2] += _BEHIND_LIP_MM + _OVERJET_MM
    # From millimetres to canonical units.
    return (upper / unit_mm).astype(np.float32), (lower / unit_mm).astype(np.float32)


def _row(
    widths_mm: tuple[float, ...], crowns_mm: tuple[float, ...], row: Row, *, edge_mm: float, up: float
) -> Float:
    """Return outlines from the back of one side to the back of the other, ``[T, 8, 3]``.

    ``up``: direction of the gum in y.
    """
    ends = np.cumsum((0.0, *widths_mm))
    sides = zip(ends, ends[1:], crowns_mm, strict=False)
    half = [_tooth(a, b, crown, edge_mm, up, row) for a, b, crown in sides]
    other = [tooth * np.array([-1.0, 1.0, 1.0]) for tooth in half]
    return np.stack([*half[::-1], *other])


def _tooth(start_mm: float, end_mm: float, crown_mm: float, edge_mm: float, up: float, row: Row) -> Float:
    """Return one outline along the arch: a box with rounded corners, narrower at the gum."""
    width = end_mm - start_mm
    centre = (start_mm + end_mm) / 2
    flat, round_, gum = (0.38, 0.05, 0.30) if row.worn else (0.32, 0.12, 0.25)
    along = np.array([-0.5, -flat, flat, 0.5, 0.46, gum, -gum, -0.46]) * (1 - row.gap)
    height = np.array([round_, 0.0, 0.0, round_, 0.75, 1.0, 1.0, 0.75])
    x = _across((centre + along * width).astype(np.float32))
    return np.stack([x, edge_mm + up * height * crown_mm, x**2 / _ARCH_MM], axis=1)


def _across(arc_mm: Float) -> Float:
    """Convert arc length along the parabola to x, by a table."""
    x = np.linspace(-40.0, 40.0, 1601)
    step = np.hypot(1.0, 2 * x / _ARCH_MM) * (x[1] - x[0])
    # Arc length counted from x = 0, the middle of the table.
    length = np.cumsum(step) - np.cumsum(step)[800]
    return np.interp(arc_mm, length, x).astype(np.float32)
