"""Decide what to show when the driver's face is lost: hold the last pose, ease to rest, then a standby card.

Times are the frames' own. The driver's picture is never shown.
"""

from __future__ import annotations

from typing import Generic, Literal, Protocol, TypeVar

import cv2
import numpy as np

from mimicam.engine.maths import smoothstep
from mimicam.engine.types import Image

T = TypeVar("T", bound="Target")

HOLD_S = 0.5
EASE_S = 1.0
CARD_S = 3.0
RETURN_S = 0.25
"""Duration, seconds, of easing in a face that comes back or another neutral, so that the portrait does not jump."""
_DIMMED = (np.arange(256) * 3 // 5).astype(np.uint8)


class Target(Protocol):
    """What a generator is asked to draw."""

    def towards(self: T, other: T, share: float) -> T:
        """Interpolate to another target of the same portrait: a share of 0 is this one, 1 the other."""


class LostFace(Generic[T]):
    """Tracks whether there is a face, and decides what the portrait does without one."""

    def __init__(self) -> None:
        self.state: Literal["tracking", "holding", "easing", "standby"] = "standby"
        self._shown: T | None = None
        self._from: T | None = None
        self._lost_ns: int | None = None
        self._back_ns: int | None = None

    def portrait_changed(self) -> None:
        """Forget what was shown: it belongs to another portrait."""
        self._shown = self._from = None

    def ease(self, captured_ns: int) -> None:
        """Ease from what was shown last into the next target: the neutral has changed."""
        if self._from is None:
            self._from, self._back_ns = self._shown, captured_ns

    def follow(self, target: T, captured_ns: int) -> T:
        """Return what to draw for a face: the target at once, or eased in after a loss."""
        if self._lost_ns is not None:
            self._from, self._back_ns, self._lost_ns = self._shown, captured_ns, None
        self.state = "tracking"
        if self._from is not None and self._back_ns is not None:
            share = (captured_ns - self._back_ns) * 1e-9 / RETURN_S
            if share < 1.0:
                target = blend(self._from, target, smoothstep(share))
            else:
                self._from = None
        self._shown = target
        return target

    def missing(self, rest: T, captured_ns: int, *, at_once: bool = False) -> T:
        """Return what to draw without a face; ``state`` names the phase."""
        if self._lost_ns is None:
            self._lost_ns, self._from = captured_ns, self._shown
        gone_s = (captured_ns - self._lost_ns) * 1e-9
        if at_once or self._from is None or gone_s >= CARD_S:
            self.state, self._shown = "standby", rest
        elif gone_s < HOLD_S:
            self.state, self._shown = "holding", self._from
        else:
            self.state = "easing"
            self._shown = blend(self._from, rest, smoothstep((gone_s - HOLD_S) / EASE_S))
        return self._shown

    @staticmethod
    def draw_card(image: Image) -> None:
        """Dim the picture in place and draw a pause sign on it."""
        cv2.LUT(image, _DIMMED, dst=image)
        height, width = image.shape[:2]
        bar, gap = max(height // 40, 2), max(height // 40, 2)
        top, bottom = int(height * 0.86), int(height * 0.94)
        for left in (width // 2 - gap - bar, width // 2 + gap):
            cv2.rectangle(image, (left, top), (left + bar, bottom), (235, 235, 235), -1, cv2.LINE_AA)


def blend(a: T, b: T, share: float) -> T:
    """Interpolate two targets of one portrait: a share of 0 is ``a``, 1 is ``b``."""
    return a.towards(b, share)
