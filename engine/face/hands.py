"""Find hands before a face: which of its landmarks lie behind one.

Palm detector and hand landmarks are MediaPipe's lite networks (Apache-2.0), with the conventions of
its hand landmarker. A search takes about 5 ms of one core (AMD EPYC, 2026-11), so it is not made in
each frame.
"""

from __future__ import annotations

import math

import numpy as np

from mimicam.engine.backends.openvino import NetworksInTurn
from mimicam.engine.face.networks import TRACKER_DIR, Region, anchor_centres
from mimicam.engine.face.skin_colours import Flags
from mimicam.engine.types import LANDMARKS, Float, Image

_NETWORKS = NetworksInTurn()
_PALM_PX, _HAND_PX = 192, 224
_CELLS = ((24, 2), (12, 6))
_FACE_SCALE, _BELOW = 2.0, 0.25
"""Side of the searched square in sizes of the face, and its distance below the face's middle: hands
come from below."""
_PALM_MIN, _PALMS = math.log(0.4 / 0.6), 2
"""Logit from which a palm is looked at, that of 0.4, and the largest number of them."""
_HAND_MIN = 0.8
"""Presence from which it is a hand.

On 2,772 frames of 127 clips without hands, no hand of this presence lies on the lips. From 0.5 on, 7
frames of two clips have one (2026-11).
"""
_HAND_SCALE, _HAND_SHIFT = 2.6, 0.5
"""Side of the hand's region in sides of the palm's, and its shift towards the fingers."""
_THICK = 0.2
"""Half a finger's thickness in widths of the palm, with what shows at its edge."""
_EVERY_S = 0.2
"""Seconds between two searches."""
# fmt: off
_BONES = np.array([
    (0, 1), (1, 2), (2, 3), (3, 4), (5, 6), (6, 7), (7, 8), (9, 10), (10, 11), (11, 12), (13, 14),
    (14, 15), (15, 16), (17, 18), (18, 19), (19, 20), (0, 5), (0, 9), (0, 13), (0, 17), (5, 9),
    (9, 13), (13, 17),
])
"""Pairs of the hand's 21 points. Those of the palm lie so close that they leave no gap."""
# fmt: on
NO_HAND: Flags = np.zeros(LANDMARKS, bool)


class HandFinder:
    """Finds hands before a face. One caller at a time."""

    def __init__(self, threads: int = 1) -> None:
        """Load both networks.

        Raises:
            EngineError: a network does not load.
        """
        self._palms = _NETWORKS.open(
            TRACKER_DIR / "palm_detector.tflite", threads=threads, name="the palm detector"
        )
        self._hand = _NETWORKS.open(
            TRACKER_DIR / "hand_landmarks.tflite", threads=threads, name="the hand network"
        )
        self._anchors = anchor_centres(_CELLS)
        self._palm_pixels, self._hand_pixels = _Pixels(_PALM_PX), _Pixels(_HAND_PX)

    def __call__(self, image: Image, landmarks: Float) -> Flags:
        """Return which landmarks of a face lie behind a hand, ``[478]``.

        Args:
            image: a frame.
            landmarks: of the face, ``[478, 3]``, image pixels.
        """
        points = landmarks[:, :2]
        size = float(np.ptp(points, axis=0).max())
        x_px, y_px = (float(value) for value in points.mean(axis=0))
        around = Region(x_px=x_px, y_px=y_px + _BELOW * size, size_px=_FACE_SCALE * size, roll_rad=0.0)
        behind = NO_HAND
        for region in self._regions(image, around):
            hand, presence = self._read(image, region)
            if presence >= _HAND_MIN:
                behind = behind | _behind(points, hand)
        return behind

    def _regions(self, image: Image, around: Region) -> list[Region]:
        """Return the regions of hands in a region, the surest first."""
        boxes, logits = self._palms(self._palm_pixels(image, around))
        scores = logits[0, :, 0]
        sure = np.flatnonzero(scores >= _PALM_MIN)
        found: list[Region] = []
        for index in sure[np.argsort(-scores[sure])]:
            # Centre, size, then seven points of the palm, all but the size from the anchor on.
            palm = boxes[0, index].reshape(-1, 2) / _PALM_PX
            palm[[0, *range(2, 9)]] += self._anchors[index]
            region = _region_of_palm(palm, around)
            if all(_apart(region, other) for other in found):
                found.append(region)
            if len(found) == _PALMS:
                break
        return found

    def _read(self, image: Image, region: Region) -> tuple[Float, float]:
        """Return the 21 points of the hand in a region, image pixels ``[21, 2]``, and its presence."""
        points, presence, _, _ = self._hand(self._hand_pixels(image, region))
        to_image = region.image_from_net(_HAND_PX)
        hand: Float = points.reshape(21, 3)[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        return hand, float(presence.item())


class HandSearch:
    """Looks for hands before one face, a few times a second."""

    def __init__(self, find: HandFinder) -> None:
        self._find = find
        self.reset()

    def reset(self) -> None:
        """Look in the next frame."""
        self._last_s = -math.inf

    def __call__(self, image: Image, landmarks: Float, seconds: float) -> Flags | None:
        """Return what `HandFinder` returns; None in frames in which nobody looked.

        ``seconds``: time of the frame. Times that go back start anew.
        """
        if 0 <= seconds - self._last_s < _EVERY_S:
            return None
        self._last_s = seconds
        return self._find(image, landmarks)


class _Pixels:
    """Memory for a network's input, which is used again."""

    def __init__(self, side_px: int) -> None:
        self._side_px = side_px
        self._cut = np.empty((side_px, side_px, 3), np.uint8)
        self._values = np.empty((1, side_px, side_px, 3), np.float32)

    def __call__(self, image: Image, region: Region) -> Float:
        """Return a region as the networks expect it, RGB in 0..1, ``[1, side_px, side_px, 3]``."""
        np.copyto(self._values[0], region.cut(image, self._side_px, self._cut))
        self._values *= np.float32(1 / 255)
        return self._values


def _region_of_palm(palm: Float, around: Region) -> Region:
    """Return the region of the hand whose palm was found.

    ``palm``: centre, size and seven points, in shares of ``around``.
    """
    to_image = around.image_from_net(1)
    centre, wrist, knuckle = (palm[row] @ to_image[:, :2].T + to_image[:, 2] for row in (0, 2, 4))
    side = float(palm[1].max()) * around.size_px
    up = knuckle - wrist
    # Upright is the hand whose middle finger points up.
    roll = math.pi / 2 - math.atan2(-float(up[1]), float(up[0]))
    shift = _HAND_SHIFT * side
    return Region(
        x_px=float(centre[0]) + shift * math.sin(roll),
        y_px=float(centre[1]) - shift * math.cos(roll),
        size_px=_HAND_SCALE * side,
        roll_rad=roll,
    )


def _apart(one: Region, other: Region) -> bool:
    distance = math.hypot(one.x_px - other.x_px, one.y_px - other.y_px)
    return distance > 0.5 * other.size_px / _HAND_SCALE


def _behind(points: Float, hand: Float) -> Flags:
    """Return which points lie within a finger's thickness of the hand's bones."""
    # Seen from its edge, a palm has no width.
    width = max(np.linalg.norm(hand[5] - hand[17]), 0.5 * np.linalg.norm(hand[0] - hand[9]))
    behind = np.zeros(len(points), bool)
    for start, end in hand[_BONES]:
        bone, away = end - start, points - start
        along = np.clip(away @ bone / max(float(bone @ bone), 1e-6), 0.0, 1.0)
        behind |= np.linalg.norm(away - along[:, None] * bone, axis=1) < _THICK * width
    return behind
