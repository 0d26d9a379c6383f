"""The camera's own picture, edited in place: what changes, what passes, and what is never shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from mimicam.engine.concurrency.buffers import BufferPool
from mimicam.engine.errors import EngineError
from mimicam.engine.own_face import OwnFacePath, fit, whole_pixels
from mimicam.engine.presets.bundled import BUNDLED
from mimicam.engine.presets.mix import PresetMixer
from mimicam.engine.stages.cover import CoveredFrames
from mimicam.engine.types import Covered, CropBox, EditSettings, Face, Frame, Image
from tests.editing import material
from tests.fake_tracker import FakeTracker
from tests.models.fakes import ImageDriven
from tests.pipeline.fake_model import FakeModel
from tests.stages.material import SECOND_NS, face_at, shapes

SIZE = (640, 480)
STEP_S = 0.04


def seen(x: float = 320.0, **amounts: float) -> Face:
    return Face(landmarks=face_at(x, 240, 80).landmarks, blendshapes=shapes(**amounts), presence=1.0)


@pytest.fixture
def picture() -> Image:
    noise = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    return cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC)


class Camera:
    """A path with a scripted tracker, and the frames that it gets."""

    def __init__(self, picture: Image, edit: EditSettings = EditSettings()) -> None:
        self.face: Face | None = seen()
        self.picture, self.model, self.seq = picture, FakeModel(), 0
        tracker: Any = FakeTracker(lambda: self.face)
        self.tracker = tracker
        self.path = OwnFacePath(model=self.model, size=SIZE, edit=edit, track=tracker)
        self.presets = PresetMixer(BUNDLED.values())
        self.path.use_presets(self.presets)

    def frame(self) -> Frame:
        self.seq += 1
        return Frame(image=self.picture, seq=self.seq, captured_ns=round(self.seq * STEP_S * SECOND_NS))

    def run(self, frames: int) -> Image:
        for _ in range(frames):
            result = self.path.step(self.frame())
        assert (result.seq, result.captured_ns) == (self.seq, round(self.seq * STEP_S * SECOND_NS))
        return result.image


@pytest.fixture
def camera(picture: Image) -> Camera:
    return Camera(picture)


def changed_box(before: Image, after: Image) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the pixels that differ."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_without_presets_the_frame_passes_unchanged(camera: Camera) -> None:
    np.testing.assert_array_equal(camera.run(5), camera.picture)
    assert camera.model.encoded == 0, "nothing is generated for nothing"


def test_a_preset_changes_the_face_alone_and_the_camera_s_frame_stays(camera: Camera) -> None:
    camera.presets.set("smile", 1.0)
    before = camera.picture.copy()
    after = camera.run(10)
    left, top, right, bottom = changed_box(before, after)
    assert 150 < left < right < 490
    assert 100 < top < bottom < 440
    np.testing.assert_array_equal(camera.picture, before)


def test_an_edit_fades_in_after_a_face_is_found(camera: Camera) -> None:
    camera.presets.set("smile", 1.0)
    camera.run(10)
    camera.face = None
    camera.run(1)
    camera.face = seen()
    changes = [float(np.abs(camera.run(1).astype(int) - camera.picture).mean()) for _ in range(6)]
    assert changes[0] == 0.0
    assert changes[1] < 0.6 * changes[-1]


def test_without_a_face_the_camera_s_own_frame_passes(camera: Camera) -> None:
    camera.presets.set("smile", 1.0)
    camera.run(10)
    for face in (None, replace(seen(), landmarks=np.full((478, 3), np.nan, np.float32))):
        camera.face = face
        np.testing.assert_array_equal(camera.run(2), camera.picture)
        assert camera.path.status.face == "holding"


def test_standby_shows_nothing_of_the_person(camera: Camera) -> None:
    observed = camera.path.observe(camera.frame())
    camera.path.set_standby(True)
    shown = (camera.path.draw(observed).image, camera.run(1))
    for image in shown:
        assert (image[: SIZE[1] // 2] == 0).all(), "also for a frame that was observed before"
    assert camera.path.status.face == "standby"
    camera.path.set_standby(False)
    np.testing.assert_array_equal(camera.run(1), camera.picture)


def test_mirror_turns_the_finished_picture(picture: Image) -> None:
    camera = Camera(picture, EditSettings(mirror=True))
    np.testing.assert_array_equal(camera.run(1), picture[:, ::-1])


def test_a_gain_scales_the_person_s_own_expression(picture: Image) -> None:
    camera = Camera(picture, EditSettings(expression_gain=0.0))
    camera.face = seen(jawOpen=0.8)
    camera.run(10)
    drawn = camera.model.conditionings[-1]["expression"]
    jaw = 25
    assert drawn[0, jaw] == pytest.approx(0.8)
    assert drawn[1, jaw] < 0.1


def test_eye_contact_alone_changes_the_eyes_alone_and_generates_nothing(camera: Camera) -> None:
    face = seen()
    points = face.landmarks.copy()
    points[468:478, 0] += 4.0
    camera.face = replace(face, landmarks=points)
    camera.presets.set("eye-contact", 1.0)
    after = camera.run(15)
    left, top, right, bottom = changed_box(camera.picture, after)
    eyes = points[[33, 133, 362, 263], :2]
    assert left > eyes[:, 0].min() - 12
    assert right < eyes[:, 0].max() + 12
    assert top > eyes[:, 1].min() - 40
    assert bottom < eyes[:, 1].max() + 40
    assert camera.model.encoded == 0


def test_a_calibrated_gaze_outlives_a_loss_but_not_another_person(camera: Camera) -> None:
    face = seen()
    points = face.landmarks.copy()
    points[468:478, 0] += 4.0
    camera.face = replace(face, landmarks=points)
    camera.path.calibrate()
    camera.run(5)
    camera.presets.set("eye-contact", 1.0)
    np.testing.assert_array_equal(camera.run(15), camera.picture)
    lost, camera.face = camera.face, None
    camera.run(3)
    camera.face = lost
    np.testing.assert_array_equal(camera.run(15), camera.picture)
    camera.path.select_next_face()
    assert (camera.run(15) != camera.picture).any()


def test_a_steady_head_is_encoded_twice_a_second_and_a_moving_one_in_each_frame(camera: Camera) -> None:
    camera.presets.set("smile", 1.0)
    camera.run(5)
    before = camera.model.encoded
    camera.run(25)
    assert camera.model.encoded - before == pytest.approx(2, abs=1)
    before = camera.model.encoded
    for step in range(5):
        camera.face = seen(x=320 + 8 * (step + 1))
        camera.run(1)
    assert camera.model.encoded - before == 5


def test_another_person_starts_anew(camera: Camera) -> None:
    camera.presets.set("smile", 1.0)
    camera.run(10)
    camera.path.select_next_face()
    np.testing.assert_array_equal(camera.run(1), camera.picture)


def test_frames_of_another_shape_fill_the_result(picture: Image) -> None:
    wide = np.zeros((360, 640, 3), np.uint8)
    wide[:, 80:560] = 200
    pool = BufferPool((480, 640, 3), np.uint8)
    fitted = fit(wide, pool)
    assert fitted.shape == (480, 640, 3)
    assert (fitted[:, 2:-2] == 200).all(), "margins are cut, nothing is stretched"
    assert fit(picture, pool) is picture
    assert fit(picture, BufferPool((240, 320, 3), np.uint8)).shape == (240, 320, 3)


def test_frames_of_a_steady_call_reuse_their_pictures(camera: Camera) -> None:
    camera.presets.set("smile", 1.0)
    camera.presets.set("eye-contact", 1.0)
    camera.picture = np.zeros((360, 640, 3), np.uint8)
    camera.run(12)
    pools = (camera.path._fitted, camera.path._results)
    before = [pool.size for pool in pools]
    camera.run(12)
    assert [pool.size for pool in pools] == before == [6, 6]


def test_a_result_stays_as_it_was_while_later_frames_are_drawn(camera: Camera) -> None:
    camera.presets.set("smile", 1.0)
    kept = camera.run(8)
    copy = kept.copy()
    camera.picture = np.zeros_like(camera.picture)
    camera.run(8)
    np.testing.assert_array_equal(kept, copy)


def test_boxes_lie_on_whole_pixels() -> None:
    box = whole_pixels(CropBox(x_px=-3.4, y_px=7.7, size_px=201.3))
    assert (box.x_px % 1, box.y_px % 1, box.size_px % 2) == (0, 0, 0)
    assert abs(box.x_px + box.size_px / 2 - (-3.4 + 201.3 / 2)) <= 1


class Speaker(Camera):
    """A person who brings a hand before the mouth."""

    def __init__(self, choice: Covered = Covered.KEEP) -> None:
        self.own = material.face(320, 220, jawOpen=0.2)
        super().__init__(material.drawn(self.own), EditSettings(covered=choice))
        self.counts = CoveredFrames()
        self.path = OwnFacePath(
            model=self.model,
            size=SIZE,
            edit=EditSettings(covered=choice),
            track=self.tracker,
            covered=self.counts,
        )
        self.path.use_presets(self.presets)
        self.face, self.hand = self.own, material.hand(self.own)

    def cover(self, frames: int, landmark: int = 13, size: float = 1.0) -> Image:
        """Show the hand."""
        free, self.hand = self.picture, material.hand(self.own, landmark, size)
        self.picture = material.behind(free, self.hand)
        result = self.run(frames)
        self.shown, self.picture = self.picture, free
        return result


@pytest.mark.parametrize("choice", [Covered.KEEP, Covered.IGNORE])
def test_a_hand_before_the_mouth_stays_while_the_eyes_are_edited(choice: Covered) -> None:
    speaker = Speaker(choice)
    speaker.presets.set("smile", 1.0)
    speaker.presets.set("awake", 1.0)
    speaker.run(75)
    different = (speaker.cover(10) != speaker.shown).any(axis=2)
    left, top, right, bottom = (
        int(v) for v in (*speaker.own.landmarks[33, :2], *speaker.own.landmarks[263, :2])
    )
    assert different[top - 8 : bottom + 8, left:right].mean() > 0.3
    if choice is Covered.KEEP:
        assert not different[speaker.hand > 0].any()
        assert speaker.counts.by_part() == {"mouth": 9}
    else:
        assert different[speaker.hand > 0].mean() > 0.2
        assert not speaker.counts.by_part()


def test_an_edit_leaves_and_returns_without_a_jump() -> None:
    speaker = Speaker()
    speaker.presets.set("pout", 1.0)
    changes = []
    for index in range(120):
        covered = 75 <= index < 90
        result = speaker.cover(1) if covered else speaker.run(1)
        source = speaker.shown if covered else speaker.picture
        changes.append(float(np.abs(result.astype(int) - source).mean()))
    shares = np.array(changes) / changes[-1]
    assert shares[74] == pytest.approx(1.0)
    assert not shares[79:90].any(), "nothing is left of it within 0.16 s"
    assert np.abs(np.diff(shares[76:80])).max() < 0.7, "it takes more than a frame"
    assert np.abs(np.diff(shares[89:])).max() < 0.3, "it comes back over a third of a second"


def test_nothing_is_generated_while_all_that_is_edited_is_covered() -> None:
    speaker = Speaker()
    speaker.presets.set("pout", 1.0)
    assert (speaker.run(75) != speaker.picture).any()
    speaker.cover(8)
    drawn = len(speaker.model.conditionings)
    np.testing.assert_array_equal(speaker.cover(5), speaker.shown)
    assert len(speaker.model.conditionings) == drawn


def test_a_covered_eye_is_not_turned_to_the_camera() -> None:
    speaker = Speaker()
    points = speaker.own.landmarks.copy()
    points[468:478, 0] += 4.0
    speaker.face = speaker.own = replace(speaker.own, landmarks=points)
    speaker.picture = material.drawn(speaker.own)
    speaker.presets.set("eye-contact", 1.0)
    assert (speaker.run(75) != speaker.picture).any()
    different = (speaker.cover(10, landmark=159, size=0.5) != speaker.shown).any(axis=2)
    middle = int(points[9, 0])
    assert not different[:, :middle].any(), "the person's right eye is behind the hand"
    assert different[:, middle:].any(), "the left one still looks into the camera"


def test_a_family_without_a_tracker_is_refused() -> None:
    class Pictures(ImageDriven):
        name, size, sha256, backend = "dpe", 64, "0" * 64, "none"

    with pytest.raises(EngineError, match="dpe cannot edit faces in place: use --model compact"):
        OwnFacePath(model=Pictures(), size=SIZE, edit=EditSettings(), track=FakeTracker())  # type: ignore[arg-type]
