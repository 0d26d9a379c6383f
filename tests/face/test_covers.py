"""Covered parts of a face, found by colours at its landmarks, and kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import pytest

from mimicam.engine.face.covered_parts import PARTS, KeepCovered, Part
from mimicam.engine.face.covers import POINTS, CoverFinder
from mimicam.engine.face.geometry import head_pose
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES
from mimicam.engine.face.skin_colours import Flags, face_colours
from mimicam.engine.stages.cover import CoveredFrames, CoverStage
from mimicam.engine.types import Face, Float, Frame
from tests.editing.material import HAND, LIPS, RED, SKIN, drawn, face

FPS = 25.0
STEP_NS = round(1e9 / FPS)
JAW = BLENDSHAPE_NAMES.index("jawOpen")
NEAR_EYE: list[Part] = ["right eye", "left eye"]


def skin(*, light: float = 1.0) -> Float:
    """Return a face with red lips and dark irises, with some noise."""
    colours = np.full((478, 3), SKIN, np.float32)
    colours[RED] = LIPS
    colours[468:] = 40
    return colours * np.float32(light)


def covered(part: Part, colour: tuple[int, int, int] = HAND) -> Float:
    """Return the same face behind something."""
    colours = skin()
    colours[POINTS[part]] = colour
    if part == "mouth":
        colours[RED] = colour
    else:
        colours[468:473] = colour if part == "right eye" else 40
        colours[473:] = colour if part == "left eye" else 40
    return colours


def parts_of(
    colours: Iterable[Float], yaw_rad: float = 0.0, hands: Mapping[int, Flags] = MappingProxyType({})
) -> list[set[Part]]:
    find = CoverFinder()
    return [
        set(find(each, yaw_rad, index * STEP_NS, hands.get(index)).parts)
        for index, each in enumerate(colours)
    ]


def hands(present: range, until: int) -> dict[int, Flags]:
    """Return what searches in every fifth frame find while a hand is before the mouth."""
    behind, free = np.zeros(478, bool), np.zeros(478, bool)
    behind[POINTS["mouth"]] = behind[RED] = True
    return {index: behind if index in present else free for index in range(0, until, 5)}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_covered_while_something_lies_on_it(part: Part) -> None:
    found = parts_of([skin()] * 75 + [covered(part)] * 25 + [skin()] * 25)
    assert not any(found[:75])
    assert all(each == {part} for each in found[77:100]), "it is noticed within two frames"
    assert not any(found[105:]), "it ends within a fifth of a second"


def test_a_face_that_opens_its_mouth_and_eyes_covers_nothing() -> None:
    talking = skin()
    talking[[13, 14, 312, 317, 82, 87, 78, 308]] = 30  # the inside of the mouth
    talking[468:] = SKIN  # and the lids
    assert not any(parts_of([skin()] * 75 + [talking, talking, skin()] * 20))


@pytest.mark.parametrize("light", [0.55, 1.6])
def test_another_light_covers_nothing(light: float) -> None:
    assert not any(parts_of([skin()] * 75 + [skin(light=light)] * 25))


def test_a_single_frame_covers_nothing() -> None:
    assert not any(parts_of([skin()] * 75 + [covered("mouth")] + [skin()] * 5))


def test_nothing_is_covered_before_the_face_is_known() -> None:
    assert not any(parts_of([skin()] * 12 + [covered("mouth")] * 10))


def test_another_face_is_learned_anew() -> None:
    other = np.full((478, 3), (90, 60, 50), np.float32) * np.linspace(0.5, 2, 478, dtype=np.float32)[:, None]
    assert not any(parts_of([skin()] * 75 + [other] * 50))


def test_the_eyes_of_a_turned_head_are_not_judged() -> None:
    assert not any(parts_of([skin()] * 75 + [covered("left eye")] * 25, yaw_rad=0.6))


def made_up() -> Float:
    """Return the face with other skin around the lips, which show."""
    colours = skin()
    colours[POINTS["mouth"]] *= np.float32(0.6)
    return colours


def test_lips_that_show_are_not_covered() -> None:
    assert not any(parts_of([skin()] * 75 + [made_up()] * 25))


def test_a_cover_ends_where_lips_show_again_in_other_colours() -> None:
    found = parts_of([skin()] * 75 + [covered("mouth")] * 25 + [made_up()] * 50)
    assert found[80] == {"mouth"}
    assert not any(found[120:]), "the lips were seen for long enough"


def test_the_face_behind_is_known_again_after_a_long_cover() -> None:
    long = [covered("mouth")] * round(31 * FPS)
    found = parts_of([skin()] * 75 + long + [skin()] * 75)
    assert found[75 + round(29 * FPS)] == {"mouth"}
    assert not found[75 + round(30.5 * FPS)], "after half a minute it counts as the face"
    assert not any(found[-25:]), "and the face itself is no cover"


def test_a_hand_in_the_colours_of_the_face_is_covered_while_it_is_seen() -> None:
    found = parts_of([skin()] * 150, hands=hands(range(75, 100), 150))
    assert not any(found[:75])
    assert all(each == {"mouth"} for each in found[75:100])
    assert not any(found[109:]), "it ends half a second after it was seen last"


def test_one_search_that_misses_the_hand_does_not_end_it() -> None:
    searches = hands(range(75, 100), 150)
    searches[85] = searches[0]
    assert all(parts_of([skin()] * 150, hands=searches)[75:100])


def test_a_hand_beside_the_mouth_covers_nothing() -> None:
    beside = np.zeros(478, bool)
    beside[RED[:7]] = True
    assert not any(parts_of([skin()] * 100, hands=dict.fromkeys(range(50, 100, 5), beside)))


def test_a_hand_as_red_as_lips_is_not_taken_for_them() -> None:
    red = covered("mouth")
    red[RED] = (160, 80, 78)
    colours = [skin()] * 75 + [covered("mouth")] * 10 + [red] * 50
    assert not parts_of(colours)[-1], "by colours alone, it is the face after 0.6 s"
    assert all(parts_of(colours, hands=hands(range(75, 135), 135))[80:])


def test_a_hand_in_the_first_frame_is_found_and_not_learned() -> None:
    first = 40
    found = parts_of([covered("mouth")] * first + [skin()] * 100, hands=hands(range(first), first + 100))
    assert all(each == {"mouth"} for each in found[:first])
    assert not any(found[first + 13 :]), "the mouth itself is no cover"
    later = parts_of([covered("mouth")] * first + [skin()] * 100 + [covered("mouth")] * 25,
                     hands=hands(range(first), first + 100))  # fmt: skip
    assert later[-1] == {"mouth"}, "colours find the next one"


def test_a_hand_that_is_found_late_is_not_learned_either() -> None:
    found = parts_of([covered("mouth")] * 40 + [skin()] * 100, hands=hands(range(15, 40), 140))
    assert not any(found[53:])


def follow(keep: KeepCovered, faces: Iterable[tuple[Face, set[Part]]], start: int = 0) -> list[Face]:
    return [
        keep(seen, head_pose(seen.landmarks), parts, (start + index) * STEP_NS)
        for index, (seen, parts) in enumerate(faces)
    ]


def test_a_free_face_is_passed_on_as_it_is() -> None:
    seen = face(300, 200, jawOpen=0.5)
    assert all(each is seen for each in follow(KeepCovered(), [(seen, set())] * 5))


def test_a_covered_mouth_stays_as_it_was_while_the_rest_goes_on() -> None:
    keep, before = KeepCovered(), face(300, 200, jawOpen=0.5)
    follow(keep, [(before, set())] * 25)
    invented = face(320, 210, yaw_rad=0.2, jawOpen=0.0, browInnerUp=0.8, eyeBlinkLeft=0.9, eyeBlinkRight=0.9)
    kept = follow(keep, [(invented, {"mouth"})] * 10, start=25)[-1]
    assert kept.blendshapes[JAW] == pytest.approx(0.5, abs=0.01)
    for name in ("browInnerUp", "eyeBlinkLeft", "eyeBlinkRight"):
        assert kept.blendshapes[BLENDSHAPE_NAMES.index(name)] == pytest.approx(
            invented.blendshapes[BLENDSHAPE_NAMES.index(name)]
        )
    wanted = face(320, 210, yaw_rad=0.2, jawOpen=0.5, browInnerUp=0.8, eyeBlinkLeft=0.9, eyeBlinkRight=0.9)
    gap = lambda one: float(np.linalg.norm(one.landmarks[14, :2] - one.landmarks[13, :2]))  # noqa: E731
    assert gap(kept) == pytest.approx(gap(wanted), rel=0.15)
    assert gap(kept) > 2 * gap(invented), "the head turns, and the open mouth with it"


def test_a_mouth_returns_without_a_jump() -> None:
    keep = KeepCovered()
    follow(keep, [(face(300, 200, jawOpen=0.6), set())] * 25)
    closed = face(300, 200, jawOpen=0.0)
    follow(keep, [(closed, {"mouth"})] * 10, start=25)
    back = [one.blendshapes[JAW] for one in follow(keep, [(closed, set())] * 12, start=35)]
    assert all(0 <= first - second < 0.25 for first, second in itertools.pairwise(back))
    assert back[0] > 0.5
    assert back[-1] == pytest.approx(0.0, abs=0.01)


def test_a_mouth_that_stays_covered_eases_to_the_usual_one() -> None:
    keep = KeepCovered()
    usual, open_wide = face(300, 200, jawOpen=0.05), face(300, 200, jawOpen=0.8)
    follow(keep, [(usual, set())] * 75 + [(open_wide, set())] * 10)
    jaws = [one.blendshapes[JAW] for one in follow(keep, [(usual, {"mouth"})] * 125, start=85)]
    assert jaws[40] == pytest.approx(0.8, abs=0.02)
    assert jaws[-1] == pytest.approx(0.05, abs=0.02)


def test_a_covered_eye_blinks_and_looks_with_the_other() -> None:
    keep = KeepCovered()
    follow(keep, [(face(300, 200), set())] * 50)
    seen = face(300, 200, eyeBlinkLeft=0.9, eyeLookOutLeft=0.7, eyeBlinkRight=0.0)
    kept = follow(keep, [(seen, {"right eye"})] * 10, start=50)[-1]
    at = {name: float(kept.blendshapes[index]) for index, name in enumerate(BLENDSHAPE_NAMES)}
    assert at["eyeBlinkRight"] == pytest.approx(at["eyeBlinkLeft"], abs=0.05)
    assert at["eyeLookInRight"] == pytest.approx(at["eyeLookOutLeft"], abs=0.05), "both look to one side"


def test_two_covered_eyes_rest() -> None:
    keep = KeepCovered()
    follow(keep, [(face(300, 200), set())] * 50)
    blink = face(300, 200, eyeBlinkLeft=0.9, eyeBlinkRight=0.9)
    kept = follow(keep, [(blink, set(NEAR_EYE))] * 10, start=50)[-1]
    assert kept.blendshapes[BLENDSHAPE_NAMES.index("eyeBlinkLeft")] < 0.3


def test_a_face_that_was_never_free_is_left_as_it_is() -> None:
    seen = face(300, 200, jawOpen=0.3)
    kept = follow(KeepCovered(), [(seen, {"mouth"})] * 5)[-1]
    np.testing.assert_array_equal(kept.blendshapes, seen.blendshapes)


def test_colours_are_those_of_the_picture_at_the_landmarks() -> None:
    seen = face(300, 240)
    colours = face_colours(drawn(seen), seen.landmarks)
    np.testing.assert_allclose(colours[[9, 151, 4]], [SKIN] * 3, atol=2)
    np.testing.assert_allclose(colours[[0, 17]].mean(axis=0), LIPS, atol=25)


def test_the_stage_finds_a_thing_in_the_picture_and_counts_its_frames() -> None:
    counts = CoveredFrames()
    stage, seen, moved = CoverStage(counts), face(300, 240, jawOpen=0.4), face(300, 240, jawOpen=0.0)
    picture = drawn(seen)
    mouth = seen.landmarks[POINTS["mouth"], :2]
    cup = picture.copy()
    cv2.circle(
        cup, tuple(int(v) for v in mouth.mean(axis=0)), int(np.ptp(mouth[:, 0]) * 0.8), (20, 30, 140), -1
    )
    for index in range(60):
        stage(Frame(image=picture, seq=index, captured_ns=index * STEP_NS), seen, 0)
    kept = [
        stage(Frame(image=cup, seq=index, captured_ns=index * STEP_NS), moved, 0) for index in range(60, 75)
    ]
    assert counts.by_part() == {"mouth": 14}
    assert kept[-1].blendshapes[JAW] == pytest.approx(0.4, abs=0.02)
    other = stage(Frame(image=cup, seq=75, captured_ns=75 * STEP_NS), moved, 1)
    assert other is moved, "another person starts anew"
