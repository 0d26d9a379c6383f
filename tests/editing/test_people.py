"""Several people: numbers from the left, identities through crossings, and the choice of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from mimicam.engine.editing import people as people_module
from mimicam.engine.editing.people import find_people, first_place
from mimicam.engine.editing.selection import choose_person, describe_people, main_person
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.errors import EngineError
from mimicam.engine.face.tracker import Detection, Region, region_of_landmarks
from mimicam.engine.sources.video import Timed
from mimicam.engine.types import Face, Image
from tests.editing.material import face, track

HEIGHT, WIDTH = 360, 640


@dataclass(frozen=True)
class Actor:
    """A face with a colour of its own; the nearer one hides the other."""

    face: Face
    colour: tuple[int, int, int]
    nearer: bool = False


class Stage:
    """Stands in for detector and reader: pictures index what is seen in them."""

    def __init__(self, scenes: Sequence[Sequence[Actor]]) -> None:
        self.scenes = scenes

    def frames(self) -> list[Timed]:
        return [Timed(image=self._picture(index), time_s=index / 25) for index in range(len(self.scenes))]

    def detect(self, image: Image) -> list[Detection]:
        return [
            Detection(region=region_of_landmarks(actor.face.landmarks), score=1.0)
            for actor in self._seen(image)
        ]

    def read(self, image: Image, region: Region) -> Face:
        distances = [self._apart(actor, region) for actor in self._seen(image)]
        if not distances or min(distances) > 0.5:
            return replace(face(0, 0), presence=0.0)
        return self._seen(image)[int(np.argmin(distances))].face

    def _picture(self, index: int) -> Image:
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for actor in sorted(self.scenes[index], key=lambda actor: actor.nearer):
            low, high = (f(actor.face.landmarks[:, :2], axis=0).astype(int).clip(0) for f in (np.min, np.max))
            image[low[1] : high[1], low[0] : high[0]] = actor.colour
        image[0, 0] = index
        return image

    def _seen(self, image: Image) -> list[Actor]:
        actors = self.scenes[int(image[0, 0, 0])]
        near = [actor for actor in actors if actor.nearer]
        return [
            actor
            for actor in actors
            if actor.nearer
            or all(self._apart(other, region_of_landmarks(actor.face.landmarks)) > 0.5 for other in near)
        ]

    @staticmethod
    def _apart(actor: Actor, region: Region) -> float:
        own = region_of_landmarks(actor.face.landmarks)
        return float(np.hypot(own.x_px - region.x_px, own.y_px - region.y_px)) / max(
            own.size_px, region.size_px
        )


def find(monkeypatch: pytest.MonkeyPatch, scenes: Sequence[Sequence[Actor]]) -> list[FaceTrack]:
    stage = Stage(scenes)
    monkeypatch.setattr(people_module, "FaceDetector", lambda _threads: stage.detect)
    monkeypatch.setattr(people_module, "FaceReader", lambda _threads: stage.read)
    return find_people(stage.frames())


def centres(person: FaceTrack) -> list[Any]:
    return [None if seen is None else round(float(seen.landmarks[:, 0].mean())) for seen in person.faces]


RED, BLUE = (200, 120, 100), (110, 100, 150)


def test_people_are_numbered_from_left_to_right(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [[Actor(face(480, 180), RED), Actor(face(160, 180), BLUE)]] * 5
    assert [round(float(first_place(person)[0]) / 10) for person in find(monkeypatch, scenes)] == [16, 48]


def test_two_people_who_cross_keep_their_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [
        [Actor(face(120 + 4 * index, 180), RED, nearer=True), Actor(face(520 - 4 * index, 180), BLUE)]
        for index in range(100)
    ]
    left, right = find(monkeypatch, scenes)
    moves_right = [x for x in centres(left) if x is not None]
    moves_left = [x for x in centres(right) if x is not None]
    assert moves_right == sorted(moves_right), "the one that starts on the left goes right all the time"
    assert moves_left == sorted(moves_left, reverse=True)
    assert moves_right[-1] > 450, "she is followed after the crossing"
    assert moves_left[-1] < 190
    assert len(moves_right) > 70


def test_a_person_who_comes_back_is_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes: list[list[Actor]] = (
        [[Actor(face(160, 180), RED)]] * 10 + [[]] * 20 + [[Actor(face(500, 150), RED)]] * 10
    )
    (person,) = find(monkeypatch, scenes)
    assert len(person.seen) >= 14, "found again at the next search of the whole picture"


def test_another_person_at_the_same_place_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes: list[list[Actor]] = (
        [[Actor(face(300, 180), RED)]] * 10 + [[]] * 5 + [[Actor(face(300, 180), BLUE)]] * 10
    )
    assert len(find(monkeypatch, scenes)) == 2


def test_a_face_in_two_frames_is_a_false_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    real, false = Actor(face(160, 180), RED), Actor(face(500, 180), BLUE)
    assert len(find(monkeypatch, [[real, false]] * 2 + [[real]] * 10)) == 1


TWO = [track([face(160, 180)] * 4), track([None, *[face(480, 100)] * 3])]


@pytest.mark.parametrize(
    ("choice", "number"), [("1", 0), ("2", 1), ("150,190", 0), ("480, 110", 1)]
)  # fmt: skip
def test_one_is_chosen_by_number_or_place(choice: str, number: int) -> None:
    assert choose_person(TWO, choice, name="talk.mp4") is TWO[number]


def test_a_single_person_needs_no_choice() -> None:
    assert choose_person(TWO[:1], None, name="talk.mp4") is TWO[0]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (None, r"talk.mp4 shows 2 people: choose one with --face N \(1: at 160,223 from 0.0 s, in 100 %"),
        ("3", "--face 3 names nobody in talk.mp4"),
        ("0", "--face 0 names nobody"),
        ("600,300", "--face 600,300 names nobody"),
        ("left", "--face must be N or x,y, for example 1 or 320,180, not 'left'"),
        ("1,2,3", "--face must be N or x,y"),
        ("a,b", "--face must be N or x,y"),
    ],
)
def test_a_choice_that_names_nobody_lists_everybody(choice: str | None, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        choose_person(TWO, choice, name="talk.mp4")


def test_a_video_without_a_face_is_refused() -> None:
    with pytest.raises(EngineError, match=r"talk.mp4 shows no face.*: choose another video"):
        choose_person([], "1", name="talk.mp4")
    with pytest.raises(EngineError, match="shows no face: give a driver"):
        main_person([], name="talk.mp4")


def test_the_list_states_when_and_how_long_each_is_seen() -> None:
    assert describe_people(TWO)[1].endswith("from 0.0 s, in 75 % of the frames")


def test_the_largest_person_drives() -> None:
    small, large = track([face(100, 100, scale_px=20)] * 4), track([face(300, 100)] * 4)
    assert main_person([small, large], name="talk.mp4") is large
