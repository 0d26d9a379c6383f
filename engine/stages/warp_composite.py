"""Composite the warp fields of a generated face from the portrait's pixels, at the result's size.

The networks work at 256 pixels. The portrait usually has more, and it covers the crop's
surroundings. So the last warp of DPE's equation 5 samples the portrait itself. Moving parts stay as
sharp as the picture, and a moving head brings in pixels from outside the crop. Inpainted pixels
replace only what the portrait does not show: the inside of a mouth, closed lids, disoccluded skin.

Shape letters: S side of the networks' picture, h side of their flow, a side of the crop on the
canvas, in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.maths import smoothstep
from mimicam.engine.stages.still_background import PersonOverBackground
from mimicam.engine.stages.surroundings import BEYOND, EDGE, FADE, PortraitTexture
from mimicam.engine.types import Float, Image, WarpFields

_STILL_PX = 0.1
"""Canvas pixels. Motion below this is treated as none."""
_OPAQUE = 0.99
"""Visibility above which inpainting is skipped. The error is one grey level where both colours are
as close as skin and its shadow."""
_NEIGHBOURS = np.ones((3, 3), np.uint8)
_BANDS = 16
"""Number of horizontal bands of inpainting, each blended only as wide as it needs."""


class WarpComposite:
    """Composites one portrait's results at one size. Not thread-safe.

    The caller may keep each result.
    """

    def __init__(self, scene: PortraitTexture, crop_px: int) -> None:
        """Allocate the buffers; ``crop_px`` is S, the side of the networks' picture."""
        self._scene, self._crop_px, self._cells = scene, crop_px, crop_px // 2
        width, height = scene.size
        self._pool: BufferPool[np.uint8] = BufferPool((height, width, 3), np.uint8)
        self._behind = (
            None
            if scene.background is None
            else PersonOverBackground(scene.texture, scene.background, scene.margin)
        )
        self._moved = np.empty((height, width, 4), np.uint8)
        self._field = _Field(scene, self._cells)
        self._mask = np.empty((crop_px, crop_px), np.float32)
        self._edge = _edge(crop_px, beside=self._field.beside, above=self._field.above)
        self._paint = np.empty((scene.side, scene.side, 3), np.uint8)
        self._weights = np.empty((2, scene.side, scene.side), np.float32)
        self._least = np.empty((crop_px, crop_px), np.float32)

    def __call__(self, fields: WarpFields) -> Image:
        """Return the result, uint8 ``[height, width, 3]``."""
        out = self._pool.take()
        self._move(fields.flow, out)
        self._cover(self._visibility(fields), fields.inpaint, out)
        return out

    def _move(self, flow: Float, out: Image) -> None:
        """Warp the portrait's pixels along the flow, in the rectangle where anything moves."""
        field = self._field(flow)
        part = field.moving()
        # The still canvas fills what the moving rectangle does not overwrite.
        if part != field.whole or field.size != self._scene.size:
            np.copyto(out, self._scene.canvas)
            if self._behind is not None:
                self._behind.reset()
        if part is None:
            return
        y, x = part
        window = (
            slice(field.top + y.start, field.top + y.stop),
            slice(field.left + x.start, field.left + x.stop),
        )
        target = out[window]
        moved, offsets = self._moved[: len(target), : target.shape[1]], field.offsets(y, x)
        flags = cv2.INTER_LINEAR | cv2.WARP_RELATIVE_MAP
        # OpenCV samples four channels more than twice as fast as three.
        cv2.remap(self._scene.texture, offsets, None, flags, dst=moved, borderMode=cv2.BORDER_REPLICATE)
        cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB, dst=target)
        if self._behind is not None:
            self._behind(moved, window, out)

    def _visibility(self, fields: WarpFields) -> Float:
        """Return the warped portrait's opacity, ``[S, S]``.

        The networks' mask, raised near the crop's edge and where the portrait's pixels come from
        outside the crop.
        """
        mask = fields.visibility
        beyond = self._field.beyond(fields.flow)
        if beyond is not None:
            wide = cv2.resize(
                beyond, (self._crop_px, self._crop_px), dst=self._mask, interpolation=cv2.INTER_LINEAR
            )
            mask = np.maximum(mask, wide, out=self._mask)
        if self._edge is not None:
            mask = np.maximum(mask, self._edge, out=self._mask)
        return mask

    def _cover(self, mask: Float, painted: Image, out: Image) -> None:
        """Blend the inpainting over what the portrait does not show."""
        side, scene = self._scene.side, self._scene
        parts = list(self._inpainted(mask))
        if not parts:
            return
        warped, cover = self._weights
        if side == self._crop_px:
            np.copyto(warped, mask)
            paint = painted
        else:
            cv2.resize(mask, (side, side), dst=warped, interpolation=cv2.INTER_LINEAR)
            paint = cv2.resize(painted, (side, side), dst=self._paint, interpolation=cv2.INTER_LINEAR)
        crop = (slice(scene.top, scene.top + side), slice(scene.left, scene.left + side))
        canvas = out[crop]
        for part in parts:
            cv2.subtract(1.0, warped[part], dst=cover[part])
            if self._behind is not None:
                # Inpainting belongs to the person: the background behind it is known.
                opacity = self._behind.opacity[crop][part]
                cv2.multiply(cover[part], opacity, dst=cover[part], scale=1 / 255, dtype=cv2.CV_32F)
                cv2.subtract(1.0, cover[part], dst=warped[part])
            cv2.blendLinear(canvas[part], paint[part], warped[part], cover[part], dst=canvas[part])

    def _inpainted(self, mask: Float) -> Iterator[tuple[slice, slice]]:
        """Yield rows and columns of the crop that show inpainting, a band at a time."""
        side, cells = self._scene.side, self._crop_px
        # Erode by one cell, since enlarging the mask interpolates between neighbours.
        least = cv2.erode(mask, _NEIGHBOURS, dst=self._least)
        height = cells // _BANDS
        columns = least.reshape(_BANDS, height, cells).min(axis=1) < _OPAQUE
        for band, wanted in enumerate(columns):
            x = _span(wanted, side / cells, slice(0, side))
            if x is not None:
                first, last = (round(n * height * side / cells) for n in (band, band + 1))
                yield slice(first, last), x


class _Field:
    """Flow of one frame over the crop and a rim around it, in canvas pixels.

    The rim continues the flow at the crop's edge and fades it to rest. So hair and shoulders
    outside the crop follow the head without a seam.
    """

    def __init__(self, scene: PortraitTexture, cells: int) -> None:
        a = scene.side
        self._cell, self._cells = a / cells, cells
        self._known = tuple(map(np.float32, scene.known))
        self.beside, self.above = (_rim(extra, a, cells) for extra in (scene.left, scene.top))
        # Width of the rim in canvas pixels, and how much of it fits on the canvas.
        whole_x, whole_y = (round(n * self._cell) for n in (self.beside, self.above))
        kept_x, kept_y = min(whole_x, scene.left), min(whole_y, scene.top)
        self.left, self.top = scene.left - kept_x, scene.top - kept_y
        """Left and top edge of the field on the canvas, pixels."""
        self.size = (a + 2 * kept_x, a + 2 * kept_y)
        self.whole = (slice(0, self.size[1]), slice(0, self.size[0]))
        self._corner = (scene.margin + self.left, scene.margin + self.top)
        # The enlarged field has the whole rim; this is the part on the canvas.
        self._on_canvas = (
            slice(whole_y - kept_y, whole_y + a + kept_y),
            slice(whole_x - kept_x, whole_x + a + kept_x),
        )
        # Flow per cell. The crop's cells come from the network, the rim's are derived from them.
        self._small = np.zeros((cells + 2 * self.above, cells + 2 * self.beside, 2), np.float32)
        self._rims = [
            *_rims(self._small, self.beside, cells, axis=1), *_rims(self._small, self.above, cells, axis=0),
        ]  # fmt: skip
        self._full = np.empty((a + 2 * whole_y, a + 2 * whole_x, 2), np.float32)
        # Crop-space position of every second cell, for `beyond`.
        axis = (np.arange(0, cells, 2, dtype=np.float32) + 1.0) * (2.0 / cells) - 1.0
        self._own = np.stack(np.meshgrid(axis, axis), axis=-1)
        self._places = np.empty_like(self._own)
        self._offset, self._speed = np.empty_like(self._small), np.empty_like(self._small)
        self._planes = [np.empty(self._own.shape[:2], np.float32) for _ in range(5)]

    def __call__(self, flow: Float) -> _Field:
        """Load the flow ``[h, h, 2]`` of this frame, crop units, and fill the rim from it."""
        n, small = len(flow), self._small
        # One crop unit is half a crop side.
        pixels = (n * self._cell / 2,) * 2
        # OpenCV, since NumPy allocates 64 KB for an array that is not contiguous.
        own = small[self.above : self.above + n, self.beside : self.beside + n]
        cv2.multiply(flow, (*pixels, 0, 0), dst=own)
        # Repeat the flow of the crop's outermost cells into the rim, then scale it down outwards.
        for part, edge, fade in self._rims:
            np.copyto(part, edge)
            cv2.multiply(part, fade, dst=part)
        return self

    def moving(self) -> tuple[slice, slice] | None:
        """Return rows and columns of the field, pixels, outside of which all is still.

        None: nothing moves at all.
        """
        # If all four corners of the crop move, the head pose changed and no rectangle is still.
        corners = self._small[self.above :: self._cells - 1, self.beside :: self._cells - 1][:2, :2]
        if abs(corners).max(axis=2).min() > _STILL_PX:
            return self.whole
        speed = cv2.absdiff(self._small, (0.0, 0.0, 0.0, 0.0), dst=self._speed)
        rows, columns = speed.max(axis=(1, 2)), speed.max(axis=0).max(axis=1)
        y, x = (
            _span(found > _STILL_PX, self._cell, visible)
            for found, visible in zip((rows, columns), self._on_canvas, strict=True)
        )
        return None if y is None or x is None else (y, x)

    def offsets(self, y: slice, x: slice) -> Float:
        """Return the sampling offsets of one part of the field, ``[rows, columns, 2]``, pixels.

        An offset leads from a pixel's position in the part to the texture pixel that it shows.
        """
        # `WARP_RELATIVE_MAP` adds the position inside the part, so add only its corner.
        corner = (self._corner[0] + x.start, self._corner[1] + y.start, 0, 0)
        cv2.add(self._small, corner, dst=self._offset)
        cv2.resize(self._offset, self._full.shape[1::-1], dst=self._full, interpolation=cv2.INTER_LINEAR)
        return self._full[self._on_canvas][y, x]

    def beyond(self, flow: Float) -> Float | None:
        """Return how far pixels come from outside the crop but inside the picture, ``[h/2, h/2]``.

        Rises from 0 to 1 over `BEYOND`. None: all pixels come from the crop.
        """
        # The flow is smooth, so every second cell suffices.
        every = cv2.resize(flow, self._own.shape[1::-1], dst=self._places, interpolation=cv2.INTER_NEAREST)
        places = cv2.add(every, self._own, dst=self._places)
        if max(places.max(), -places.min()) <= 1.0:
            return None
        x, y, outside, inside, other = self._planes
        cv2.split(places, self._planes[:2])
        # Distance outside the crop, then distance inside the known picture. The smaller
        # of the two decides.
        left, top, right, bottom = self._known
        cv2.max(cv2.absdiff(x, 0.0, dst=outside), cv2.absdiff(y, 0.0, dst=other), dst=outside)
        np.subtract(outside, 1.0, out=outside)
        cv2.min(np.subtract(x, left, out=inside), np.subtract(right, x, out=other), dst=inside)
        cv2.min(inside, np.subtract(y, top, out=other), dst=inside)
        cv2.min(inside, np.subtract(bottom, y, out=other), dst=inside)
        found = cv2.min(outside, inside, dst=outside)
        np.multiply(found, 1 / BEYOND, out=found)
        return np.clip(found, 0.0, 1.0, out=found)


def _span(wanted: np.ndarray, cell: float, visible: slice) -> slice | None:
    """Return the span of the wanted cells in pixels, with one more cell on both sides.

    Counts from the start of ``visible`` and stays inside it. None: no cell is wanted.
    """
    found = np.flatnonzero(wanted)
    if not found.size:
        return None
    first, last = int((found[0] - 1) * cell), int(np.ceil((found[-1] + 2) * cell))
    first, last = max(first - visible.start, 0), min(last, visible.stop) - visible.start
    return slice(first, last) if first < last else None


def _rim(extra_px: int, side: int, cells: int) -> int:
    """Return the number of cells beyond the crop in which motion fades.

    ``extra_px``: width of the canvas beyond the crop.
    """
    least = min(int(np.ceil(extra_px * cells / side)), int(FADE * cells))
    # The field is enlarged as a whole, so choose the width nearest to whole pixels.
    return (
        min(range(least, least + 9), key=lambda n: abs(n * side / cells - round(n * side / cells)))
        if least
        else 0
    )


def _rims(field: Float, rim: int, cells: int, *, axis: int) -> Iterator[tuple[Float, Float, Float]]:
    """Yield for both sides of the crop: the rim's cells, the crop's outermost cells, the fade."""
    if not rim:
        return
    distance = (np.arange(rim, 0, -1, dtype=np.float32) - 0.5) / (FADE * cells)
    kept = smoothstep(1.0 - distance)
    for cut, own, share in ((slice(rim), rim, kept), (slice(-rim, None), -rim - 1, kept[::-1])):
        part = field[cut] if axis == 0 else field[:, cut]
        edge = field[own, None] if axis == 0 else field[:, own, None]
        wide = share[:, None, None] if axis == 0 else share[None, :, None]
        yield part, edge, np.ascontiguousarray(np.broadcast_to(wide, part.shape))


def _edge(size: int, *, beside: int, above: int) -> Float | None:
    """Return a ramp ``[S, S]``: 1 on crop edges with canvas beyond them, 0 from `EDGE` on.

    None: the canvas ends with the crop.
    """
    if not beside and not above:
        return None
    place = (np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5) / (EDGE * size)
    ramp = smoothstep((1.0 - place).astype(np.float32))
    none = np.zeros_like(ramp)
    return np.maximum((ramp if above else none)[:, None], (ramp if beside else none)[None])
