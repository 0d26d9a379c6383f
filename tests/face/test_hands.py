"""Hands before a face, found by networks."""

from __future__ import annotations

import numpy as np
import pytest

from mimicam.engine.assets_manifest import demo_clip
from mimicam.engine.face.covers import _HAND_ON, _LIPS
from mimicam.engine.face.hands import HandFinder, HandSearch, _behind, _region_of_palm
from mimicam.engine.face.networks import Region
from mimicam.engine.face.skin_colours import Flags
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import Float, Image

OPEN = np.zeros((21, 2), np.float32)
"""A hand on its wrist at (100, 200): fingers up, of straight lines, 20 pixels apart."""
OPEN[0] = (100, 200)
for finger in range(5):
    for joint in range(4):
        OPEN[1 + 4 * finger + joint] = (60 + 20 * finger, 150 - 25 * joint)


@pytest.fixture(scope="module")
def shares() -> dict[float, float]:
    """Return the shares of the lips behind a hand by time in the bundled clip."""
    find, track = HandFinder(), FaceTracker()
    found = {}
    for index, timed in enumerate(VideoFile(demo_clip())):
        if timed.time_s > 9:
            break
        face = track(timed.image, round(timed.time_s * 1e9))
        if index % 3 == 0 and face is not None:
            found[timed.time_s] = float(find(timed.image, face.landmarks)[_LIPS].mean())
    return found


@pytest.mark.parametrize(
    ("start_s", "end_s", "least", "most"),
    [
        (0.0, 2.0, 0.0, 0.0),  # no hand
        (2.9, 3.75, _HAND_ON, 1.0),  # fingers on the lips
        (8.0, 9.0, 0.01, _HAND_ON - 0.01),  # a hand beside the mouth
    ],
)
def test_a_real_hand_is_found_where_it_is(
    shares: dict[float, float], start_s: float, end_s: float, least: float, most: float
) -> None:
    assert least <= max(share for time_s, share in shares.items() if start_s <= time_s <= end_s) <= most


def test_a_picture_without_anything_has_no_hand() -> None:
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 255, (97, 131, 3), np.uint8)
    assert not HandFinder()(picture, rng.uniform(20, 70, (478, 3)).astype(np.float32)).any()


@pytest.mark.parametrize(
    ("point", "covered"),
    [
        ((80, 100), True), ((80, 74), True),  # on a finger and on its tip
        ((100, 170), True),  # on the palm
        ((80, 50), False), ((20, 100), False), ((100, 230), False),  # beyond
    ],
)  # fmt: skip
def test_points_on_fingers_and_palm_are_behind_the_hand(point: tuple[int, int], covered: bool) -> None:
    assert _behind(np.array([point], np.float32), OPEN).tolist() == [covered]


@pytest.mark.parametrize(("knuckle", "roll_rad"), [((0.5, 0.3), 0.0), ((0.7, 0.5), np.pi / 2)])
def test_the_hand_lies_beyond_its_palm(knuckle: tuple[float, float], roll_rad: float) -> None:
    palm = np.full((9, 2), 0.5, np.float32)
    palm[1], palm[4] = 0.2, knuckle
    around = Region(x_px=200, y_px=100, size_px=100, roll_rad=0.0)
    found = _region_of_palm(palm, around)
    assert (found.size_px, found.roll_rad) == pytest.approx((52, roll_rad))
    up = (found.x_px - 200, found.y_px - 100)
    assert up == pytest.approx((10 * np.sin(roll_rad), -10 * np.cos(roll_rad)), abs=1e-4)


class Counting:
    """Finds nothing, and counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, _image: Image, landmarks: Float) -> Flags:
        self.times += 1
        return np.zeros(len(landmarks), bool)


def test_it_looks_five_times_a_second_whatever_the_rate() -> None:
    for fps in (12, 25, 60):
        find = Counting()
        search = HandSearch(find)  # type: ignore[arg-type]
        found = [search(np.zeros((1, 1, 3), np.uint8), OPEN, n / fps) for n in range(2 * fps)]
        assert find.times == sum(each is not None for each in found) == pytest.approx(9, abs=1)


def test_a_video_that_starts_again_is_looked_at_at_once() -> None:
    search = HandSearch(Counting())  # type: ignore[arg-type]
    assert search(np.zeros((1, 1, 3), np.uint8), OPEN, 60.0) is not None
    assert search(np.zeros((1, 1, 3), np.uint8), OPEN, 0.0) is not None
