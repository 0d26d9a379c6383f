"""The model's triangles in the form of the rasteriser: one vertex per (vertex, uv), and index
ranges per part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicam.training.synthetic.model import FaceModel, Float, Int

PARTS = {
    "skin": ("M_Face", "M_BackHead"),
    "mouth": ("M_GumsTongue", "M_Teeth"),
    "eyes": ("M_ScleraLeft", "M_ScleraRight"),
    "lashes": ("M_EyeLashes",),
}
"""Materials of each part that is drawn.

The irises lie behind the front of the scleras, so they are painted on these. The fluid, blend and
occlusion sheets need transparency, which a 256-pixel picture does not show."""

HEAD_CENTRE = np.array([0.0, 4.5, 0.0], np.float32)
"""Point, head space, cm, from which the hairline is described by direction."""

_HAIRLINE = np.array(
    [
        [0, 45],
        [24, 46],
        [36, 44],
        [46, 36],
        [54, 25],
        [61, 12],
        [67, 7],
        [73, 15],
        [97, 15],
        [112, 0],
        [126, -25],
        [180, -44],
    ],
    float,
)
"""Azimuth from the front and elevation of the hairline, degrees; measured on the rendered
template."""


@dataclass(frozen=True, kw_only=True)
class RenderMesh:
    """Static part of the head's vertex data. R = render vertices."""

    source: Int
    """``[R]`` the model vertex of each render vertex."""
    attributes: Float
    """``[R, 7]``: rest position xyz, tile uv, material index, angle above the hairline (rad)."""
    indices: dict[str, Int]
    """Part name to ``[n, 3]`` triangles over render vertices."""


def build_mesh(model: FaceModel) -> RenderMesh:
    """Split vertices at texture seams and sort the triangles by part."""
    drawn = [(part, model.material_triangles(name)) for part, names in PARTS.items() for name in names]
    faces = np.concatenate([t for _, t in drawn])
    material = np.repeat(model.triangle_material[faces], 3)
    # A vertex is split where it has several texture positions or materials.
    keys = np.stack([model.triangles[faces].ravel(), model.triangle_uv[faces].ravel(), material], 1)
    unique, corner = np.unique(keys, axis=0, return_inverse=True)
    corners = corner.reshape(-1, 3).astype(np.int32)
    part_of = np.concatenate([np.full(len(t), i) for i, (_, t) in enumerate(drawn)])
    names = [part for part, _ in drawn]
    # Only triangles that lie wholly below the clothes go.
    hidden = _under_clothes(model.neutral[unique[:, 0]])[corners].all(1)
    corners, part_of = corners[~hidden], part_of[~hidden]
    indices = {p: corners[np.isin(part_of, [i for i, n in enumerate(names) if n == p])] for p in PARTS}
    return RenderMesh(
        source=unique[:, 0].astype(np.int32), attributes=_attributes(model, unique), indices=indices
    )


def _attributes(model: FaceModel, unique: Int) -> Float:
    rest = model.neutral[unique[:, 0]]
    uv = model.uv[unique[:, 1]] % 1.0
    material = unique[:, 2]
    lashes = material == model.materials.index("M_EyeLashes")
    uv[lashes] = _lash_coordinates(rest[lashes], uv[lashes], _eye_centres(model))
    columns = [rest, uv, material[:, None], above_hairline(rest - HEAD_CENTRE)[:, None]]
    return np.concatenate(columns, 1).astype(np.float32)


def _eye_centres(model: FaceModel) -> Float:
    return np.stack([model.neutral[v].mean(0) for v in model.eye_vertices])


def _under_clothes(rest: Float) -> Float:
    """Find the model's own shoulders, which would poke through the clothes that replace them."""
    shoulder = (rest[:, 1] < -9.6) & (np.hypot(rest[:, 0], rest[:, 2] + 2.8) > 7.6) & (np.abs(rest[:, 0]) > 5)
    chest = (rest[:, 1] < -14.0) & (rest[:, 2] > 4.4)
    return np.asarray(shoulder | chest)


def _lash_coordinates(rest: Float, uv: Float, eyes: Float) -> Float:
    """Coordinates along the lid, and from root (0) to tip (1): the tip is the row farther from the
    eyeball."""
    # Lashes are 12 separate strips in a 2 by 6 texture atlas.
    sheet = (uv[:, 0] > 0.5).astype(int) * 6 + np.clip((uv[:, 1] * 6).astype(int), 0, 5)
    distance = np.linalg.norm(rest[:, None] - eyes[None], axis=2).min(1)
    out = np.empty_like(uv)
    for s in np.unique(sheet):
        mine = sheet == s
        low, high = uv[mine].min(0), uv[mine].max(0)
        out[mine] = (uv[mine] - low) / (high - low)
        t = out[mine, 1]
        # Some strips are stored upside down.
        if distance[mine][t > 0.5].mean() < distance[mine][t <= 0.5].mean():
            out[mine, 1] = 1 - t
    return out


def hairline_elevation(azimuth: Float) -> Float:
    """Elevation of the hairline in radians at azimuths (rad, 0 = front, either side)."""
    degrees = np.abs(np.rad2deg(azimuth))
    return np.asarray(np.deg2rad(np.interp(degrees, _HAIRLINE[:, 0], _HAIRLINE[:, 1])).astype(np.float32))


def above_hairline(offsets: Float) -> Float:
    """Angle above the hairline (rad, negative below) of offsets ``[..., 3]`` from the head's
    centre."""
    azimuth = np.arctan2(offsets[..., 0], offsets[..., 2])
    elevation = np.arctan2(offsets[..., 1], np.hypot(offsets[..., 0], offsets[..., 2]))
    return (elevation - hairline_elevation(azimuth)).astype(np.float32)
