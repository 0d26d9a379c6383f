"""Hair and clothes: grid surfaces laid around a head.

Space: head, cm. Shape letters: S = rows, A = columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimicam.training.synthetic.mesh import HEAD_CENTRE, above_hairline
from mimicam.training.synthetic.model import FaceModel, Float, Int

HAIR_GRID = (28, 81)
BODY_GRID = (18, 49)
_CROWN_TILT_RAD = 0.55
_EAR_BOX = np.array([[6.4, -4.0, -5.0], [99.0, 6.3, 3.2]], np.float32)


@dataclass(frozen=True, kw_only=True)
class HairShape:
    """A hair style. Lengths in cm, angles in rad."""

    thickness: float = 0.9
    """Volume over the scalp."""
    hairline: float = 0.0
    """Shift of the line on the forehead: positive recedes, negative is a fringe."""
    length: float = 0.0
    """Length of hair below the head at the sides and the back; 0 is short hair."""
    edge: float = 0.15
    """Thickness at the hairline, as a share of the volume."""
    parting: float = 0.0
    """Sideways shift of the crown, -1..1."""
    wave: float = 0.0
    """Amplitude of waves."""
    open_front: float = 0.85
    """Azimuth at which hanging hair begins."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A grid of points with normals, tangents along its rows, and texture coordinates."""

    vertices: Float
    """``[S * A, 11]``: position, normal, tangent, uv."""


def grid_triangles(rows: int, columns: int) -> Int:
    """Return the triangles ``[2 * (rows - 1) * (columns - 1), 3]`` of a row-major grid."""
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    lower = np.stack([first, first + columns, first + 1], 1)
    upper = np.stack([first + 1, first + columns, first + columns + 1], 1)
    return np.concatenate([lower, upper]).astype(np.int32)


def _surface(points: Float) -> Surface:
    """Add normals by differences; columns wrap around."""
    along = np.gradient(points, axis=0)
    around = np.roll(points, -1, 1) - np.roll(points, 1, 1)
    # The first and last column are the same place: take the difference across the seam.
    around[:, [0, -1]] = (points[:, 1] - points[:, -2])[:, None]
    normal = np.cross(along, around)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True) + 1e-9
    along /= np.linalg.norm(along, axis=2, keepdims=True) + 1e-9
    rows, columns = points.shape[:2]
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    parts = [points, normal, along, u[..., None], v[..., None]]
    return Surface(vertices=np.concatenate(parts, 2).reshape(-1, 11).astype(np.float32))


class HairRig:
    """Fits a smooth scalp to a person's head and lays hair on it."""

    def __init__(self, model: FaceModel) -> None:
        rest = model.neutral - HEAD_CENTRE
        # Ears stick out of the scalp, and would pull its smooth fit outwards.
        ear = ((np.abs(rest) * [1, 0, 0] + (rest + HEAD_CENTRE) * [0, 1, 1]) >= _EAR_BOX[0]).all(1)
        ear &= model.neutral[:, 1] < _EAR_BOX[1, 1]
        outer = np.isin(
            np.arange(len(rest)),
            np.concatenate([model.material_vertices(n) for n in ("M_Face", "M_BackHead")]),
        )
        self._scalp = np.flatnonzero(outer & (above_hairline(rest) > -0.12) & ~ear & (rest[:, 1] > -9.5))
        directions = rest[self._scalp] / np.linalg.norm(rest[self._scalp], axis=1, keepdims=True)
        basis = _basis(directions)
        # The ridge keeps directions without scalp vertices from getting arbitrary radii.
        ridge = basis.T @ basis + 0.05 * np.eye(basis.shape[1])
        self._fit = np.linalg.solve(ridge, basis.T).astype(np.float32)

    def lay(self, neutral: Float, shape: HairShape) -> Surface:
        """Lay hair of this shape on the head ``[V, 3]``."""
        radii = np.linalg.norm(neutral[self._scalp] - HEAD_CENTRE, axis=1)
        coefficients = self._fit @ radii
        theta, directions = _strands(shape)
        on_head = (_basis(directions.reshape(-1, 3)) @ coefficients).reshape(directions.shape[:2])
        points = HEAD_CENTRE + directions * (on_head + _volume(theta, shape))[..., None]
        return _surface(_hang(points, directions, shape))


def _basis(d: Float) -> Float:
    """Compute monomials of a direction up to degree 4."""
    x, y, z = d[:, 0], d[:, 1], d[:, 2]
    terms = [x**i * y**j * z**k for i in range(0, 5, 2) for j in range(5) for k in range(5) if i + j + k <= 4]
    return np.stack(terms, 1).astype(np.float32)


def _strands(shape: HairShape) -> tuple[Float, Float]:
    """Compute fractions along the strands ``[S, A]`` and unit directions ``[S, A, 3]`` from crown
    to hairline."""
    rows, columns = HAIR_GRID
    tilt, lean = _CROWN_TILT_RAD, 0.35 * shape.parting
    pole = np.array([np.sin(lean), np.cos(tilt) * np.cos(lean), -np.sin(tilt) * np.cos(lean)])
    side = np.cross(pole, [0, 0, 1.0])
    side /= np.linalg.norm(side)
    front = np.cross(side, pole)
    turn = np.linspace(-np.pi, np.pi, columns)
    outward = np.cos(turn)[:, None] * front - np.sin(turn)[:, None] * side
    search = np.linspace(0.05, 2.9, 140)
    rays = np.cos(search)[:, None, None] * pole + np.sin(search)[:, None, None] * outward
    # The hairline moves at the front only.
    lift = shape.hairline * np.clip(rays[..., 2], 0, 1)
    below = above_hairline(rays) < lift
    end: Float = search[np.where(below.any(0), below.argmax(0), len(search) - 1)]
    end = _smooth(end)
    fraction = np.linspace(0.02, 1, rows)[:, None] * np.ones(columns)
    theta = fraction * end
    directions = np.cos(theta)[..., None] * pole + np.sin(theta)[..., None] * outward
    return fraction.astype(np.float32), directions.astype(np.float32)


def _smooth(ring: Float) -> Float:
    padded = np.concatenate([ring[-4:], ring, ring[:4]])
    kernel = np.array([1, 3, 5, 3, 1]) / 13
    return np.convolve(padded, kernel, "same")[4:-4]


def _volume(fraction: Float, shape: HairShape) -> Float:
    taper = np.clip((1 - fraction) / 0.35, 0, 1)
    taper = taper * taper * (3 - 2 * taper)
    columns = np.arange(fraction.shape[1])
    clumps = 0.12 * np.sin(columns * 0.7) + 0.1 * np.sin(columns * 1.9 + 1.3)
    return np.asarray(
        0.1 + shape.thickness * (shape.edge + (1 - shape.edge) * taper) * (1 + clumps * fraction)
    )


def _hang(points: Float, directions: Float, shape: HairShape) -> Float:
    """Bend the strands of long hair: below the widest part of the head they fall."""
    if shape.length <= 0:
        return points
    rows = len(points)
    azimuth = np.abs(np.arctan2(directions[-1, :, 0], directions[-1, :, 2]))
    length = shape.length * _step(shape.open_front - 0.12, shape.open_front + 0.12, azimuth)
    out = points.copy()
    kept = int(rows * 0.45)
    t = np.linspace(0, 1, rows - kept)[:, None]
    root = points[kept - 1]
    flat = (root - HEAD_CENTRE)[:, [0, 2]]
    reach = np.linalg.norm(flat, axis=1) + 1e-6
    widest = np.maximum(reach, 9.4 + 0.8 * shape.thickness)  # over the ears
    # The tips of long hair fall inwards again.
    tip_pull = 0.6 + 0.03 * shape.length
    swell = reach + (widest - reach) * np.sin(np.clip(t * 2.0, 0, 1) * np.pi / 2) - tip_pull * t * t
    wave = shape.wave * np.sin(t * 11 + np.arange(points.shape[1]) * 0.35) * t
    # A strand falls towards where the hairline ends below it: in front of the ear at the temples.
    away = flat / reach[:, None]
    away = away + (_unit_rows(directions[-1][:, [0, 2]]) - away) * _step(0.0, 0.45, t)[..., None]
    across = _unit_rows(away) * (swell + wave)[..., None]
    tip = np.minimum(points[-1, :, 1], 2.0) - length
    down = root[:, 1] + (tip - root[:, 1]) * t
    hanging = np.stack([across[..., 0], down, across[..., 1]], 2)
    fall = _step(0.02, 0.3, length)[None, :, None]
    out[kept:] = points[kept:] * (1 - fall) + hanging * fall
    return out


def _unit_rows(v: Float) -> Float:
    return np.asarray(v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-6))


def _step(low: float, high: float, x: Float) -> Float:
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray((t * t * (3 - 2 * t)).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class BodyShape:
    """Shape of clothed shoulders; lengths in cm."""

    width: float = 21.0
    """Half the width at the shoulders."""
    slope: float = 5.0
    """Height of the neck above the shoulders."""
    collar: float = 0.0
    """Rise of the neckline."""
    neckline: float = 2.0
    """Depth of the cut at the front of the neckline."""


def lay_body(shape: BodyShape) -> Surface:
    """Lay shoulders and chest around the model's neck, from the neckline outwards and down."""
    rows, columns = BODY_GRID
    angle = np.linspace(-np.pi, np.pi, columns)
    s = np.linspace(0, 1, rows)[:, None]
    across, ahead = np.sin(angle), np.cos(angle)
    spread = np.minimum(s / 0.6, 1.0)
    half_x = 6.9 + (shape.width - 6.9) * spread
    half_z = 7.1 + 3.4 * spread**0.8
    x = half_x * np.sign(across) * np.abs(across) ** 0.8
    z = half_z * np.sign(ahead) * np.abs(ahead) ** 0.8 - 2.8 + 1.0 * s
    front = np.clip(ahead, 0, 1)
    top = -10.9 + shape.collar - (2.1 + shape.neckline) * front**2
    y = (
        top
        - shape.slope * spread**1.5 * np.abs(across)
        - 4.0 * front * spread
        - 30 * np.maximum(s - 0.55, 0) ** 1.2
    )
    return _surface(np.stack([x, y, z], 2).astype(np.float32))
