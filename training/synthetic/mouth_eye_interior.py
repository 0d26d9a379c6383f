"""Draw the inside of mouth and eyes: taken from the portrait where it shows them, otherwise painted
in its light.

Shape letters: H = the portrait's side, S = samples a side, n = samples painted.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mimicam.engine.face.landmarks import INNER_LIPS, LEFT_LIDS, RIGHT_LIDS
from mimicam.engine.models.compact.mouth_colours import GUMS, bright_skin, light_on, linear, teeth_colour
from mimicam.training.synthetic.correspondence import Correspondence
from mimicam.training.synthetic.model import Float

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
EYELIDS = (tuple(RIGHT_LIDS), tuple(LEFT_LIDS))
_TEETH_MATERIAL = 3
_SCLERA = np.array([0.62, 0.59, 0.56])
_IRIS = np.array([0.07, 0.04, 0.025])
_LIP_SHADOW = 0.25
_IRIS_SIZE, _PUPIL = 0.40, 0.15
_EYE_CENTRE = np.array([3.094, 3.614, 7.866])
"""Centre of the template's left eyeball, head space, cm; the right one has -x."""
_SHIFT = 4
_OPEN_EYE = 0.15
"""Smallest height over width of an eye that is used as texture."""
_OPEN_MOUTH = 0.0006
"""Smallest opening of a mouth that is used as texture, as a share of the picture (39 pixels at
256)."""


@dataclass(frozen=True, kw_only=True)
class Openings:
    """Textures of the inside of lips and lids, and colours to paint the rest with."""

    portrait: Image
    skin: Image
    """``[H, H, 3]``: the portrait, its openings filled by the skin around them."""
    eyes: Image
    """``[H, H, 3]``: the portrait, its lids filled by the eyes between them."""
    hidden: Mask
    """``[H, H]``: where ``skin`` was filled."""
    mouth: Image
    """``[H, H, 3]``: the portrait, the lips' inner edge filled by what lies between them."""
    mouth_seen: Float
    """``[H, H]`` 0..1: confidence of ``mouth``."""
    eyes_seen: Float
    """``[H, H]`` 0..1: confidence of ``eyes``."""
    light: Float
    """``[3]`` linear: approximate colour of a white surface in front of the face."""
    eyes_light: float
    """Share of that light that reaches the eyes."""
    teeth: Float
    """``[3]``: linear colour of the teeth."""

    @classmethod
    def read(cls, portrait: Image, landmarks_px: Float) -> Openings:
        """Read them from the picture and the tracker's landmarks on it."""
        size = portrait.shape[0]
        points = landmarks_px[:, :2]
        mouth = _polygon(points[INNER_LIPS], size)
        lids = [_polygon(points[list(loop)], size) for loop in EYELIDS]
        # The mouth is grown by a pixel: the lips' inner edge already shows it.
        hidden = (_grown(mouth) > 0.35) | (np.maximum(lids[0], lids[1]) > 0.6)
        eyes, seen = _eye_texture(portrait, points, lids)
        inside, mouth_seen = _mouth_texture(portrait, mouth)
        bright = bright_skin(portrait, points)
        light = light_on(bright)
        return cls(
            portrait=portrait,
            skin=cv2.inpaint(portrait, hidden.astype(np.uint8), 3, cv2.INPAINT_TELEA),
            hidden=hidden,
            eyes=eyes,
            mouth=inside,
            mouth_seen=mouth_seen,
            eyes_seen=seen,
            light=light,
            eyes_light=_eyes_light(portrait, bright, lids),
            teeth=teeth_colour(portrait, mouth, light),
        )

    def within(self, places_V2: Float) -> Mask:
        """Find the pixel positions that lie inside lips or lids, ``[V]``."""
        side = self.portrait.shape[0]
        column, row = (np.clip(places_V2[:, i].round(), 0, side - 1).astype(int) for i in (0, 1))
        return np.asarray(self.hidden[row, column])


def _polygon(points: Float, size: int, fine: int = 4) -> Float:
    canvas = np.zeros((size * fine,) * 2, np.uint8)
    scaled = ((points + 0.5) * fine - 0.5) * (1 << _SHIFT)
    cv2.fillPoly(canvas, [scaled.round().astype(np.int32)], 255, shift=_SHIFT)
    return np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), np.float32) / 255


def _grown(mask: Float) -> Float:
    return np.asarray(cv2.dilate(mask, np.ones((3, 3), np.uint8)))


def _inner_texture(portrait: Image, mask: Float, reach: int) -> tuple[Image, Mask]:
    """Extend a mask's pixels by ``reach`` pixels beyond its border; return the picture and the
    extended mask."""
    # The core is trusted; the ring around it is filled from the core, not from the lips.
    around = cv2.dilate((mask > 0.05).astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    core = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0.6
    filled = cv2.inpaint(portrait, (around & ~core).astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return filled, around


def _eye_texture(portrait: Image, points: Float, lids: list[Float]) -> tuple[Image, Float]:
    """Extend the eyes that are open enough under their lids."""
    out, seen = portrait.copy(), np.zeros(portrait.shape[:2], np.float32)
    for mask, loop in zip(lids, EYELIDS, strict=True):
        width = float(np.linalg.norm(points[loop[8]] - points[loop[0]]))
        height = float(np.linalg.norm(points[loop[4]] - points[loop[12]]))
        if height < _OPEN_EYE * width:
            continue
        filled, around = _inner_texture(portrait, mask, max(3, round(0.35 * width)))
        out[around] = filled[around]
        seen[around] = 1.0
    return out, seen


def _mouth_texture(portrait: Image, mouth: Float) -> tuple[Image, Float]:
    """Extend the inside of an open mouth a little under the lips."""
    if mouth.sum() < _OPEN_MOUTH * mouth.size:
        return portrait, np.zeros_like(mouth)
    filled, _ = _inner_texture(portrait, mouth, 4)
    # Softened, so that textures blend into painted colour without an edge.
    seen = cv2.blur(cv2.dilate(mouth, np.ones((3, 3), np.uint8)), (3, 3))
    return filled, np.asarray(seen)


def _srgb(linear: Float) -> Float:
    return np.asarray(255.0 * np.clip(linear, 0, 1) ** (1 / 2.2))


def _eyes_light(portrait: Image, bright: Float, lids: list[Float]) -> float:
    """Brightness of the lids relative to bright skin; at most 1."""
    around = cv2.dilate((np.maximum(*lids) > 0.05).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    skin = np.percentile(linear(portrait[around]).mean(1), 75)  # lashes and open eyes are no measure
    return float(np.clip(1.3 * skin / bright.mean(), 0.15, 1.0))


def _fetch(picture: npt.NDArray[np.generic], places_n2: Float) -> Float:
    x, y = (np.ascontiguousarray(places_n2[:, i], np.float32)[None] for i in (0, 1))
    found = cv2.remap(np.asarray(picture), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    return np.asarray(found, np.float32)


def _shadow(mask: Mask, depth_px: float) -> Float:
    """Shadow ``[n]`` of lips and lids on what lies just behind them; ``depth_px`` is for a picture
    of 256."""
    reach = depth_px * mask.shape[0] / 256
    t = np.clip(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)[mask] / reach, 0, 1)
    return np.asarray(_LIP_SHADOW + (1 - _LIP_SHADOW) * t * t * (3 - 2 * t))


def paint_mouth(seen: Correspondence, mask: Mask, openings: Openings) -> tuple[Float, Float]:
    """Paint teeth, gums and tongue, ``[n, 3]`` sRGB 0..255, darker with depth; also return the
    fetched share ``[n]``."""
    places, rest = seen.portrait[mask], seen.rest[mask]
    # Depth on the template, 0 at the throat to 1 at the front teeth, smoothed; likewise to the
    # sides.
    depth = np.clip((rest[:, 2] - 3.0) / 7.6, 0, 1)
    depth = depth * depth * (3 - 2 * depth)
    aside = np.clip((np.abs(rest[:, 0]) - 1.0) / 2.1, 0, 1)
    reach = depth**2 * 0.7 * (1 - 0.65 * aside * aside * (3 - 2 * aside))
    tooth = seen.material[mask] == _TEETH_MATERIAL
    colour = np.where(tooth[:, None], openings.teeth, GUMS * openings.light)
    painted = _srgb(colour * (seen.shade[mask] * reach * _shadow(mask, 3.0))[:, None])
    share = _fetch(openings.mouth_seen, places)
    fetched = _fetch(openings.mouth, places)
    return painted + (fetched - painted) * share[:, None], share


def paint_eyes(seen: Correspondence, mask: Mask, openings: Openings) -> tuple[Float, Float]:
    """Paint eyeballs, ``[n, 3]`` sRGB 0..255; also return the fetched share ``[n]``."""
    places, rest = seen.portrait[mask], seen.rest[mask]
    # Eyeballs lie in the shade of brows and lids.
    shade = 0.75 * openings.eyes_light * seen.shade[mask] * _shadow(mask, 1.5)
    painted = _srgb(_eye_colours(rest) * openings.light * shade[:, None])
    share = _fetch(openings.eyes_seen, places)
    fetched = _fetch(openings.eyes, places)
    return painted + (fetched - painted) * share[:, None], share


def _eye_colours(rest: Float) -> Float:
    """Linear colours of white, iris and pupil, by the angle from each eye's axis."""
    out = np.empty((len(rest), 3))
    for side in (rest[:, 0] > 0, rest[:, 0] <= 0):
        if not side.any():
            continue
        sign = 1.0 if rest[side][0, 0] > 0 else -1.0
        axis = rest[side] - _EYE_CENTRE * np.array([sign, 1, 1])
        axis /= np.linalg.norm(axis, axis=1, keepdims=True)
        # Sine of the angle from the eye's axis.
        radius = np.hypot(axis[:, 0], axis[:, 1])
        white = np.clip((radius - _IRIS_SIZE) / 0.06 + 0.5, 0, 1)[:, None]
        black = np.clip((_PUPIL - radius) / 0.05 + 0.5, 0, 1)[:, None]
        out[side] = white * _SCLERA + (1 - white) * ((1 - black) * _IRIS + black * 0.006)
    return out
