"""Masks over the face's texture tile, for what is painted on the skin.

Pictures are ``[S, S]``, row 0 = v 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mimicam.training.synthetic.model import FaceModel, Float

Image = npt.NDArray[np.uint8]
SIZE = 1024
NOISE_SIZE = 256


@dataclass(frozen=True, kw_only=True)
class BrowShape:
    """Shape of a person's brows."""

    thickness: float = 1.0
    density: float = 1.0
    arch: float = 0.0
    """Lift of the middle, in lengths of the brow."""
    length: float = 1.0
    drop: float = 27.0
    """Distance below the model's brow landmarks, texture pixels. Measured with the face tracker on
    eight people: at 4 a neutral face has browInnerUp 0.67, at 28 it has 0.16. Only at 28 does the
    tracker see browDown (0.31)."""


def landmark_uv(model: FaceModel) -> Float:
    """Return the texture positions ``[68, 2]`` of the landmarks, in pixels of the tile."""
    faces = model.material_triangles("M_Face")
    place = dict(
        zip(model.triangles[faces].ravel().tolist(), model.triangle_uv[faces].ravel().tolist(), strict=True)
    )
    return model.uv[[place[int(v)] for v in model.landmarks]] * np.float32(SIZE)


def face_map(marks: Float) -> Image:
    """Draw ``[S, S, 4]``: lips, beard region, redness, shade around the eyes."""
    channels = [_lips(marks), _beard(marks), _redness(marks), _eye_shade(marks)]
    return np.stack(channels, 2)


def _spline(points: Float, closed_loop: bool, samples: int = 12) -> Float:
    """Interpolate ``[n, 2]`` points by Catmull-Rom splines."""
    if closed_loop:
        p = np.concatenate([points[-1:], points, points[:2]])
    else:
        p = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    # Each segment from p[1] to p[2] needs its two outer neighbours.
    t = np.linspace(0, 1, samples, endpoint=False)[:, None]
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    flat = curve.reshape(-1, 2)
    return flat if closed_loop else np.concatenate([flat, points[-1:]])


def _polygon(points: Float, blur: float) -> Image:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur))


def _lips(marks: Float) -> Image:
    return _polygon(_spline(marks[48:60], True), 3.0)


def _blob(centre: Float, radius: tuple[float, float]) -> Float:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    return np.asarray(np.exp(-(((x - centre[0]) / radius[0]) ** 2) - ((y - centre[1]) / radius[1]) ** 2))


def _beard(marks: Float) -> Image:
    nose, corner_r, corner_l = marks[33], marks[48], marks[54]
    upper = [
        marks[1],
        (marks[2] + corner_r) / 2,
        (marks[31] + corner_r) / 2,
        nose,
        (marks[35] + corner_l) / 2,
    ]
    outline = np.array(
        [*upper, (marks[14] + corner_l) / 2, marks[15], *marks[12:3:-1] + np.array([0, -40], np.float32)],
        np.float32,
    )
    mask = _polygon(outline, 14.0).astype(np.float32)
    # v grows upwards: no beard further than 110 texture pixels below the chin.
    mask[: int(marks[8, 1]) - 110] = 0
    mask = cv2.GaussianBlur(mask, (0, 0), 12)
    return np.asarray((mask * (1 - _lips(marks) / 255.0)).astype(np.uint8))


def _redness(marks: Float) -> Image:
    cheeks = [(marks[a] * 0.5 + marks[b] * 0.5) for a, b in ((41, 48), (46, 54))]
    red = sum(0.8 * _blob(c, (95.0, 75.0)) for c in cheeks) + 0.9 * _blob(marks[30], (55.0, 60.0))
    red = red + 0.35 * _blob(marks[8], (90.0, 50.0))
    return np.asarray(np.clip(255 * red, 0, 255).astype(np.uint8))


def _eye_shade(marks: Float) -> Image:
    eyes = [marks[36:42].mean(0), marks[42:48].mean(0)]
    shade = sum(_blob(e - np.array([0, 6], np.float32), (75.0, 48.0)) for e in eyes)
    return np.clip(255 * shade, 0, 255).astype(np.uint8)


def brow_map(marks: Float, shape: BrowShape, rng: np.random.Generator) -> Image:
    """Draw the opacity ``[S, S]`` of both brows, hair by hair."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for points, sign in ((marks[17:22][::-1], -1.0), (marks[22:27], 1.0)):
        _paint_brow(mask, _spline(points.astype(np.float32), False, 16), sign, shape, rng)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.6))


def _paint_brow(mask: Image, curve: Float, sign: float, shape: BrowShape, rng: np.random.Generator) -> None:
    """Draw one brow from its inner end outwards.

    Hairs rise at the inner end and lie along the curve outside.
    """
    count = int(330 * shape.density)
    # Position along the brow; hairs are densest near the inner third.
    t = rng.triangular(-0.14, 0.3, shape.length, count)
    half = (
        shape.thickness
        * 13
        * (0.55 + 0.6 * np.sin(np.clip(t, 0, 1) * 2.2 + 0.6))
        * np.clip(1.15 - t, 0.15, 1)
    )
    half *= np.clip((t + 0.16) / 0.16, 0.25, 1)
    across = rng.uniform(-1, 1, count) * half
    at = np.clip(t, 0, 1) * (len(curve) - 1)
    spine = np.stack([np.interp(at, np.arange(len(curve)), curve[:, i]) for i in range(2)], 1)
    # Hairs before the first landmark continue the brow's line inwards.
    spine[:, 0] += sign * np.minimum(t, 0) * 110
    spine[:, 1] += across - shape.drop + shape.arch * 60 * np.sin(np.clip(t, 0, 1) * np.pi)
    # From nearly upright at the inner end to along the curve at the outer end.
    lean = np.deg2rad(rng.normal(62 - 70 * np.clip(t, 0, 1), 10))
    hair = np.stack([sign * np.cos(lean), np.sin(lean) - across / (half + 1e-6) * 0.35], 1)
    tips = spine + hair * rng.uniform(14, 26, count)[:, None]
    segments = np.round(np.stack([spine, tips], 1) * 16).astype(np.int32)
    cv2.polylines(mask, list(segments), False, 255, 2, cv2.LINE_AA, 4)


def noise_texture(seed: int = 7) -> Image:
    """Make tileable noise ``[256, 256, 4]``: coarse, middle, fine and white, each over 0..255."""
    rng = np.random.default_rng(seed)
    white = rng.normal(size=(4, NOISE_SIZE, NOISE_SIZE)).astype(np.float32)
    layers = []
    for plane, sigma in zip(white, (18.0, 6.0, 2.0, 0.0), strict=True):
        smooth = _wrap_blur(plane, sigma) if sigma else plane
        layers.append(np.clip(127.5 + 50 * (smooth - smooth.mean()) / smooth.std(), 0, 255))
    return np.stack(layers, 2).astype(np.uint8)


def _wrap_blur(plane: Float, sigma: float) -> Float:
    # Blurring a 3 by 3 tiling wraps around, so the texture has no seams.
    wide = np.tile(plane, (3, 3))
    blurred = cv2.GaussianBlur(wide, (0, 0), sigma)
    return np.asarray(blurred[NOISE_SIZE : 2 * NOISE_SIZE, NOISE_SIZE : 2 * NOISE_SIZE])
