"""What to show when the driver's face is gone: hold the last pose, ease to neutral, then a standby card.

Times are the frames' own. The driver's picture is never among the answers.
"""

from __future__ import annotations

from typing import Generic, Literal, Protocol, TypeVar

import cv2
import numpy as np

from mimicam.engine.types import Image

D = TypeVar("D", bound="Drivable")

HOLD_S = 0.5
EASE_S = 1.0
CARD_S = 3.0
RETURN_S = 0.25
"""A face that comes back is eased in, and so is another neutral, so that the portrait does not jump."""
_DIMMED = (np.arange(256) * 3 // 5).astype(np.uint8)


class Drivable(Protocol):
    """What a generator is told, of either kind."""

    def towards(self: D, other: D, share: float) -> D:
        """Between this and another drive of the same portrait: 0 is this one, 1 the other."""


class LostFace(Generic[D]):
    """Follows whether there is a face, and what the portrait does without one."""

    def __init__(self) -> None:
        self.state: Literal["tracking", "holding", "easing", "standby"] = "standby"
        self._shown: D | None = None
        self._from: D | None = None
        self._lost_ns: int | None = None
        self._back_ns: int | None = None

    def portrait_changed(self) -> None:
        """The last drive belongs to another portrait."""
        self._shown = self._from = None

    def ease(self, captured_ns: int) -> None:
        """What drives will count from has changed: go over into the next from what was shown last."""
        if self._from is None:
            self._from, self._back_ns = self._shown, captured_ns

    def seen(self, drive: D, captured_ns: int) -> D:
        """There is a face: follow it, at once or eased in after a loss."""
        if self._lost_ns is not None:
            self._from, self._back_ns, self._lost_ns = self._shown, captured_ns, None
        self.state = "tracking"
        if self._from is not None and self._back_ns is not None:
            share = (captured_ns - self._back_ns) * 1e-9 / RETURN_S
            if share < 1.0:
                drive = blend(self._from, drive, _smooth(share))
            else:
                self._from = None
        self._shown = drive
        return drive

    def missing(self, rest: D, captured_ns: int, *, at_once: bool = False) -> D:
        """There is none: what to draw now; ``state`` says which phase it is."""
        if self._lost_ns is None:
            self._lost_ns, self._from = captured_ns, self._shown
        gone_s = (captured_ns - self._lost_ns) * 1e-9
        if at_once or self._from is None or gone_s >= CARD_S:
            self.state, self._shown = "standby", rest
        elif gone_s < HOLD_S:
            self.state, self._shown = "holding", self._from
        else:
            self.state = "easing"
            self._shown = blend(self._from, rest, _smooth((gone_s - HOLD_S) / EASE_S))
        return self._shown

    @staticmethod
    def draw_card(image: Image) -> None:
        """Dim the picture in its place, and put a pause sign on it: seen to be waiting, and by whom."""
        cv2.LUT(image, _DIMMED, dst=image)
        height, width = image.shape[:2]
        bar, gap = max(height // 40, 2), max(height // 40, 2)
        top, bottom = int(height * 0.86), int(height * 0.94)
        for left in (width // 2 - gap - bar, width // 2 + gap):
            cv2.rectangle(image, (left, top), (left + bar, bottom), (235, 235, 235), -1, cv2.LINE_AA)


def blend(a: D, b: D, share: float) -> D:
    """Between two drives of one portrait: 0 is ``a``, 1 is ``b``."""
    return a.towards(b, share)


def _smooth(share: float) -> float:
    t = min(max(share, 0.0), 1.0)
    return t * t * (3 - 2 * t)
