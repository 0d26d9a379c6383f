"""Record presets from pictures and videos."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mimicam.engine.concurrency.steps import Steps, Work
from mimicam.engine.editing import recording
from mimicam.engine.editing.recording import Origin, parse_origin, record_expression
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.errors import EngineError
from mimicam.engine.sources.video import Timed
from mimicam.engine.types import Face
from tests.editing.material import face, track
from tests.videos import grey, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("record") / "a@b.mp4", [grey(50)] * 8, fps=4)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), np.zeros((64, 64, 3), np.uint8))
    return path


def record(origin: Origin, face: str | None = None) -> dict[str, float]:
    return Steps(record_expression(origin, face=face)).result()


def see(monkeypatch: pytest.MonkeyPatch, *people: list[Face | None]) -> list[int]:
    """Pretend that these people are seen; returns the numbers of frames that were read."""
    read: list[int] = []

    def find(frames: Iterable[Timed]) -> list[FaceTrack]:
        read.append(len(list(frames)))
        return [track(faces[: read[-1]], fps=4) for faces in people]

    def follow(frames: Iterable[Timed], _: object) -> Work[list[FaceTrack]]:
        yield from ()
        return find(frames)

    monkeypatch.setattr(recording, "find_people", find)
    monkeypatch.setattr(recording, "follow_people", follow)
    return read


def test_a_moment_is_measured_from_the_person_s_own_rest(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rest, smile = face(200, 150), face(200, 150, mouthSmileLeft=0.7, eyeLookInLeft=0.9)
    see(monkeypatch, [rest, rest, rest, rest, smile, smile, smile, rest])
    found = record(Origin(path=clip, time_s=1.25))
    assert set(found) == {"mouthSmileLeft"}, "small distances and the gaze are left out"
    assert found["mouthSmileLeft"] == pytest.approx(0.7, abs=0.1)


def test_only_what_is_needed_of_a_video_is_read(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_BEYOND_S", 0.5)
    read = see(monkeypatch, [face(200, 150, jawOpen=0.5)] * 8)
    record(Origin(path=clip, time_s=0.25))
    assert read == [4]


def test_a_picture_is_measured_from_the_average_rest(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, [face(200, 150, jawOpen=0.5)])
    assert record(Origin(path=picture, time_s=0.0)) == pytest.approx({"jawOpen": 0.5}, abs=0.02)


def test_a_face_at_rest_is_no_preset(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, [face(200, 150)])
    with pytest.raises(EngineError, match=r"the face in face.png is at rest: choose"):
        record(Origin(path=picture, time_s=0.0))


def test_one_of_several_people_is_chosen(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, [face(100, 150, jawOpen=0.5)], [face(400, 150, mouthPucker=0.6)])
    with pytest.raises(EngineError, match="shows 2 people: choose one with --face N"):
        record(Origin(path=picture, time_s=0.0))
    assert set(record(Origin(path=picture, time_s=0.0), face="2")) == {"mouthPucker"}


def test_moments_without_the_person_are_refused(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, [face(200, 150, jawOpen=0.5)] * 3 + [None] * 5)
    with pytest.raises(EngineError, match=r"the person is not seen in a@b\.mp4 at 1\.5 s"):
        record(Origin(path=clip, time_s=1.5))
    with pytest.raises(EngineError, match=r"ends at 1\.75 s: give an earlier moment"):
        record(Origin(path=clip, time_s=60.0))


def test_the_origin_is_a_picture_or_a_moment(clip: Path, picture: Path) -> None:
    assert parse_origin(str(picture)) == Origin(path=picture, time_s=0.0)
    assert parse_origin(f"{clip}@1:02.5") == Origin(path=clip, time_s=62.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{clip}", "is a video: give the moment too"),
        ("{clip}@soon", "must be VIDEO@TIME"),
        ("{clip}@-1", "must be VIDEO@TIME"),
        ("nowhere.mp4@1", "there is no file nowhere.mp4"),
    ],
)
def test_other_origins_are_refused(clip: Path, given: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        parse_origin(given.format(clip=clip))
