"""Frame path with the real tracker and a model that only records its inputs."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

import mimicam.engine.pipeline
from mimicam.engine.errors import EngineError
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.portrait import Portrait, enroll
from mimicam.engine.presets.mix import PresetMixer
from mimicam.engine.presets.preset import Preset
from mimicam.engine.stages.lost import CARD_S, HOLD_S
from mimicam.engine.types import Covered, EditSettings, Face, Frame, Image, Mode
from tests.fake_tracker import FakeTracker
from tests.pipeline.fake_model import FakeModel
from tests.stages.material import NAMES, SECOND_NS, bundled, driver_clip, face_at, shapes

MAGENTA = np.array([255, 0, 255], np.uint8)
JAW = NAMES.index("jawOpen")


class ScriptedTracker:
    """Tracker that returns the face set by a test."""

    def __init__(self, threads: int = 1) -> None:  # noqa: ARG002
        self.face: Face | None = seen()
        self.calls = self.person = 0

    def __call__(self, image: Image, captured_ns: int) -> Face | None:  # noqa: ARG002
        self.calls += 1
        return self.face


def seen(jaw: float = 0.0, x: float = 320.0) -> Face:
    """Return a frontal face in a frame of 640x480."""
    return Face(landmarks=face_at(x, 240, 80).landmarks, blendshapes=shapes(jawOpen=jaw), presence=1.0)


def frame(seq: int, seconds: float = 0.0, image: Image | None = None) -> Frame:
    picture = np.full((480, 640, 3), MAGENTA, np.uint8) if image is None else image
    return Frame(image=picture, seq=seq, captured_ns=round(seconds * SECOND_NS))


def _is_all(image: np.ndarray, level: int) -> bool:
    """Whether the person has this level, except for the painted mouth: the background is the portrait's own."""
    rows, columns = (slice(side // 3, 2 * side // 3) for side in image.shape[:2])
    return float((image[rows, columns] == level).mean()) > 0.9


@pytest.fixture(scope="module")
def rosa() -> Portrait:
    return enroll(bundled("rosa.jpg"), model=FakeModel(), name="rosa")


@pytest.fixture(scope="module")
def samir(rosa: Portrait) -> Portrait:
    """Another portrait, with a flat crop, so that its pictures are distinguishable."""
    crop = np.full_like(rosa.crop, 17)
    return replace(rosa, name="samir", crop=crop, features=FakeModel().encode(crop))


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


Make = Callable[..., Pipeline]


@pytest.fixture
def make(model: FakeModel, rosa: Portrait, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a pipeline with a scripted tracker, which returns ``pipeline.track.face``."""
    monkeypatch.setattr(mimicam.engine.pipeline, "FaceTracker", ScriptedTracker)

    def build(**options: object) -> Pipeline:
        settings = {"edit": EditSettings(), "smooth": False} | options
        return Pipeline(model=model, portrait=rosa, **settings)  # type: ignore[arg-type]

    return build


def _jaw(model: FakeModel) -> float:
    return float(model.conditionings[-1]["expression"][1, JAW])


def test_every_frame_gives_one_result_with_its_seq_and_time(make: Make) -> None:
    pipeline = make(size=(320, 240))
    for seq in (0, 1, 5, 9):
        result = pipeline.step(frame(seq, 0.1 * seq))
        assert (result.seq, result.captured_ns) == (seq, round(0.1 * seq * SECOND_NS))
        assert result.image.shape == (240, 320, 3)


def test_results_stay_as_they_were_while_later_frames_are_drawn(make: Make, samir: Portrait) -> None:
    pipeline = make(size=(96, 64))
    first = pipeline.step(frame(0))
    kept = first.image.copy()
    pipeline.set_portrait(samir)
    pipeline.step(frame(1, 0.03))
    assert (first.image == kept).all()


def test_the_drivers_motion_moves_the_portrait(make: Make, model: FakeModel) -> None:
    pipeline = make()
    for jaw in (0.1, 0.6, 0.3):
        pipeline.track.face = seen(jaw)  # type: ignore[attr-defined]
        pipeline.step(frame(0))
        assert _jaw(model) == pytest.approx(jaw, abs=0.01), "absolute, but for what may be identity"


def test_a_preset_eases_into_the_driver_s_expression(make: Make, model: FakeModel) -> None:
    pipeline = make()
    presets = PresetMixer([Preset(name="open", blendshapes={"jawOpen": 0.5}, attack_s=0.2)])
    pipeline.use_presets(presets)
    pipeline.step(frame(0, 1.0))
    shut = _jaw(model)
    presets.press("open")
    jaws = []
    for seq, seconds in enumerate((1.1, 1.2, 1.3), start=1):
        pipeline.step(frame(seq, seconds))
        jaws.append(_jaw(model) - shut)
    assert jaws == pytest.approx([0.0, 0.25, 0.5], abs=0.01)


def test_a_family_without_blendshapes_refuses_presets(
    make: Make, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make()
    monkeypatch.setattr(model, "has_blendshapes", False, raising=False)
    pipeline.use_presets(PresetMixer())
    with pytest.raises(EngineError, match="fake takes no expression presets: use --model compact"):
        pipeline.use_presets(PresetMixer([Preset(name="a")]))


def test_another_mode_is_taken_at_the_next_step(make: Make, model: FakeModel, rosa: Portrait) -> None:
    assert rosa.motion is not None
    pipeline = make(edit=EditSettings(mode=Mode.EXP))
    pipeline.track.face = seen(0.8)  # type: ignore[attr-defined]
    pipeline.step(frame(0))
    assert _jaw(model) == pytest.approx(0.8, abs=0.01)
    pipeline.set_edit(EditSettings(mode=Mode.POSE))
    assert pipeline.edit.mode is Mode.EXP, "not before the next step"
    pipeline.step(frame(1, 0.03))
    assert pipeline.edit.mode is Mode.POSE
    assert _jaw(model) == rosa.motion.expression[JAW]


def test_another_portrait_is_drawn_from_the_next_step_on(
    make: Make, model: FakeModel, rosa: Portrait, samir: Portrait
) -> None:
    pipeline = make()
    pipeline.step(frame(0))
    pipeline.set_portrait(samir)
    assert pipeline.portrait is rosa
    result = pipeline.step(frame(1, 0.03))
    assert pipeline.portrait is samir
    assert model.drawn[-1] is samir.features
    assert _is_all(result.image, 17)


def test_changes_apply_in_the_order_of_their_calls(make: Make, samir: Portrait, rosa: Portrait) -> None:
    pipeline = make()
    for portrait in (samir, rosa, samir):
        pipeline.set_portrait(portrait)
    pipeline.step(frame(0))
    assert pipeline.portrait is samir


def test_a_portrait_can_change_while_the_face_is_lost(make: Make, samir: Portrait) -> None:
    pipeline = make()
    pipeline.step(frame(0))
    pipeline.track.face = None  # type: ignore[attr-defined]
    pipeline.step(frame(1, 0.1))
    pipeline.set_portrait(samir)
    shown = pipeline.step(frame(2, 0.2)).image
    assert shown.max() < 250
    assert shown[32, 24, 0] in (17, 17 * 3 // 5), "a pixel of the person"


def test_a_lost_face_holds_eases_and_ends_with_the_card(make: Make, model: FakeModel, rosa: Portrait) -> None:
    assert rosa.motion is not None
    pipeline = make()
    pipeline.track.face = seen(0.9)  # type: ignore[attr-defined]
    bright = pipeline.step(frame(0)).image
    pipeline.track.face = None  # type: ignore[attr-defined]
    states, jaws = [], []
    for seq, seconds in enumerate((0.03, 0.4, 1.0, 2.0, 3.1), start=1):
        image = pipeline.step(frame(seq, seconds)).image
        states.append(pipeline.status.face)
        jaws.append(_jaw(model))
    assert states == ["holding", "holding", "easing", "easing", "standby"]
    assert jaws[:2] == pytest.approx([0.9, 0.9], abs=0.01)
    assert jaws[0] > jaws[2] > jaws[3]
    assert jaws[3:] == pytest.approx([rosa.motion.expression[JAW]] * 2, abs=1e-5)
    assert image.mean() < bright.mean(), "the card is dimmed"
    assert 0.03 + HOLD_S < 1.0 < 3.0 < 0.03 + CARD_S


def test_without_a_face_from_the_start_there_is_the_card(make: Make) -> None:
    pipeline = make()
    pipeline.track.face = None  # type: ignore[attr-defined]
    pipeline.step(frame(0))
    assert pipeline.status.face == "standby"


def test_standby_hides_the_driver_and_reads_nothing_of_them(
    make: Make, model: FakeModel, rosa: Portrait
) -> None:
    assert rosa.motion is not None
    pipeline = make()
    pipeline.track.face = seen(0.9)  # type: ignore[attr-defined]
    pipeline.step(frame(0))
    pipeline.set_standby(True)
    tracked = pipeline.track.calls  # type: ignore[attr-defined]
    pipeline.step(frame(1, 0.03))
    assert pipeline.status.face == "standby"
    assert pipeline.track.calls == tracked  # type: ignore[attr-defined]
    assert _jaw(model) == rosa.motion.expression[JAW]
    pipeline.set_standby(False)
    pipeline.step(frame(2, 0.06))
    for seq in range(3, 30):
        pipeline.step(frame(seq, 0.03 * seq))
    assert pipeline.status.face == "tracking"
    assert _jaw(model) == pytest.approx(0.9, abs=0.01)


def test_calibrate_makes_the_next_face_neutral(make: Make, model: FakeModel, rosa: Portrait) -> None:
    assert rosa.motion is not None
    pipeline = make()
    pipeline.step(frame(0))
    pipeline.track.face = seen(x=350)  # type: ignore[attr-defined]
    pipeline.step(frame(1, 5.0))
    assert abs(model.conditionings[-1]["pose"][1, 9] - rosa.motion.pose.translation[0]) > 0.05
    pipeline.calibrate()
    for seq in range(40):
        pipeline.step(frame(2 + seq, 5.03 + 0.03 * seq))
    places = np.array([conditioning["pose"][1, 9] for conditioning in model.conditionings[1:]])
    assert np.abs(np.diff(places)).max() < 0.3 * abs(places[0] - places[-1]), "eased, not jumped"
    assert model.conditionings[-1]["pose"][1] == pytest.approx(model.conditionings[-1]["pose"][0], abs=1e-5)


def test_looking_one_frame_ahead_gives_the_same_results(make: Make, model: FakeModel) -> None:
    """As in a session, the next frame is observed before this one is drawn."""
    script = [seen(0.1), seen(0.5, x=340), None, None, seen(0.8), seen(0.2)]
    frames = [frame(seq, 0.2 * seq) for seq in range(len(script))]

    def run(ahead: bool) -> list[dict[str, np.ndarray]]:
        pipeline, first = make(smooth=True), len(model.conditionings)
        waiting = None
        for face, each in zip(script, frames, strict=True):
            pipeline.track.face = face  # type: ignore[attr-defined]
            if not ahead:
                pipeline.step(each)
                continue
            looked = pipeline.observe(each)
            if waiting is not None:
                pipeline.draw(waiting)
            waiting = looked
        if waiting is not None:
            pipeline.draw(waiting)
        return model.conditionings[first:]

    for together, apart in zip(run(False), run(True), strict=True):
        assert all((together[name] == apart[name]).all() for name in together)


def test_a_portrait_set_after_observing_is_drawn_at_once(make: Make, samir: Portrait) -> None:
    pipeline = make()
    looked = pipeline.observe(frame(0))
    pipeline.set_portrait(samir)
    assert _is_all(pipeline.draw(looked).image, 17)


def test_standby_after_observing_hides_the_driver_at_once(
    make: Make, model: FakeModel, rosa: Portrait
) -> None:
    assert rosa.motion is not None
    pipeline = make()
    pipeline.track.face = seen(0.9)  # type: ignore[attr-defined]
    looked = pipeline.observe(frame(0))
    pipeline.set_standby(True)
    pipeline.draw(looked)
    assert pipeline.status.face == "standby"
    assert _jaw(model) == rosa.motion.expression[JAW]


def test_the_maps_of_openings_have_the_models_own_size(make: Make, model: FakeModel) -> None:
    make().step(frame(0))
    assert model.conditionings[-1]["opening_masks"].shape == (6, model.size // 2, model.size // 2)


def test_status_names_the_backend_and_times_the_stages(make: Make) -> None:
    pipeline = make()
    pipeline.step(frame(0))
    assert pipeline.status.backend == "no network"
    assert list(pipeline.status.stages) == ["track", "encode", "edit", "generate", "composite"]
    assert all(ms >= 0 for ms in pipeline.status.stages.values())


def test_another_person_starts_a_new_neutral(make: Make, model: FakeModel) -> None:
    """A head's place counts from the person's own neutral: the first face of another is at rest."""
    pipeline = make()
    pipeline.step(frame(0))
    pipeline.track.face = seen(x=350)  # type: ignore[attr-defined]
    pipeline.step(frame(1, 5.0))
    rest = model.conditionings[-1]["pose"][0]
    assert np.abs(model.conditionings[-1]["pose"][1] - rest).max() > 0.05, "moved, for the first person"
    pipeline.track.person = 1
    pipeline.step(frame(2, 5.03))
    assert model.conditionings[-1]["pose"][1] == pytest.approx(rest, abs=1e-5)


def test_selecting_a_face_reaches_the_tracker(make: Make) -> None:
    pipeline = make()
    pipeline.track = FakeTracker()  # type: ignore[assignment]
    pipeline.select_next_face()
    assert pipeline.track.selected == 1  # type: ignore[attr-defined]


def test_the_drivers_picture_reaches_no_result(make: Make) -> None:
    """In every state, no pixel of the magenta room is in the picture."""
    pipeline = make(size=(320, 240))
    track = pipeline.track
    script = [seen(), None, seen(0.5), seen(x=600), None]
    for seq, face in enumerate([*script, *script]):
        track.face = face  # type: ignore[attr-defined]
        pipeline.set_standby(seq == 7)
        image = pipeline.step(frame(seq, 0.7 * seq)).image.astype(int)
        distance = np.abs(image - MAGENTA.astype(int)).sum(axis=2)
        assert distance.min() > 100, f"frame {seq}"


@pytest.mark.parametrize("field", ["landmarks", "blendshapes"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_face_with_nan_counts_as_no_face(make: Make, model: FakeModel, field: str, value: float) -> None:
    pipeline = make(smooth=True)
    pipeline.track.face = seen(0.5)  # type: ignore[attr-defined]
    pipeline.step(frame(0))
    broken = seen(0.5)
    getattr(broken, field)[5] = value
    pipeline.track.face = broken  # type: ignore[attr-defined]
    pipeline.step(frame(1, 0.03))
    assert pipeline.status.face == "holding"
    pipeline.track.face = seen(0.8)  # type: ignore[attr-defined]
    for seq in range(2, 14):
        pipeline.step(frame(seq, 0.03 * seq))
    assert pipeline.status.face == "tracking"
    assert _jaw(model) == pytest.approx(0.8, abs=0.01)
    assert all(
        np.isfinite(array).all() for conditioning in model.conditionings for array in conditioning.values()
    )


def test_an_aligned_frame_is_the_drivers_box(make: Make) -> None:
    pipeline = make(aligned=True)
    face = seen()
    crop = pipeline.crop(frame(0, image=np.zeros((512, 512, 3), np.uint8)), face)
    assert (crop.box.x_px, crop.box.y_px, crop.box.size_px) == (0, 0, 512)
    assert crop.face is face
    tall = pipeline.crop(frame(1, image=np.zeros((512, 300, 3), np.uint8)), face).box
    assert (tall.x_px, tall.y_px, tall.size_px) == (-106, 0, 512), "in the middle, as a portrait is"


def test_the_real_tracker_drives_the_bundled_clip(model: FakeModel, rosa: Portrait) -> None:
    pipeline = Pipeline(model=model, portrait=rosa, edit=EditSettings(), smooth=True)
    yaws = []
    for seq, image in enumerate(driver_clip()):
        pipeline.step(frame(seq, seq * 5 / 24, image))
        assert pipeline.status.face == "tracking"
        yaws.append(model.conditionings[-1]["pose"][1])
    assert np.ptp(yaws, axis=0).max() > 0.05, "the clip moves, the pose did not"
    assert all(np.isfinite(a).all() for conditioning in model.conditionings for a in conditioning.values())


@pytest.mark.parametrize("choice", [Covered.KEEP, Covered.IGNORE])
def test_a_covered_mouth_is_kept_and_counted_unless_told_otherwise(rosa: Portrait, choice: Covered) -> None:
    model, track = FakeModel(), ScriptedTracker()
    edit = EditSettings(mode=Mode.EXP, covered=choice)
    pipeline = Pipeline(model=model, portrait=rosa, edit=edit, smooth=False, track=track)  # type: ignore[arg-type]
    track.face = seen(jaw=0.6)
    plain = np.full((480, 640, 3), 150, np.uint8)
    for seq in range(60):
        pipeline.step(frame(seq, seq / 25, plain))
    track.face, cup = seen(jaw=0.0), plain.copy()
    middle = track.face.landmarks[[13, 14, 61, 291], :2].mean(axis=0)
    cv2.circle(cup, (round(float(middle[0])), round(float(middle[1]))), 50, (20, 30, 140), -1)
    for seq in range(60, 70):
        pipeline.step(frame(seq, seq / 25, cup))
    jaw = model.conditionings[-1]["expression"].reshape(2, -1)[1, JAW]
    if choice is Covered.KEEP:
        assert pipeline.covered.by_part() == {"mouth": 9}
        assert jaw == pytest.approx(model.conditionings[59]["expression"].reshape(2, -1)[1, JAW], abs=0.02)
    else:
        assert not pipeline.covered.by_part()
        assert jaw < 0.1
