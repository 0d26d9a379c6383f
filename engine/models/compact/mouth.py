"""Paint what an open mouth shows and the portrait does not: single teeth and the cavity behind.

A network of this size paints teeth as a band, because it has to be right on average. But the
position of the teeth is known (`engine.models.compact.teeth`), and so is their light. So they are
drawn, in the shadow of the lips. The upper row is fixed to the skull, the lower row follows the
chin. Where the portrait shows its own teeth, those are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from mimicam.engine.face.geometry import place
from mimicam.engine.face.landmarks import INNER_LIPS
from mimicam.engine.models.compact.lips import inner_outline
from mimicam.engine.models.compact.mouth_colours import WHITE_LIGHT, MouthColours
from mimicam.engine.models.compact.rasterise import SHIFT, Part
from mimicam.engine.models.compact.teeth import CHIN, UPPER_LIP, Row, lip_and_chin_moves, rows
from mimicam.engine.types import Float, Image, MotionCode

LAYERS = 4
"""Channels of a mouth's maps: red, green and blue in -1..1 times the opacity, then the opacity."""
_FINE = 3
"""Supersampling factor of the drawings, which are averaged down."""
_SHOWN_AT_REST_MM, _FREEWAY_MM = 3.0, 2.0
"""Millimetres of upper teeth below the resting lip, and between the rows at rest
(`engine.models.compact.teeth.Row`)."""
_JAW = 1.15
"""Jaw displacement divided by chin-skin displacement. The skin moves less than the bone."""
_GAP = 0.07
"""Gap between neighbouring teeth, as a share of a tooth's width."""
_UPPER_TONE, _LOWER_TONE, _GAP_TONE, _BACK_TONE = 1.0, 0.8, 0.68, 0.75
"""Relative brightness of upper front teeth, lower front teeth and gaps, and the loss of brightness
at the last teeth."""
_TEETH = 1.2
"""Factor on the teeth's colour: the highlights of their wet surface, spread evenly."""
_LIP_SHADOW, _SHADOW_PX = 0.40, 3.4
"""Share of light left at the lips' edge, and reach of their shadow in pixels of 256."""
_CAVITY, _TONGUE = 0.10, 0.42
"""Share of the gums' colour at the top of the cavity, and what is added at its bottom."""
_CORNERS = (61, 291)
_CLOSED, _OPEN = 0.10, 0.16
"""Opening divided by the mouth's width: no own teeth are visible up to the first, all from the
second on."""
_SQUASHED, _STRETCHED = (0.4, 0.65), (1.2, 1.45)
"""Opening divided by the portrait's own, between which its own teeth are exchanged for painted
ones."""
_FAR = (0.05, 0.1)
"""Difference of both openings between which they are exchanged, head units."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mouth:
    """Painted inside of one target's mouth."""

    maps: Float
    """``[4, S, S]``, see `LAYERS`."""
    part: Part | None
    """Rows and columns outside of which the maps are 0. None: the lips are shut."""

    def cover(self, painted: Image) -> None:
        """Blend it over the inpainted picture, uint8 ``[S, S, 3]``."""
        if self.part is None:
            return
        opacity = self.maps[3][self.part]
        rest = cv2.subtract(1.0, opacity)
        target = painted[self.part]
        for channel, layer in enumerate(self.maps[:3]):
            # A layer is (2 colour - 1) times the opacity: restore the premultiplied colour.
            colour = cv2.add(layer[self.part], opacity)
            under = cv2.multiply(target[..., channel].astype(np.float32), rest)
            np.copyto(target[..., channel], cv2.scaleAdd(colour, 127.5, under), casting="unsafe")

    def between(self, other: Mouth, share: float, out: Float) -> Mouth:
        """Interpolate to another mouth, with maps in ``out``."""
        cv2.addWeighted(self.maps, 1 - share, other.maps, share, 0.0, dst=out)
        if self.part is None or other.part is None:
            return Mouth(maps=out, part=self.part or other.part)
        both = zip(self.part, other.part, strict=True)
        rows_px, columns_px = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in both)
        return Mouth(maps=out, part=(rows_px, columns_px))


class MouthPainter:
    """Paints the mouths of one portrait's targets. Not thread-safe."""

    def __init__(self, source: MotionCode, size_px: int, colours: MouthColours = WHITE_LIGHT) -> None:
        """Set up for a portrait; ``source``: its own motion, ``size_px``: side of the maps."""
        # Without the portrait's own expression, lip and chin are where they rest.
        own = np.tensordot(source.expression, lip_and_chin_moves(), axes=(0, 0))
        self._skull = source.shape[UPPER_LIP] - own[0]
        self._chin = source.shape[CHIN].mean(axis=0) - own[1:].mean(axis=0)
        self._shows_teeth, self._own_gap = _opening(source.shape), _gap(source.shape)
        self._size = size_px
        self._teeth, self._gums = (_TEETH * colours.teeth).tolist(), colours.gums.tolist()
        fine = size_px * _FINE
        self._drawings = np.zeros((3, fine, fine), np.uint8)
        self._depth = np.zeros((fine, fine), np.float32)

    def __call__(self, target: MotionCode, landmarks: Float, out: Float) -> Mouth:
        """Draw into ``out``, ``[4, size, size]``; see `LAYERS`.

        Args:
            target: motion, whose pose and chin place the teeth.
            landmarks: the target's, crop space ``[478, 3]``.
            out: receives the layers.
        """
        out.fill(0)
        outline = inner_outline(self._pixels(landmarks[INNER_LIPS]))
        part = self._around(outline)
        if part is None:
            return Mouth(maps=out, part=None)
        rows_px, columns_px = part
        # Only the mouth's rectangle is drawn, so points are relative to its corner.
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

    def own_teeth(self, target: MotionCode) -> float:
        """Return which teeth are shown where both mouths are open: 1 the portrait's own, -1 the
        painted ones, between them the generator decides.

        Teeth keep their size, but the warp stretches them with the opening of the lips.
        """
        gap, own = _gap(target.shape), self._own_gap
        stretch = gap / max(own, 1e-6)
        exchanged = max(1 - _ramp(stretch, _SQUASHED), _ramp(stretch, _STRETCHED))
        # Lips that are hardly apart show no tooth that could be stretched.
        exchanged *= _ramp(abs(gap - own), _FAR)
        return (1 - exchanged) * (1 + self._shows_teeth) - 1

    def _draw_teeth(
        self, target: MotionCode, corner: np.ndarray, teeth: np.ndarray, tones: np.ndarray
    ) -> None:
        jaw = self._skull + _JAW * (target.shape[CHIN].mean(axis=0) - self._chin)
        points = _visible_rows() + np.stack([jaw, jaw, self._skull, self._skull])[:, None, None]
        placed = self._pixels(place(points.reshape(-1, 3), target.pose)) - corner
        lower, lower_apart, upper, upper_apart = _fixed(placed).reshape(*points.shape[:3], 2)
        # Touching teeth make the row opaque, in the tone of gaps. Separate teeth are then drawn
        # over it, each in its own tone.
        for row, apart, shades in ((lower, lower_apart, _shades()[0]), (upper, upper_apart, _shades()[1])):
            for outline, (_, between) in zip(row, shades, strict=True):
                cv2.fillConvexPoly(teeth, outline, (255,), shift=SHIFT)
                cv2.fillConvexPoly(tones, outline, (between,), shift=SHIFT)
            for outline, (shade, _) in zip(apart, shades, strict=True):
                cv2.fillConvexPoly(tones, outline, (shade,), shift=SHIFT)

    def _shade(
        self, opacity: Float, drawings: tuple[np.ndarray, np.ndarray, np.ndarray], layers: list[Float]
    ) -> None:
        """Write the colours in -1..1 times the opacity, a channel at a time.

        Teeth and the cavity behind them are mixed in linear light, darkened by the lips' shadow,
        then encoded with gamma 2.2.
        """
        lips, teeth, tones = drawings
        rows_px, columns_px = lips.shape
        # Distance from the lips' edge relative to the shadow's reach; 255 undoes the scale of
        # `_averaged`.
        depth = _averaged(cv2.distanceTransform(lips, cv2.DIST_L2, 3, dst=self._depth[:rows_px, :columns_px]))
        depth *= 255 * 256 / (self._size * _FINE * _SHADOW_PX)
        light = _rise(np.minimum(depth, 1.0, out=depth), _LIP_SHADOW)
        height = np.linspace(0.0, 1.0, len(light), dtype=np.float32)[:, None]
        tone, behind = _averaged(tones), _averaged(teeth)
        np.subtract(1.0, behind, out=behind)
        # Brighter towards the bottom, where the tongue is.
        behind *= _CAVITY + _TONGUE * height * height
        for layer, tooth, gum in zip(layers, self._teeth, self._gums, strict=True):
            colour = cv2.addWeighted(tone, tooth, behind, gum, 0.0)
            cv2.min(cv2.multiply(colour, light, dst=colour), 1.0, dst=colour)
            cv2.pow(colour, 1 / 2.2, dst=colour)
            cv2.subtract(cv2.multiply(colour, opacity, scale=2.0), opacity, dst=layer)

    def _pixels(self, places: Float) -> np.ndarray:
        """Return crop-space points as pixels of the drawings; points far outside are clamped."""
        fine = self._size * _FINE
        return np.clip((places[:, :2] + 1) * (fine / 2) - 0.5, -4.0 * fine, 4.0 * fine)

    def _around(self, outline: np.ndarray) -> Part | None:
        """Return rows and columns of the maps around the lips; None: outside the picture."""
        low, high = (np.array([f(outline[:, 1]), f(outline[:, 0])]) / _FINE for f in (np.min, np.max))
        low = np.clip(np.floor(low) - 1, 0, self._size).astype(int)
        high = np.clip(np.ceil(high) + 2, 0, self._size).astype(int)
        if (high - low).min() < 1:
            return None
        return slice(low[0], high[0]), slice(low[1], high[1])


def _opening(shape: Float) -> float:
    """Return the confidence that the lips show teeth: 0 if nearly closed, 1 if wide open."""
    width = float(np.linalg.norm(shape[_CORNERS[0]] - shape[_CORNERS[1]]))
    return _ramp(_gap(shape) / max(width, 1e-6), (_CLOSED, _OPEN))


def _gap(shape: Float) -> float:
    """Return the distance between the inner lips' middles."""
    return float(np.linalg.norm(shape[13] - shape[14]))


def _ramp(x: float, ends: tuple[float, float]) -> float:
    """Return 0 up to the first end, 1 from the second on."""
    low, high = ends
    return min(max((x - low) / (high - low), 0.0), 1.0)


def _fixed(points: np.ndarray) -> np.ndarray:
    """Convert points to OpenCV's fixed-point integers."""
    fixed: np.ndarray = (points * (1 << SHIFT)).round().astype(np.int32)
    return fixed


def _averaged(drawing: np.ndarray) -> Float:
    height, width = drawing.shape
    size = (width // _FINE, height // _FINE)
    small = cv2.resize(drawing, size, interpolation=cv2.INTER_AREA)
    return np.multiply(small, np.float32(1 / 255), dtype=np.float32)


def _rise(x: Float, least: float) -> Float:
    """Return a smoothstep of ``x`` (0..1) from ``least`` to 1."""
    out = np.multiply(x, -2.0)
    out += 3.0
    out *= x
    out *= x
    out *= 1 - least
    out += least
    return out


@cache
def _shades() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return grey levels of each tooth and the gap beside it, for the lower and the upper row."""
    count = _visible_rows().shape[1]
    middle = (count - 1) / 2
    aside = np.abs(np.arange(count) - middle) / middle
    fall = 1 - _BACK_TONE * aside**1.5
    lower, upper = (
        [(round(255 * tone * f), round(255 * _GAP_TONE * tone * f)) for f in fall]
        for tone in (_LOWER_TONE, _UPPER_TONE)
    )
    return lower, upper


@cache
def _visible_rows() -> Float:
    """Return outlines ``[4, T, P, 3]``: lower teeth touching, lower with gaps, upper alike."""
    whole, gaps = (
        rows(Row(shown_mm=_SHOWN_AT_REST_MM, freeway_mm=_FREEWAY_MM, gap=gap, worn=True))
        for gap in (0.0, _GAP)
    )
    return np.stack([whole[1], gaps[1], whole[0], gaps[0]])
