"""Whom the tracker follows: after a loss, beside a poster, beside a second person, after a cut."""

import av
import cv2
import numpy as np
import pytest

from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.types import Face, Image
from tests.stages.material import bundled, driver_clip

_STEP_NS = 40_000_000
WALL = np.full((360, 640, 3), 110, np.uint8)


@pytest.fixture(scope="module")
def tracker() -> FaceTracker:
    return FaceTracker()


def _driver(number: int, width: int = 240) -> Image:
    cut = driver_clip()[number % len(driver_clip())][:, 280:600]  # she sits right of the middle
    return cv2.resize(cut, (width, width * 9 // 8), interpolation=cv2.INTER_AREA)


def _other(name: str = "finn.jpg", width: int = 240) -> Image:
    return cv2.resize(bundled(name), (width, width), interpolation=cv2.INTER_AREA)


def _moving(name: str, number: int, width: int = 240) -> Image:
    """Return another person who nods."""
    return np.roll(_other(name, width), round(12 * np.sin(number / 4)), axis=0)


def _scene(*parts: tuple[Image, int, int], background: Image = WALL) -> Image:
    """Return the pictures ``(picture, left, top)`` before a background."""
    out = background.copy()
    for picture, left, top in parts:
        place = out[top : top + picture.shape[0], left : left + picture.shape[1]]
        place[:] = picture[: place.shape[0], : place.shape[1]]
    return out


def _run(tracker: FaceTracker, scenes: list[Image], *, start: int = 0) -> list[float | None]:
    """Return the nose's x in each frame, or None."""
    got = []
    for number, image in enumerate(scenes):
        face: Face | None = tracker(image, (start + number) * _STEP_NS)
        got.append(None if face is None else float(face.landmarks[1, 0]))
    return got


def _are(got: list[float | None], left: float, right: float) -> bool:
    return all(x is not None and left < x < right for x in got)


@pytest.mark.parametrize(("before", "after"), [(10, 380), (380, 10), (10, 200)])
@pytest.mark.parametrize("poster", ["finn.jpg", "mona.jpg"])
def test_a_driver_is_found_elsewhere_and_a_poster_is_not(
    tracker: FaceTracker, before: int, after: int, poster: str
) -> None:
    """The poster hangs where the driver is neither before nor after."""
    tracker.reset()
    free = (
        next(x for x in (10, 200, 390) if min(abs(x - before), abs(x - after)) > 150) if after != 200 else 440
    )
    hung = (_other(poster, 190), free, 5)
    scenes = [_scene(hung, (_driver(i), before, 60)) for i in range(24)]
    scenes += [_scene(hung)] * 15
    scenes += [_scene(hung, (_driver(i), after, 60)) for i in range(39, 60)]
    got = _run(tracker, scenes)
    assert _are(got[:24], before, before + 240)
    assert got[26:39] == [None] * 13
    assert _are(got[41:], after, after + 240)


def test_a_poster_never_takes_over(tracker: FaceTracker) -> None:
    tracker.reset()
    hung = (_other("finn.jpg", 200), 20, 20)
    _run(tracker, [_scene(hung, (_driver(i), 350, 60)) for i in range(20)])
    assert set(_run(tracker, [_scene(hung)] * 150, start=20)) == {None}, "six seconds with the poster alone"


def test_a_poster_that_was_never_seen_beside_the_driver_does_not_take_over(tracker: FaceTracker) -> None:
    tracker.reset()
    _run(tracker, [_scene((_driver(i), 20, 60)) for i in range(20)])
    got = _run(tracker, [_scene((_other("finn.jpg", 200), 380, 60))] * 100, start=20)
    assert set(got) == {None}, "four seconds"


def test_a_second_person_does_not_take_over(tracker: FaceTracker) -> None:
    tracker.reset()
    both = [_scene((_driver(i), 380, 60), (_moving("finn.jpg", i), 20, 60)) for i in range(30)]
    assert len({round((x or 0) > 320) for x in _run(tracker, both)}) == 1
    tracker.reset()
    _run(tracker, [_scene((_driver(i), 380, 60)) for i in range(10)])
    assert _are(_run(tracker, both, start=10), 380, 640)
    alone = [_scene((_moving("finn.jpg", i), 20, 60)) for i in range(40)]
    assert set(_run(tracker, alone, start=40)[2:]) == {None}


def test_a_stranger_who_stays_becomes_the_driver(tracker: FaceTracker) -> None:
    tracker.reset()
    _run(tracker, [_scene((_driver(i), 380, 60)) for i in range(10)])
    person = tracker.person
    got = _run(tracker, [_scene((_moving("finn.jpg", i), 20, 60)) for i in range(80)], start=10)
    assert got[20] is None
    assert _are(got[60:], 20, 260)
    assert tracker.person == person + 1


def test_selecting_goes_through_all_faces(tracker: FaceTracker) -> None:
    tracker.reset()
    images = [
        _scene(
            (_other("finn.jpg", 190), 10, 80),
            (_other("rosa.jpg", 190), 220, 80),
            (_other("kai.jpg", 190), 430, 80),
        )
    ] * 5
    places, persons = [], []
    for _ in range(4):
        tracker.select_next()
        got = _run(tracker, images)
        places.append(round(((got[-1] or 0) - 105) / 210))
        persons.append(tracker.person)
    assert sorted(places[:3]) == [0, 1, 2]
    assert places[3] == places[0]
    assert len(set(persons)) == 4, "each gets a neutral of their own"


def test_selecting_with_one_face_keeps_it(tracker: FaceTracker) -> None:
    tracker.reset()
    _run(tracker, [_scene((_driver(0), 200, 60))] * 3)
    person = tracker.person
    tracker.select_next()
    assert _are(_run(tracker, [_scene((_driver(1), 200, 60))] * 3, start=3), 200, 440)
    assert tracker.person == person


@pytest.mark.parametrize("place", [(200, 60), (20, 100), (390, 10)])
def test_a_cut_to_another_person_is_noticed_at_once(tracker: FaceTracker, place: tuple[int, int]) -> None:
    tracker.reset()
    _run(tracker, [_scene((_driver(i), 200, 60)) for i in range(20)])
    person = tracker.person
    bright = np.full_like(WALL, 200)
    shot = [_scene((_other("finn.jpg"), *place), background=bright)] * 5
    got = _run(tracker, shot, start=20)
    assert _are(got, place[0], place[0] + 240)
    assert tracker.person == person + 1


def test_a_cut_to_the_same_person_is_no_other(tracker: FaceTracker) -> None:
    tracker.reset()
    _run(tracker, [_scene((_driver(i), 20, 60)) for i in range(20)])
    person = tracker.person
    bright = np.full_like(WALL, 200)
    got = _run(tracker, [_scene((_driver(i), 380, 60), background=bright) for i in range(20, 25)], start=20)
    assert _are(got, 380, 640)
    assert tracker.person == person


def test_the_bundled_clip_has_one_person(tracker: FaceTracker) -> None:
    tracker.reset()
    person = tracker.person
    got = [tracker(image) for image in driver_clip()]
    assert all(face is not None for face in got)
    assert tracker.person == person


@pytest.mark.parametrize("each", [10, 17, 31])
def test_a_slow_machine_sees_one_person_too(tracker: FaceTracker, each: int) -> None:
    """At 1 to 2.5 frames a second the head turns far between two frames."""
    with av.open(str(ASSETS / "demo" / "driver.mp4")) as container:
        frames = list(enumerate(container.decode(video=0)))[::each]
        images = [(number, frame.to_ndarray(format="rgb24")) for number, frame in frames]
    tracker.reset()
    person = tracker.person
    for number, image in images:
        assert tracker(image, number * _STEP_NS) is not None
    assert tracker.person == person


@pytest.mark.parametrize("share", [0.05, 0.07, 0.1, 0.2])
@pytest.mark.parametrize("place", [(0.1, 0.1), (0.45, 0.4), (0.8, 0.6)])
def test_faces_are_found_from_a_twentieth_of_the_longer_side(
    tracker: FaceTracker, share: float, place: tuple[float, float]
) -> None:
    tracker.reset()
    face = bundled("astronaut.jpg")[40:230, 150:290]  # the head is 110 pixels wide, 140 high
    scale = share * 1920 / 140
    small = cv2.resize(
        face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    image = np.full((1080, 1920, 3), 120, np.uint8)
    left, top = round(place[0] * 1920), round(place[1] * 1080)
    image[top : top + small.shape[0], left : left + small.shape[1]] = small[: 1080 - top, : 1920 - left]
    got = _run(tracker, [image] * 12)
    assert got[-1] is not None, "within 12 frames"
    assert left < got[-1] < left + small.shape[1]
