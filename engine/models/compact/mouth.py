"""What an open mouth shows that the portrait does not: single teeth, and the dark behind them.

A network of this size paints teeth as a band, since it has to be right on average. Where teeth are is known
(`engine.models.compact.teeth`), and so is the light they stand in: they are drawn, in the shadow of the lips. The upper row
stands still in the skull, wherever the lips go; the lower one goes with the chin. Where the portrait shows its own teeth,
those are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from mimicam.engine.face.geometry import place
from mimicam.engine.face.landmarks import INNER_LIPS
from mimicam.engine.models.compact.mouth_colours import WHITE_LIGHT, MouthColours
from mimicam.engine.models.compact.rasterise import SHIFT, Part
from mimicam.engine.models.compact.teeth import CHIN, UPPER_LIP, Row, lip_and_chin_moves, rows
from mimicam.engine.types import Float, Image, MotionCode

LAYERS = 4
"""Red, green and blue in -1..1 times the opacity; and the opacity."""
_FINE = 3
"""Drawn so many times larger, then averaged."""
_SHOWN_AT_REST_MM, _FREEWAY_MM = 3.0, 2.0
_JAW = 1.15
"""Of the chin's way, which its skin follows late."""
_GAP = 0.07
_UPPER_TONE, _LOWER_TONE, _GAP_TONE, _BACK_TONE = 1.0, 0.8, 0.68, 0.75
"""Of the front teeth, of what lies between two, and how much darker the last ones are."""
_TEETH = 1.2
"""Teeth are wet: their highlights, spread over them."""
_LIP_SHADOW, _SHADOW_PX = 0.40, 3.4
"""What is left of the light at the lips' edge, and how far their shadow reaches, pixels of 256."""
_CAVITY, _TONGUE = 0.10, 0.42
"""Of the gums' colour, above and below."""
_CORNERS = (61, 291)
_CLOSED, _OPEN = 0.10, 0.16
"""Of the mouth's width: up to where no teeth of its own are seen, and from where on they are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mouth:
    """The inside of one drive's mouth."""

    maps: Float
    """``[4, S, S]``, see `LAYERS`."""
    part: Part | None
    """Rows and columns outside of which there is nothing; None: the lips are shut."""

    def cover(self, painted: Image) -> None:
        """Draw it over what a network painted, uint8 ``[S, S, 3]``."""
        if self.part is None:
            return
        opacity = self.maps[3][self.part]
        rest = cv2.subtract(1.0, opacity)
        target = painted[self.part]
        for channel, layer in enumerate(self.maps[:3]):
            colour = cv2.add(layer[self.part], opacity)
            under = cv2.multiply(target[..., channel].astype(np.float32), rest)
            np.copyto(target[..., channel], cv2.scaleAdd(colour, 127.5, under), casting="unsafe")

    def between(self, other: Mouth, share: float, out: Float) -> Mouth:
        """So far on the way to another one, its maps in ``out``."""
        cv2.addWeighted(self.maps, 1 - share, other.maps, share, 0.0, dst=out)
        if self.part is None or other.part is None:
            return Mouth(maps=out, part=self.part or other.part)
        both = zip(self.part, other.part, strict=True)
        rows_px, columns_px = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in both)
        return Mouth(maps=out, part=(rows_px, columns_px))


class MouthPainter:
    """Draws the mouths of one portrait's drives. Not thread-safe."""

    def __init__(self, source: MotionCode, size_px: int, colours: MouthColours = WHITE_LIGHT) -> None:
        """``source``: the portrait's own motion; ``size_px``: side of the maps."""
        own = np.tensordot(source.expression, lip_and_chin_moves(), axes=(0, 0))
        self._skull = source.shape[UPPER_LIP] - own[0]
        self._chin = source.shape[CHIN].mean(axis=0) - own[1:].mean(axis=0)
        self.shows_teeth = _opening(source.shape)
        """How surely the portrait's own open mouth shows teeth, 0..1."""
        self._size = size_px
        self._teeth, self._gums = (_TEETH * colours.teeth).tolist(), colours.gums.tolist()
        fine = size_px * _FINE
        self._drawings = np.zeros((3, fine, fine), np.uint8)
        self._depth = np.zeros((fine, fine), np.float32)

    def __call__(self, target: MotionCode, landmarks: Float, out: Float) -> Mouth:
        """Draw into ``out``, ``[4, size, size]``; see `LAYERS`.

        Args:
            target: where the head is, and its chin.
            landmarks: the target's, crop space ``[478, 3]``.
            out: receives the layers.
        """
        out.fill(0)
        outline = self._pixels(landmarks[INNER_LIPS])
        part = self._around(outline)
        if part is None:
            return Mouth(maps=out, part=None)
        rows_px, columns_px = part
        corner = np.array([columns_px.start, rows_px.start]) * _FINE
        fine = tuple(slice(p.start * _FINE, p.stop * _FINE) for p in part)
        lips, teeth, tones = (drawing[fine] for drawing in self._drawings)
        for drawing in (lips, teeth, tones):
            drawing.fill(0)
        cv2.fillPoly(lips, [_fixed(outline - corner)], (255,), shift=SHIFT)
        if not lips.any():
            return Mouth(maps=out, part=None)
        self._draw_teeth(target, corner, teeth, tones)
        opacity = _averaged(lips)
        self._shade(opacity, (lips, teeth, tones), [layer[part] for layer in out[:3]])
        out[3][part] = opacity
        return Mouth(maps=out, part=part)

    def _draw_teeth(
        self, target: MotionCode, corner: np.ndarray, teeth: np.ndarray, tones: np.ndarray
    ) -> None:
        jaw = self._skull + _JAW * (target.shape[CHIN].mean(axis=0) - self._chin)
        points = _seen_rows() + np.stack([jaw, jaw, self._skull, self._skull])[:, None, None]
        placed = self._pixels(place(points.reshape(-1, 3), target.pose)) - corner
        lower, lower_apart, upper, upper_apart = _fixed(placed).reshape(*points.shape[:3], 2)
        for row, apart, shades in ((lower, lower_apart, _shades()[0]), (upper, upper_apart, _shades()[1])):
            for outline, (_, between) in zip(row, shades, strict=True):
                cv2.fillConvexPoly(teeth, outline, (255,), shift=SHIFT)
                cv2.fillConvexPoly(tones, outline, (between,), shift=SHIFT)
            for outline, (shade, _) in zip(apart, shades, strict=True):
                cv2.fillConvexPoly(tones, outline, (shade,), shift=SHIFT)

    def _shade(
        self, opacity: Float, drawings: tuple[np.ndarray, np.ndarray, np.ndarray], layers: list[Float]
    ) -> None:
        """Colours in -1..1 times the opacity, a layer at a time."""
        lips, teeth, tones = drawings
        rows_px, columns_px = lips.shape
        depth = _averaged(cv2.distanceTransform(lips, cv2.DIST_L2, 3, dst=self._depth[:rows_px, :columns_px]))
        depth *= 255 * 256 / (self._size * _FINE * _SHADOW_PX)
        light = _rise(np.minimum(depth, 1.0, out=depth), _LIP_SHADOW)
        height = np.linspace(0.0, 1.0, len(light), dtype=np.float32)[:, None]
        tone, behind = _averaged(tones), _averaged(teeth)
        np.subtract(1.0, behind, out=behind)
        behind *= _CAVITY + _TONGUE * height * height
        for layer, tooth, gum in zip(layers, self._teeth, self._gums, strict=True):
            colour = cv2.addWeighted(tone, tooth, behind, gum, 0.0)
            cv2.min(cv2.multiply(colour, light, dst=colour), 1.0, dst=colour)
            cv2.pow(colour, 1 / 2.2, dst=colour)
            cv2.subtract(cv2.multiply(colour, opacity, scale=2.0), opacity, dst=layer)

    def _pixels(self, places: Float) -> np.ndarray:
        """Of the drawings; what lies far outside is drawn nearer, outside."""
        fine = self._size * _FINE
        return np.clip((places[:, :2] + 1) * (fine / 2) - 0.5, -4.0 * fine, 4.0 * fine)

    def _around(self, outline: np.ndarray) -> Part | None:
        """Rows and columns of the maps that hold the lips; None: they are not in the picture."""
        low, high = (np.array([f(outline[:, 1]), f(outline[:, 0])]) / _FINE for f in (np.min, np.max))
        low = np.clip(np.floor(low) - 1, 0, self._size).astype(int)
        high = np.clip(np.ceil(high) + 2, 0, self._size).astype(int)
        if (high - low).min() < 1:
            return None
        return slice(low[0], high[0]), slice(low[1], high[1])


def _opening(shape: Float) -> float:
    """0 for lips that show no teeth, 1 for those that do."""
    gap, width = (float(np.linalg.norm(shape[a] - shape[b])) for a, b in ((13, 14), _CORNERS))
    return float(np.clip((gap / max(width, 1e-6) - _CLOSED) / (_OPEN - _CLOSED), 0.0, 1.0))


def _fixed(points: np.ndarray) -> np.ndarray:
    """With the fraction that OpenCV is told."""
    fixed: np.ndarray = (points * (1 << SHIFT)).round().astype(np.int32)
    return fixed


def _averaged(drawing: np.ndarray) -> Float:
    height, width = drawing.shape
    size = (width // _FINE, height // _FINE)
    small = cv2.resize(drawing, size, interpolation=cv2.INTER_AREA)
    return np.multiply(small, np.float32(1 / 255), dtype=np.float32)


def _rise(x: Float, least: float) -> Float:
    """Smoothly from ``least`` at 0 to 1 at 1."""
    out = np.multiply(x, -2.0)
    out += 3.0
    out *= x
    out *= x
    out *= 1 - least
    out += least
    return out


@cache
def _shades() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Of the lower and of the upper row: each tooth's grey level, and that of what lies beside it."""
    count = _seen_rows().shape[1]
    middle = (count - 1) / 2
    aside = np.abs(np.arange(count) - middle) / middle
    fall = 1 - _BACK_TONE * aside**1.5
    lower, upper = (
        [(round(255 * tone * f), round(255 * _GAP_TONE * tone * f)) for f in fall]
        for tone in (_LOWER_TONE, _UPPER_TONE)
    )
    return lower, upper


@cache
def _seen_rows() -> Float:
    """Outlines ``[4, T, P, 3]``: lower teeth that touch, with gaps between them, then the same of the upper ones."""
    whole, gaps = (
        rows(Row(shown_mm=_SHOWN_AT_REST_MM, freeway_mm=_FREEWAY_MM, gap=gap, worn=True))
        for gap in (0.0, _GAP)
    )
    return np.stack([whole[1], gaps[1], whole[0], gaps[0]])
