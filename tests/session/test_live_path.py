"""Loss of the face, hot switch and standby in the real pipeline, with scripted frame times."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from mimicam.engine.assets_manifest import ASSETS
from mimicam.engine.face.tracker import FaceTracker
from mimicam.engine.models.base import Features
from mimicam.engine.pipeline import Pipeline
from mimicam.engine.portrait import Portrait, enroll
from mimicam.engine.types import EditSettings, Face, Float, Frame, Image, WarpFields
from tests.fake_tracker import FakeTracker
from tests.models.fakes import TrackerDriven

MAGENTA = (255, 0, 255)


class FlatModel(TrackerDriven):
    """Draws the mean colour of the portrait, whatever the conditioning."""

    name, backend, sha256, size = "flat", "none", "0" * 64, 64

    def __init__(self) -> None:
        self.encoded = 0

    def feature_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"colour": (3,)}

    def encode(self, crop: Image) -> Features:
        self.encoded += 1
        return Features(
            arrays={"colour": crop.reshape(-1, 3).mean(axis=0).astype(np.float32)}, model=self.sha256
        )

    def generate(self, features: Features, conditioning: Mapping[str, Float]) -> WarpFields:  # noqa: ARG002
        side, cells = self.size, self.size // 2
        return WarpFields(
            inpaint=np.full((side, side, 3), features.arrays["colour"].round(), np.uint8),
            visibility=np.zeros((side, side), np.float32),
            flow=np.zeros((cells, cells, 2), np.float32),
        )


@pytest.fixture(scope="module")
def model() -> FlatModel:
    return FlatModel()


@pytest.fixture(scope="module")
def portrait(model: FlatModel) -> Portrait:
    return enroll(ASSETS / "portraits" / "astronaut.jpg", model=model)


@pytest.fixture(scope="module")
def face(portrait: Portrait) -> Face:
    found = FaceTracker()(portrait.picture)
    assert found is not None
    return found


class Live:
    """Make a pipeline whose tracker is scripted; every driver frame is magenta."""

    def __init__(self, model: FlatModel, portrait: Portrait) -> None:
        self.pipeline = Pipeline(model=model, portrait=portrait, edit=EditSettings())
        self.pipeline.track = FakeTracker(lambda: self._face)  # type: ignore[assignment]
        self._face: Face | None = None
        self._seq = 0

    def step(self, face: Face | None, at_s: float) -> Frame:
        self._face, self._seq = face, self._seq + 1
        image = np.full((480, 640, 3), MAGENTA, np.uint8)
        frame = Frame(image=image, seq=self._seq, captured_ns=round(at_s * 1e9))
        result = self.pipeline.step(frame)
        assert (result.seq, result.captured_ns) == (frame.seq, frame.captured_ns)
        assert not (result.image == MAGENTA).all(axis=2).any(), "the driver's own picture is shown"
        return result


@pytest.fixture
def live(model: FlatModel, portrait: Portrait) -> Live:
    return Live(model, portrait)


def test_a_lost_face_holds_eases_and_shows_the_card_in_time(live: Live, face: Face) -> None:
    states = []
    for at_s, seen in [(0.0, face), (0.1, None), (0.3, None), (0.9, None), (3.5, None)]:
        live.step(seen, at_s)
        states.append(live.pipeline.status.face)
    assert states == ["tracking", "holding", "holding", "easing", "standby"]


def test_a_face_that_comes_back_is_followed_again(live: Live, face: Face) -> None:
    live.step(face, 0.0)
    live.step(None, 5.0)
    live.step(face, 5.1)
    assert live.pipeline.status.face == "tracking"


def test_without_a_first_face_the_card_hides_the_driver(live: Live) -> None:
    live.step(None, 0.0)
    assert live.pipeline.status.face == "standby"


def test_standby_hides_the_driver_while_the_face_is_there(live: Live, face: Face) -> None:
    shown = live.step(face, 0.0).image
    live.pipeline.set_standby(True)
    card = live.step(face, 0.1).image
    assert live.pipeline.status.face == "standby"
    assert (shown != card).any()
    live.pipeline.set_standby(False)
    live.step(face, 0.2)
    assert live.pipeline.status.face == "tracking"


def test_a_new_portrait_is_drawn_next_without_computation(
    live: Live, model: FlatModel, portrait: Portrait, face: Face
) -> None:
    green = Features(arrays={"colour": np.array([0, 200, 0], np.float32)}, model=model.sha256)
    other = replace(portrait, name="green", features=green)
    encoded = model.encoded
    before = live.step(face, 0.0).image
    live.pipeline.set_portrait(other)
    after = live.step(face, 0.033).image
    assert after[32, 32].tolist() == [0, 200, 0]
    assert before[32, 32].tolist() != [0, 200, 0]
    assert model.encoded == encoded, "switching encoded the portrait again"
    assert live.pipeline.status.face == "tracking"
