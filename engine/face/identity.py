"""Tell the driver from other faces: who was followed so far, and who was seen beside them."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from mimicam.engine.types import Float, Image

_PATCH_PX = 16
_INNER = slice(48, 208)
"""Part of the landmark network's input, 256 pixels, that shows the face alone."""
_LEARN = 0.05
"""Share of the newest frame in the driver's mean patch."""
SAME_MIN = 0.5
"""Smallest likeness of one person's patches. Measured on the bundled clip: 0.59 and more to the
mean of its first second; between two people the median is 0.37 (171 pairs, 2026-11)."""
CONTINUOUS_MIN = 0.6
"""Likeness to the frame before below which another face is there. A moving face keeps 0.9."""
_BYSTANDERS_MAX = 8
_GRID = 16
_CHANGED = 12
"""Grey levels by which a point of the picture changes at a cut."""
_CUT_SHARE = 0.8
"""Share of points that change at a cut. A person who enters changes fewer."""


def face_patch(cut: Image) -> Float:
    """Return an upright face's appearance, normalised: the dot product of two is their likeness.

    ``cut``: input of the landmark network, ``[256, 256, 3]``.
    """
    small = cv2.resize(cut[_INNER, _INNER], (_PATCH_PX, _PATCH_PX), interpolation=cv2.INTER_AREA)
    patch = small.astype(np.float32).ravel()
    # Zero mean and unit length: light and contrast cancel, and a dot product is the correlation.
    patch -= patch.mean()
    patch /= max(float(np.linalg.norm(patch)), 1e-3)
    return patch


@dataclass(kw_only=True)
class Bystander:
    """A face that was seen while the driver was followed elsewhere: a second person, a poster."""

    x_px: float
    y_px: float
    size_px: float
    patch: Float


@dataclass(kw_only=True)
class DriverMemory:
    """Appearance of the driver, and of the faces that are not theirs."""

    driver: Float | None = None
    bystanders: list[Bystander] = field(default_factory=list)
    _last: Float | None = None

    def start(self, patch: Float) -> None:
        """Follow another person from now on."""
        self.driver, self._last = patch.copy(), patch

    def learn(self, patch: Float) -> None:
        """Count a frame of the driver."""
        if self.driver is None:
            self.start(patch)
        else:
            # Not normalised: `like_driver` divides by its length.
            self.driver += _LEARN * (patch - self.driver)
            self._last = patch

    def like_driver(self, patch: Float) -> float:
        """Return the likeness to the driver, at most 1; 1 where nobody was followed yet."""
        if self.driver is None:
            return 1.0
        return float(patch @ self.driver) / max(float(np.linalg.norm(self.driver)), 1e-3)

    def like_bystander(self, patch: Float) -> float:
        """Return the likeness to the most similar bystander; -1 without any."""
        return max((float(patch @ other.patch) for other in self.bystanders), default=-1.0)

    def is_driver(self, patch: Float) -> bool:
        """Whether a face is the driver's rather than a bystander's or a stranger's."""
        likeness = self.like_driver(patch)
        return likeness >= SAME_MIN and likeness > self.like_bystander(patch)

    def is_another(self, patch: Float) -> bool:
        """Whether, from one frame to the next, another face is where the driver's was."""
        if self._last is None or float(patch @ self._last) >= CONTINUOUS_MIN:
            return False
        return self.like_driver(patch) < SAME_MIN

    def add_bystander(self, seen: Bystander) -> None:
        """Remember a face that is not the driver's; the oldest is forgotten for it."""
        self.bystanders = [*self.bystanders[1 - _BYSTANDERS_MAX :], seen]


class CutDetector:
    """Notices when a whole picture changes at once, as between two shots of a film."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the last picture."""
        self._last = None

    def __call__(self, image: Image) -> bool:
        """Return whether this picture has nothing in common with the last one."""
        height, width = image.shape[:2]
        # A sparse grid of green values: a cut changes all of them, and reading them is free.
        step_y, step_x = max(height // _GRID, 1), max(width // _GRID, 1)
        points = image[step_y // 2 :: step_y, step_x // 2 :: step_x, 1].astype(np.int16)
        last, self._last = self._last, points
        if last is None or last.shape != points.shape:
            return False
        return bool(np.mean(np.abs(points - last) > _CHANGED) > _CUT_SHARE)
