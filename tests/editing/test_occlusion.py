"""A hand before an edited face: its pixels stay, the face beside it is edited, nothing flickers."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimicam.engine.assets_manifest import demo_clip
from mimicam.engine.commands import main
from mimicam.engine.concurrency.steps import Work
from mimicam.engine.controls import VIDEO_EDIT
from mimicam.engine.editing import video as video_module
from mimicam.engine.editing.channels import Changes
from mimicam.engine.editing.covered import find_covers
from mimicam.engine.editing.drawing import _Person
from mimicam.engine.editing.driver import Driver, DriverLength
from mimicam.engine.editing.face_generator import FaceGenerator, SteadyAppearance
from mimicam.engine.editing.occlusion import LiveOcclusion, Occlusion, RecordedOcclusion, without_occluded
from mimicam.engine.editing.paste import edit_window, window_of
from mimicam.engine.editing.people import find_people
from mimicam.engine.editing.person import PersonMotion
from mimicam.engine.editing.plan import Plan
from mimicam.engine.editing.studied import StudiedFace
from mimicam.engine.editing.track import FaceTrack
from mimicam.engine.editing.video import edit_video
from mimicam.engine.face.covered_parts import Part
from mimicam.engine.face.covers import NOTHING, POINTS, Covers
from mimicam.engine.face.landmarks import BLENDSHAPE_NAMES, INNER_LIPS
from mimicam.engine.face.motion import read_motion
from mimicam.engine.sources.video import VideoFile
from mimicam.engine.types import Covered, Image
from mimicam.engine.verify import read_marks
from tests.editing.material import HAND, LIPS, RED, SKIN, behind, drawn, face, hand, track
from tests.editing.test_paste import crop_of
from tests.pipeline.fake_model import FakeModel
from tests.videos import write_video

FPS = 25.0
FREE, BEHIND = 75, 100
"""First frame with a hand, and first without."""
FRAMES = 125
GLAD = Plan(changes=Changes(presets={"smile": 1.0, "awake": 1.0}))
JAW = BLENDSHAPE_NAMES.index("jawOpen")
SEEN = face(320, 220, jawOpen=0.2)
HAND_MASK = hand(SEEN)


class NoFrame:
    """Receives differences that nobody reads."""

    def add(self, *_: object) -> None:
        """Drop them."""


def picture_of(index: int) -> Image:
    return behind(drawn(SEEN), HAND_MASK) if FREE <= index < BEHIND else drawn(SEEN)


@pytest.fixture(scope="module")
def recorded() -> FaceTrack:
    return track([SEEN] * FRAMES, fps=FPS, pictures=map(picture_of, range(FRAMES)))


def motion(recorded: FaceTrack, covered: Covered = Covered.KEEP, plan: Plan = GLAD) -> PersonMotion:
    return PersonMotion(recorded, driver=None, settings=replace(VIDEO_EDIT, covered=covered), plan=plan)


def result(moves: PersonMotion, index: int) -> Image:
    shown = _Person(FakeModel(), moves).add(index, picture_of(index), NoFrame())  # type: ignore[arg-type]
    return picture_of(index) if shown is None else shown


def changed(moves: PersonMotion, index: int) -> np.ndarray:
    different: np.ndarray = (result(moves, index) != picture_of(index)).any(axis=2)
    return different


def test_the_hand_stays_and_the_face_beside_it_is_edited(recorded: FaceTrack) -> None:
    moves = motion(recorded)
    eyes = np.zeros_like(HAND_MASK)
    low, high = (
        SEEN.landmarks[[33, 263, 159, 145]].min(axis=0),
        SEEN.landmarks[[33, 263, 159, 145]].max(axis=0),
    )
    eyes[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])] = 255
    for index in (FREE, FREE + 1, FREE + 12, BEHIND - 1):
        pixels = changed(moves, index)
        assert not pixels[HAND_MASK > 0].any(), "no pixel of the hand differs from the source's"
        assert pixels[(eyes > 0) & (HAND_MASK == 0)].mean() > 0.3, "the eyes are awake beside it"


def test_without_the_option_the_hand_is_moved_with_the_face(recorded: FaceTrack) -> None:
    assert changed(motion(recorded, Covered.IGNORE), FREE + 12)[HAND_MASK > 0].mean() > 0.2


def test_the_whole_face_is_edited_where_nothing_is_near_in_time(recorded: FaceTrack) -> None:
    kept, ignored = motion(recorded), motion(recorded, Covered.IGNORE)
    for index in (10, 60, 120):
        np.testing.assert_array_equal(result(kept, index), result(ignored, index))


def test_an_edit_leaves_before_the_hand_comes_and_returns_after_it_without_a_jump(
    recorded: FaceTrack,
) -> None:
    moves = motion(recorded)
    mouth = POINTS["mouth"]

    def opacity(index: int) -> float:
        moment = moves(index)
        assert moment is not None
        window, points = window_of(moment), moment.box.from_image(SEEN.landmarks)[mouth, :2]
        cells = ((points + 1) * len(window.opacity) / 2).astype(int)
        return float(window.opacity[cells[:, 1], cells[:, 0]].mean())

    shares = [opacity(index) for index in range(55, FRAMES)]
    assert (shares[0], shares[-1]) == pytest.approx((1.0, 1.0), abs=0.05)
    assert max(shares[FREE - 55 : BEHIND - 55]) == 0.0
    assert max(abs(b - a) for a, b in pairwise(shares)) < 0.3, "it fades over several frames"


def test_a_covered_part_keeps_the_source_s_own_motion() -> None:
    source = read_motion(SEEN.landmarks, SEEN.blendshapes)
    target = replace(source, expression=source.expression + 0.5, shape=source.shape + np.float32(0.1))
    half = Occlusion(parts={"mouth": 0.5}, landmarks=np.zeros(478, np.float32))
    eased = without_occluded(source, target, half)
    smile, blink = (BLENDSHAPE_NAMES.index(name) for name in ("mouthSmileLeft", "eyeBlinkLeft"))
    away = eased.expression - source.expression
    assert away[[smile, JAW]] == pytest.approx(0.25)
    assert away[blink] == pytest.approx(0.5)
    chin, lid = (float(np.abs(eased.shape - source.shape)[index].max()) for index in (17, 159))
    assert (chin, lid) == pytest.approx((0.05, 0.1), abs=0.005)
    assert without_occluded(source, target, None) is target


def test_pixels_near_odd_landmarks_are_kept_and_those_far_away_are_not() -> None:
    box, before = crop_of(160, 120)
    flags = np.zeros(478, np.float32)
    flags[POINTS["mouth"]] = 1.0
    mask = Occlusion(parts={}, landmarks=flags).mask(before, 64)
    lip, eye = (((before[index, :2] + 1) * 32).astype(int) for index in (17, 159))
    assert mask[lip[1], lip[0]] == 1.0
    assert mask[eye[1], eye[0]] == 0.0
    _, after = crop_of(160, 120, jawOpen=0.7)
    window = edit_window(box, before, after, occlusion=Occlusion(parts={}, landmarks=flags))
    assert window.opacity[lip[1], lip[0]] == 0.0


def covers(*parts: Part, odd: list[int] | None = None) -> Covers:
    flags = np.zeros(478, bool)
    flags[odd or []] = True
    return Covers(parts=frozenset(parts), landmarks=flags)


def test_lips_that_part_and_lids_that_close_hide_nothing() -> None:
    changing, times = [*INNER_LIPS, *range(468, 478)], np.arange(10) / FPS
    found, alone = (RecordedOcclusion({5: covers("mouth", odd=odd)}, times)(5) for odd in (changing, []))
    assert found is not None
    assert alone is not None
    np.testing.assert_array_equal(found.landmarks, alone.landmarks)
    assert found.parts == {"mouth": 1.0}


def test_an_eye_that_a_finger_touches_is_left_as_a_whole() -> None:
    eye = POINTS["left eye"]
    few, many = (covers("mouth", odd=[int(point) for point in eye[:count]]) for count in (3, 9))
    times = np.arange(10) / FPS
    for found, left in ((few, 0.0), (many, 1.0)):
        occlusion = RecordedOcclusion({5: found}, times)(5)
        assert occlusion is not None
        assert occlusion.of("left eye") == left
        assert occlusion.of("right eye") == 0.0


def test_a_live_cover_eases_in_and_out() -> None:
    ease, amounts = LiveOcclusion(), []
    for index in range(30):
        found = ease(covers("mouth", odd=[17]) if 10 <= index < 18 else NOTHING, round(index / FPS * 1e9))
        amounts.append(0.0 if found is None else found.of("mouth"))
    assert amounts[9] == 0.0
    assert amounts[10] < 0.5
    assert amounts[13] == 1.0, "left alone within an eighth of a second"
    assert all(0 <= first - second < 0.25 for first, second in pairwise(amounts[17:]))
    assert amounts[-1] == 0.0


def test_a_covered_mouth_of_the_driver_is_held() -> None:
    talking = [face(320, 220, jawOpen=0.5 if index < FREE else 0.0) for index in range(FRAMES)]
    moved = track(talking, pictures=map(picture_of, range(FRAMES)))
    found = find_covers(moved)
    options: Any = {"length": DriverLength.HOLD, "duration_s": FRAMES / FPS}
    kept, invented = Driver(moved, covers=found, **options), Driver(moved, **options)
    amounts = [each(90 / FPS) for each in (kept, invented)]
    jaws = [float(each.expression.blendshapes[JAW]) for each in amounts if each is not None]
    assert jaws[0] > 0.4 > 0.15 > jaws[1]
    assert kept.covered(90 / FPS) == {"mouth"}
    assert not kept.covered(1.0)
    assert not invented.covered(90 / FPS)


def coloured(free: int, partly: int, wholly: int) -> FaceTrack:
    """Return a face for some frames, then with half of the lips hidden, then with the mouth hidden."""
    free_colours = np.full((478, 3), SKIN, np.uint8)
    free_colours[RED] = LIPS
    half, whole = free_colours.copy(), free_colours.copy()
    half[RED[:8]] = (130, 102, 87)  # as little red as skin
    whole[POINTS["mouth"]] = whole[RED] = HAND
    frames = [free_colours] * free + [half] * partly + [whole] * wholly
    return replace(track([SEEN] * len(frames)), colours=dict(enumerate(frames)))


def test_a_mouth_counts_as_covered_from_when_something_comes_in() -> None:
    assert min(find_covers(coloured(75, 10, 25))) == 75
    assert min(find_covers(coloured(75, 60, 25))) == pytest.approx(135 - 1.5 * FPS, abs=2)
    assert not find_covers(coloured(75, 10, 0)), "half of the lips alone is not enough"


def test_no_resting_face_is_learned_from_a_covered_one() -> None:
    # The tracker invents a smile behind the hand for most of the time.
    faces = [face(320, 220, mouthSmileLeft=0.05 if index < 50 else 0.9) for index in range(300)]
    smile = BLENDSHAPE_NAMES.index("mouthSmileLeft")
    seen, alone = track(faces), track(faces[:50])
    learned, invented, wanted = (
        float(each.resting[smile])
        for each in (StudiedFace(seen, covered=range(50, 300)), StudiedFace(seen), StudiedFace(alone))
    )
    assert learned == pytest.approx(wanted)
    assert invented > learned


def test_features_with_a_hand_in_them_are_not_used_once_it_has_gone() -> None:
    model = FakeModel()
    generate = FaceGenerator(model, SteadyAppearance(model))
    moment = motion(track([SEEN] * 3))(1)
    assert moment is not None
    flags = np.zeros(478, np.float32)
    flags[POINTS["mouth"]] = 1.0
    hidden = replace(moment, occlusion=Occlusion(parts={"mouth": 1.0}, landmarks=flags))
    picture = drawn(SEEN)
    steps = ((hidden, 1), (hidden, 1), (moment, 2), (moment, 2), (hidden, 2))
    for step, (each, encoded) in enumerate(steps):
        generate(picture, replace(each, time_s=step / FPS))
        assert model.encoded == encoded


def test_teeth_keep_their_colour_behind_a_hand() -> None:
    generate = FaceGenerator(FakeModel())
    moment = motion(track([SEEN] * 3))(1)
    assert moment is not None
    hidden = replace(moment, occlusion=Occlusion(parts={"mouth": 1.0}, landmarks=np.zeros(478, np.float32)))
    generate(drawn(SEEN), moment)
    before = generate._colours
    for step in range(10):
        generate(np.zeros((480, 640, 3), np.uint8), replace(hidden, time_s=1 + step / FPS))
    assert generate._colours is before


def test_the_bundled_clip_s_hand_is_found_in_its_recording() -> None:
    frames = islice(VideoFile(demo_clip()), 92)
    (person,) = find_people(frames)
    found = find_covers(person)
    # Live, it is noticed in frame 78: before, it covers the lower lip alone.
    assert min(found) == pytest.approx(64, abs=4)
    assert {part for each in found.values() for part in each.parts} == {"mouth"}


@pytest.fixture
def filmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: FaceTrack) -> Path:
    """A video with a hand, of which the same person drives."""

    def follow(*_: object) -> Work[list[FaceTrack]]:
        yield from ()
        return [recorded]

    monkeypatch.setattr(video_module, "track_people", follow)
    return write_video(tmp_path / "filmed.mp4", [picture_of(index) for index in range(FRAMES)], fps=25)


@pytest.mark.parametrize("choice", [Covered.KEEP, Covered.IGNORE])
def test_covered_frames_are_counted_for_source_and_driver(
    filmed: Path, tmp_path: Path, choice: Covered
) -> None:
    driver = tmp_path / "driver.mp4"
    driver.write_bytes(filmed.read_bytes())
    edit = replace(VIDEO_EDIT, covered=choice)
    done = edit_video(filmed, tmp_path / "out.mp4", model=FakeModel(), driver=driver, edit=edit)
    wanted = {"mouth": BEHIND - FREE + 1} if choice is Covered.KEEP else {}
    assert done.covered == pytest.approx(wanted, abs=3)
    assert done.driver_covered == done.covered
    marks = read_marks(tmp_path / "out.mp4")
    assert marks is not None
    stated = done.covered if choice is Covered.KEEP else None
    assert (marks.covered, marks.driver_covered) == (stated, stated)


def test_lossless_results_without_a_driver_state_the_counts_too(filmed: Path, tmp_path: Path) -> None:
    done = edit_video(filmed, tmp_path / "out.mkv", model=FakeModel(), lossless=True)
    marks = read_marks(tmp_path / "out.mkv")
    assert marks is not None
    assert marks.covered == done.covered != {}
    assert marks.driver_covered is None


def test_the_command_prints_the_counts(
    filmed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mimicam.engine.models import load

    monkeypatch.setattr(load, "load_model", lambda *_: FakeModel())
    arguments = ["edit", str(filmed), "-o", str(tmp_path / "out.mp4"), "--preset", "smile=1"]
    assert main(arguments) == 0
    assert "covered, and left unedited: mouth in " in capsys.readouterr().out
    assert main([*arguments, "--covered", "ignore"]) == 0
    assert "covered" not in capsys.readouterr().out
