"""Separate a person from the background of a still picture.

MediaPipe's selfie segmentation (Apache-2.0) gives the silhouette at 256 pixels. A guided filter
(He, Sun and Tang, "Guided image filtering", ECCV 2010) moves its edge to the picture's own edges.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mimicam.engine.maths import smoothstep
from mimicam.engine.types import Float, Image

if TYPE_CHECKING:
    from mimicam.engine.backends.openvino import OpenVinoNetwork

_NETWORK = Path(__file__).parents[1] / "assets" / "person" / "selfie_segmentation.onnx"
_NET_PX = 256
_REGION = 4.4
"""Side of the square that the network reads, in heights of the face: the picture around the crop as
far as it can move (2.2 crop sides)."""
_GUIDE_PX = 256
"""Longest side at which the filter's coefficients are computed (He and Sun, "Fast guided filter",
2015). They are applied at the picture's full size."""
_RADIUS = 0.012
"""Radius of the guided filter, in sides of the region."""
_SMOOTHNESS = 2e-4
"""Variance of a colour, 0..1 squared, below which the filter treats an area as flat."""
_RIM = 0.02
"""Distance from the network's silhouette within which the filter decides, in sides of the
region."""
_LOW, _HIGH = 0.2, 0.75
"""Opacities that become 0 and 1. What the network is unsure of is rather background than person."""
_LEAST, _MOST = 0.02, 0.35
"""The same in a stream. Lost hair would come and go, so what is unsure is rather person."""
_HOLE = 2e-4
"""Largest hole that is filled, as a share of the region. An earring's is kept."""
_MIN_FACE = 0.9
"""Least share of the face inside a usable matte."""
_MAX_UNSURE = 0.25
"""Largest area of a usable matte that is neither person nor background, as a share of the
person's."""
_MIN_BACKGROUND = 0.03
"""Least share of background in the region. With less, nothing could be held still."""
_LOCK = threading.Lock()
"""Serialises the network, since all callers share it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonMatte:
    """Opacity of a person in a picture, or why there is none."""

    opacity: Float | None
    """``[H, W]`` in 0..1; 0 away from the face, where nothing moves. None: not usable."""
    problem: str = ""
    """Why the matte is not usable, for a log line."""


class PersonFinder:
    """Finds the person in pictures of a stream, at the network's own size. Not thread-safe."""

    def __init__(self) -> None:
        self._run = _open()
        self._input = np.empty((1, _NET_PX, _NET_PX, 3), np.float32)

    def __call__(self, picture: Image) -> Float:
        """Return the opacity of the person in a square picture, ``[256, 256]`` in 0..1."""
        small = cv2.resize(picture, (_NET_PX, _NET_PX), interpolation=cv2.INTER_AREA)
        np.multiply(small, np.float32(1 / 255), out=self._input[0])
        found: Float = self._run(self._input)[0][0, :, :, 0].astype(np.float32, copy=False)
        rough: Float = (found - np.float32(_LEAST)) * np.float32(1 / (_MOST - _LEAST))
        return smoothstep(rough)


def person_matte(picture: Image, face: Float) -> PersonMatte:
    """Return the opacity of the person whose face this is.

    Args:
        picture: RGB uint8 ``[H, W, 3]``.
        face: points of the face ``[N, 2]``, image pixels. Their hull belongs to the person.
    """
    rows, columns = _region(picture, face)
    part = np.ascontiguousarray(picture[rows, columns])
    hull = cv2.convexHull((face - (columns.start, rows.start)).round().astype(np.int32))
    rough = _segment(part)
    problem = _problem(rough, hull)
    if problem:
        return PersonMatte(opacity=None, problem=problem)
    opacity = np.zeros(picture.shape[:2], np.float32)
    opacity[rows, columns] = _one_piece(_refined(rough, part), hull)
    return PersonMatte(opacity=opacity)


def _region(picture: Image, face: Float) -> tuple[slice, slice]:
    """Return rows and columns of the square around the face, as far as the picture goes."""
    low, high = face.min(axis=0), face.max(axis=0)
    half, centre = _REGION / 2 * max(high[1] - low[1], 1.0), (low + high) / 2
    first = np.maximum(np.floor(centre - half), 0).astype(int)
    last = np.minimum(np.ceil(centre + half), picture.shape[1::-1]).astype(int)
    # At least a pixel, also of a face at the picture's edge.
    first = np.minimum(first, np.array(picture.shape[1::-1]) - 1)
    last = np.maximum(last, first + 1)
    return slice(int(first[1]), int(last[1])), slice(int(first[0]), int(last[0]))


@cache
def _network() -> OpenVinoNetwork:
    return _open()


def _open() -> OpenVinoNetwork:
    # Imported when it is used: the models that import this also train where there is no OpenVINO.
    from mimicam.engine.backends.openvino import OpenVinoNetwork

    return OpenVinoNetwork(_NETWORK, threads=1, name="the person segmentation network")


def _segment(part: Image) -> Float:
    """Return the network's opacity at the size of the part."""
    small = cv2.resize(part, (_NET_PX, _NET_PX), interpolation=cv2.INTER_AREA)
    with _LOCK:
        # Copied inside the lock: the output is a view that the next caller overwrites.
        found = _network()(small[None] * np.float32(1 / 255))[0][0, :, :, 0].copy()
    wide = cv2.resize(found, part.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(wide, 0.0, 1.0, out=wide)


def _problem(rough: Float, hull: np.ndarray) -> str:
    """Return why a matte is not usable, or an empty string."""
    face = np.zeros(rough.shape, np.uint8)
    cv2.fillConvexPoly(face, hull, 1)
    inside = float((rough[face == 1] > 0.5).mean()) if face.any() else 0.0
    if inside < _MIN_FACE:
        return f"only {inside:.0%} of the face is found to be a person's"
    person = max(float((rough >= 0.9).mean()), 1e-6)
    unsure = float(((rough > 0.1) & (rough < 0.9)).mean())
    if unsure > _MAX_UNSURE * person:
        return f"the silhouette is unclear ({unsure / person:.0%} of the person's area)"
    if float((rough < 0.1).mean()) < _MIN_BACKGROUND:
        return "no background is seen"
    return ""


def _refined(rough: Float, guide: Image) -> Float:
    """Move the silhouette to the picture's edges; only near it."""
    side = max(rough.shape)
    filtered = _guided(guide, rough, radius=_RADIUS * side)
    opacity = np.clip((filtered - _LOW) / (_HIGH - _LOW), 0.0, 1.0)
    reach = 2 * max(round(_RIM * side), 1) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    person = (rough > 0.5).astype(np.uint8)
    # Beyond the rim the network decides: the filter would follow patterns of cloth and walls.
    opacity[cv2.dilate(person, disc) == 0] = 0.0
    opacity[cv2.erode(person, disc) == 1] = 1.0
    result: Float = smoothstep(opacity.astype(np.float32))
    return result


def _guided(guide: Image, values: Float, *, radius: float) -> Float:
    """Filter values so that their edges follow the guide's colours."""
    height, width = values.shape
    scale = min(1.0, _GUIDE_PX / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    kernel = (2 * max(round(radius * scale), 1) + 1,) * 2
    colours = cv2.resize(guide, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)

    def mean(image: Float) -> Float:
        return cv2.boxFilter(image, -1, kernel)

    centre, level = mean(colours), mean(small)
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    spread = np.empty((*small.shape, 3, 3), np.float32)
    for i, j in pairs:
        spread[..., i, j] = mean(colours[..., i] * colours[..., j]) - centre[..., i] * centre[..., j]
        spread[..., j, i] = spread[..., i, j]
    # Regularises flat areas, whose covariance is singular (He et al., "Guided image filtering").
    spread += _SMOOTHNESS * np.eye(3, dtype=np.float32)
    along = mean(colours * small[..., None]) - centre * level[..., None]
    slope = np.linalg.solve(spread, along[..., None])[..., 0].astype(np.float32)
    offset = level - (slope * centre).sum(axis=2)
    line = cv2.resize(mean(np.dstack([slope, offset])), (width, height))
    full = guide.astype(np.float32) / 255
    result: Float = (line[..., :3] * full).sum(axis=2) + line[..., 3]
    return result


def _one_piece(opacity: Float, hull: np.ndarray) -> Float:
    """Drop everything that does not hang together with the face, and fill small holes."""
    solid = (opacity > 0.5).astype(np.uint8)
    face = np.zeros_like(solid)
    cv2.fillConvexPoly(face, hull, 1)
    solid |= face
    pieces = cv2.connectedComponents(solid)[1]
    # The piece that holds most of the face: the hull itself may touch others.
    own = (pieces == np.bincount(pieces[face == 1]).argmax()).astype(np.uint8)
    _, holes, facts, _ = cv2.connectedComponentsWithStats(1 - own)
    small = np.flatnonzero(facts[:, cv2.CC_STAT_AREA] < _HOLE * own.size)
    filled = np.isin(holes, small[small > 0])
    # The soft edge reaches a little beyond the solid piece.
    reach = 2 * max(round(0.5 * _RIM * max(own.shape)), 1) + 1
    near = cv2.dilate(own, np.ones((reach, reach), np.uint8))
    kept = np.where(near == 1, opacity, np.float32(0.0))
    kept[filled | (face == 1)] = 1.0
    return kept
