"""Colours at a face's landmarks, and what one driver's have been so far.

Landmarks move with the skin, so the colour at each is nearly constant while a face talks, turns or
comes nearer.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mimicam.engine.face.geometry import face_geometry
from mimicam.engine.face.networks import region_of_landmarks
from mimicam.engine.types import LANDMARKS, Float, Image

Flags = npt.NDArray[np.bool_]
"""One value for each landmark, ``[478]``."""
_CUT_PX, _SOFT_PX = 256, 64
"""Sides of the face's cut, and of the soft picture whose pixels are compared: about 4 mm each."""
# fmt: off
_LIT = np.array([
    10, 151, 9, 8, 67, 297, 103, 332, 54, 284, 21, 251, 50, 280, 101, 330, 116, 345, 123, 352, 6, 197,
    195, 5, 4, 205, 425, 36, 266, 117, 346, 118, 347,
])
"""Forehead, nose and cheeks, by which the light is measured."""
# fmt: on
_DARK = 8.0
"""Grey levels added to both terms of a ratio of light."""
_LIGHT = (0.4, 2.5)
"""Smallest and largest change of light that is made up for."""
_ODD, _SPREAD = 14.0, 2.25
"""Grey levels by which a colour differs oddly, and more per standard deviation of its past."""
_START_VARIANCE = 64.0
_ANOTHER = 0.7
"""Share of odd landmarks on forehead, nose and cheeks from which the whole face has changed."""
_LEARN_S = 4.0
"""Seconds. Memory of colours."""
_ODD_RATE = 0.2
"""Rate at which odd colours are learned while nothing is covered, relative to others."""
_TURNED_RAD, _AWAY_RAD = 0.4, 0.6
"""Yaw from which the far side is not judged, and from which nothing is."""


def face_cut() -> Image:
    """Return memory for `face_colours`, to be used again for each frame."""
    return np.empty((_CUT_PX, _CUT_PX, 3), np.uint8)


def face_colours(image: Image, landmarks: Float, cut: Image | None = None) -> Float:
    """Return the colour around each landmark, RGB ``[478, 3]`` in grey levels.

    Args:
        image: a frame.
        landmarks: ``[478, 3]``, image pixels.
        cut: receives the face, see `face_cut`. None allocates.
    """
    region = region_of_landmarks(landmarks)
    soft = cv2.resize(region.cut(image, _CUT_PX, cut), (_SOFT_PX, _SOFT_PX), interpolation=cv2.INTER_AREA)
    to_image = region.image_from_net(_SOFT_PX)
    at = (landmarks[:, :2] - to_image[:, 2]) @ np.linalg.inv(to_image[:, :2]).T
    x, y = np.clip(np.rint(at), 0, _SOFT_PX - 1).astype(int).T
    colours: Float = soft[y, x].astype(np.float32)
    return colours


def judged_landmarks(yaw_rad: float) -> Flags:
    """Return which landmarks lie on a side of the face that is seen well; see
    `HeadPose.angles_rad`."""
    if abs(yaw_rad) > _AWAY_RAD:
        return np.zeros(LANDMARKS, bool)
    if abs(yaw_rad) < _TURNED_RAD:
        return np.ones(LANDMARKS, bool)
    # The far side is the one to which the nose points.
    near: Flags = face_geometry().mean[:, 0] * np.sign(yaw_rad) < 0.1
    return near


class SkinColours:
    """Colours of one driver's face over time."""

    def __init__(self, first: Float) -> None:
        """Start with the colours of a frame."""
        self._mean, self._before = np.empty_like(first), np.empty_like(first)
        self._variance = np.empty(LANDMARKS, np.float32)
        self.begin(first)

    def begin(self, first: Float) -> None:
        """Start again with the colours of a frame."""
        self._mean[:], self._before[:], self._variance[:] = first, np.inf, _START_VARIANCE
        self.age_s = 0.0
        """Seconds learned so far."""
        self._even = self._away = first[:, 0]

    def odd(self, colours: Float, judged: Flags) -> Flags:
        """Return where a frame's colours are not those of the driver; `learn` goes on from here."""
        light = (colours[_LIT] + _DARK) / (self._mean[_LIT] + _DARK)
        # The median: a cover over fewer than half of these landmarks does not change it.
        self._even = colours / np.clip(np.median(light, axis=0), *_LIGHT).astype(np.float32)
        self._away = np.abs(self._even - self._mean).max(axis=1)
        return (self._away > self._limit()) & judged

    def is_another(self, odd: Flags) -> bool:
        """Whether the whole face has changed, as at a cut or in another light."""
        return bool(odd[_LIT].mean() > _ANOTHER)

    def learn(self, rate: Float, odd: Flags, step_s: float) -> None:
        """Learn the frame that was given to `odd`.

        Args:
            rate: ``[478]``, 0 where nothing is learned, else 1.
            odd: as `odd` returned it; such landmarks are learned slowly.
            step_s: time since the frame before.
        """
        self.age_s += step_s
        # A plain mean at first, a running one later.
        rate = rate * np.float32(min(step_s / max(min(self.age_s, _LEARN_S), 1e-6), 1.0))
        rate *= np.where(odd, np.float32(_ODD_RATE), np.float32(1))
        self._mean += rate[:, None] * (self._even - self._mean)
        # Odd colours would widen the limit until they no longer count as odd.
        self._variance += np.where(odd, 0, rate) * (self._away**2 - self._variance)

    def accept(self, points: npt.NDArray[np.int_]) -> None:
        """Take the newest colours of some landmarks as the driver's; keep the earlier ones too."""
        self._before[points] = self._mean[points]
        self._mean[points] = self._even[points]
        self._variance[points] = _START_VARIANCE

    def restore(self, points: npt.NDArray[np.int_], most: float) -> bool:
        """Return to the colours before `accept` if at most this share of them is odd now."""
        away = np.abs(self._even[points] - self._before[points]).max(axis=1)
        if float((away > self._limit()[points]).mean()) > most:
            return False
        self._mean[points] = self._before[points]
        return True

    def _limit(self) -> Float:
        limit: Float = np.float32(_ODD) + np.float32(_SPREAD) * np.sqrt(self._variance)
        return limit
