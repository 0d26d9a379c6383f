"""Paste an edited face into its frame: only what moves or opens changes.

The frame's own pixels are moved along the flow at their own resolution. A window inside the face's
outline ends the motion softly, so there is no border that would have to be blended: the warp is
continuous, and outside the window the frame's pixels are kept as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from mimicam.engine.editing.occlusion import Occlusion
from mimicam.engine.editing.person import Moment
from mimicam.engine.face.geometry import place
from mimicam.engine.maths import smoothstep
from mimicam.engine.models.compact.conditioning import CONTROL
from mimicam.engine.types import CropBox, Float, Image, WarpFields

_CELLS = 64
"""Side of the window's map over the crop, cells."""
_MARGIN, _PER_MOTION = 0.02, 1.5
"""Crop units that the window reaches beyond the outline, and more per crop unit by which the
outline itself moves. Less than 1 would fold what lies beside a chin that opens."""
_FEATHER = 0.12
"""Crop units. Width of the window's ramp inside its edge."""
_LEAST, _FULL = 0.003, 0.01
"""Crop units. Motion of the landmarks below which nothing changes nearby, and from which the edit
shows fully: 0.4 and 1.3 pixels of 256."""
_NEAR = (0.06, 0.18)
"""Crop units. Distances from a moving landmark up to which an edit shows fully, and from which it
does not show."""
_NOTHING = 1 / 512
"""Opacity that cannot change a pixel by a grey level."""
_SKIN = slice(468)
"""Landmarks of the skin; the irises follow them."""
_OPENINGS = [[82, 87], [13, 14], [312, 317], [159, 145], [386, 374]]
"""Upper and lower landmarks of the lips and lids: what opens between them moves too."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """Part of a frame that an edit may change."""

    opacity: Float
    """``[C, C]`` over the crop in 0..1: share of the edit that is applied."""
    box: CropBox


def window_of(moment: Moment) -> Window:
    """Return the window of a moment's edit."""
    before, after = (place(face.shape, face.pose) for face in (moment.source, moment.target))
    return edit_window(moment.box, before, after, moment.share, moment.others, moment.occlusion)


def edit_window(
    box: CropBox,
    before: Float,
    after: Float,
    share: float = 1.0,
    others: Sequence[Float] = (),
    occlusion: Occlusion | None = None,
) -> Window:
    """Return the window of an edit.

    Args:
        box: the crop.
        before: the source's landmarks ``[478, 3]``, crop space.
        after: the target's landmarks, alike.
        share: factor on the opacity, to fade the edit in and out.
        others: landmarks of other people's faces, alike; the window does not reach into them.
        occlusion: what lies in front of the face; its pixels stay.
    """
    moved = np.linalg.norm((after - before)[:, :2], axis=1)
    opacity = np.float32(share) * _outline(before, after, moved)
    for other in others:
        # Another person's face in front keeps its pixels, with a soft border.
        opacity *= 1 - smoothstep(_distance(other) / np.float32(_FEATHER) + 1)
    if occlusion is not None:
        opacity *= 1 - occlusion.mask(before, _CELLS).ravel()
    inside = opacity > 0
    opacity[inside] *= _activity(_cells()[inside], after, moved)
    return Window(opacity=opacity.reshape(_CELLS, _CELLS), box=box)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edited:
    """A frame with an edited part."""

    image: Image
    """uint8 ``[H, W, 3]``; outside of the part it equals the source's."""
    rows: slice
    """Rows of the part that the edit may change."""
    columns: slice
    """Columns of that part."""
    opacity: Float
    """Share of the edit in the part, 0..1. Pixels with 0 equal the source's."""


def paste_face(frame: Image, fields: WarpFields, window: Window, out: Image | None = None) -> Edited | None:
    """Return the edited frame; None: the window does not reach into it.

    Args:
        frame: uint8 ``[H, W, 3]``, not changed.
        fields: generated for the crop of the window's box.
        window: see `edit_window`.
        out: receives the edited frame; None makes a new one.
    """
    part = _part(window, frame.shape)
    if part is None:
        return None
    place = _Place(window.box, part)
    opacity = place.enlarge(window.opacity)
    picture = _moved(frame, fields, opacity, place)
    visible = 1.0 - (1.0 - place.enlarge(fields.visibility)) * opacity
    painted = place.enlarge(fields.inpaint, cv2.INTER_CUBIC)
    # OpenCV's blend runs in C over three channels; NumPy would allocate three more pictures.
    blended = cv2.blendLinear(picture, painted, np.ascontiguousarray(visible), 1.0 - visible)
    rows, columns = part
    keep = opacity <= _NOTHING
    opacity[keep] = 0.0
    blended[keep] = frame[rows, columns][keep]
    out = np.empty_like(frame) if out is None else out
    np.copyto(out, frame)
    out[rows, columns] = blended
    return Edited(image=out, rows=rows, columns=columns, opacity=opacity)


class _Place:
    """Part of a frame, and how maps over the crop lie on it."""

    def __init__(self, box: CropBox, part: tuple[slice, slice]) -> None:
        self._box, self.side_px = box, box.size_px
        rows, columns = part
        self.left, self.top = columns.start, rows.start
        self.size = (columns.stop - columns.start, rows.stop - rows.start)

    def enlarge(self, map_over_crop: np.ndarray, how: int = cv2.INTER_LINEAR) -> np.ndarray:
        """Resample a map over the crop at the pixels of the part."""
        scale = len(map_over_crop) / self._box.size_px
        left, top = self.left - self._box.x_px, self.top - self._box.y_px
        matrix = np.array(
            [[scale, 0, scale * (left + 0.5) - 0.5], [0, scale, scale * (top + 0.5) - 0.5]], np.float64
        )
        return cv2.warpAffine(
            map_over_crop,
            matrix,
            self.size,
            flags=how | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


def _moved(frame: Image, fields: WarpFields, opacity: Float, place: _Place) -> Image:
    """Return the frame's pixels of a part, moved along the flow as far as the window allows."""
    offsets = place.enlarge(fields.flow)
    # One crop unit is half a crop side.
    offsets *= (opacity * np.float32(place.side_px / 2))[:, :, None]
    # `WARP_RELATIVE_MAP` adds the position inside the part, so add its corner.
    offsets += np.array([place.left, place.top], np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_RELATIVE_MAP
    return cv2.remap(frame, offsets, None, flags, borderMode=cv2.BORDER_REPLICATE)


def _part(window: Window, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Return rows and columns of the frame that the window covers; None: it changes nothing."""
    covered = window.opacity > 0
    found = [np.flatnonzero(covered.any(axis=axis)) for axis in (1, 0)]
    if not found[0].size:
        return None
    cell = window.box.size_px / len(covered)
    # One cell more on each side below, since enlarging interpolates between cells.
    corners = (window.box.y_px, window.box.x_px)
    part = []
    for cells, corner, size in zip(found, corners, shape[:2], strict=True):
        first = max(int(corner + (cells[0] - 1) * cell), 0)
        last = min(int(np.ceil(corner + (cells[-1] + 2) * cell)), size)
        if first >= last:
            return None
        part.append(slice(first, last))
    return part[0], part[1]


def _outline(before: Float, after: Float, moved: Float) -> Float:
    """Return for each cell 1 inside the face, falling to 0 at the end of its margin."""
    edge = cv2.convexHull(before[_SKIN, :2].astype(np.float32), returnPoints=False).ravel()
    margin = _MARGIN + _PER_MOTION * float(moved[edge].max())
    distance = _distance(np.concatenate([before[_SKIN], after[_SKIN]]))
    opacity: Float = smoothstep((distance + np.float32(margin)) / np.float32(_FEATHER))
    return opacity


def _distance(points: Float) -> Float:
    """Return each cell's distance to the sides of the points' convex outline, positive inside.

    The smallest of the distances is exact inside, and it is smooth in time.
    """
    hull = cv2.convexHull(points[:, :2].astype(np.float32))[:, 0]
    along = np.roll(hull, -1, axis=0) - hull
    inward = np.stack([-along[:, 1], along[:, 0]], axis=1)
    inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-6)
    # OpenCV's hull may run either way round.
    if float(((hull.mean(axis=0) - hull) * inward).sum()) < 0:
        inward = -inward
    distance: Float = (_cells() @ inward.T - (hull * inward).sum(axis=1)).min(axis=1)
    return distance


def _activity(cells: Float, after: Float, moved: Float) -> Float:
    """Return 1 for cells ``[N, 2]`` near landmarks that move, falling to 0 with the distance."""
    gate = smoothstep((moved - np.float32(_LEAST)) / np.float32(_FULL - _LEAST))
    between = [after[pair, :2].mean(axis=0) for pair in _OPENINGS]
    points = np.concatenate([after[CONTROL, :2], np.array(between, np.float32)])
    gates = np.concatenate([gate[CONTROL], [gate[pair].max() for pair in _OPENINGS]]).astype(np.float32)
    points, gates = points[gates > 0], gates[gates > 0]
    # |a - b|^2 expanded: one matrix product instead of an array of all differences.
    square = (cells**2).sum(axis=1)[:, None] - 2 * cells @ points.T + (points**2).sum(axis=1)
    # The gate comes before the distance, so that the border is equally soft around all motion.
    near = smoothstep((_NEAR[1] - np.sqrt(np.maximum(square, 0))) / np.float32(_NEAR[1] - _NEAR[0]))
    # A soft union: between two landmarks that move, the largest share alone would dip.
    activity: Float = 1 - np.prod(1 - near * gates, axis=1)
    return activity


@cache
def _cells() -> Float:
    """Return the centres of the cells in crop space, ``[C * C, 2]``, row by row."""
    axis = (np.arange(_CELLS, dtype=np.float32) + 0.5) * (2 / _CELLS) - 1
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
